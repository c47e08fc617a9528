"""A mixture as a model sees it: each row rendered, tokenised, and cut. Training and the audit before it count by this one module."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import chat, pieces

MEASURES = ("rows", "tokens", "completion_tokens", "rows_truncated", "rows_dropped")
BATCH = 1000  # rows that are rendered and tokenised together


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a mixture: as it was drawn, as the chat template wrote it (`text`), and in tokens, nothing cut yet."""

    language: str
    target_language: str
    messages: chat.Messages
    text: str
    prompt: list[int]
    completion: list[int]

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.completion)

    def kept(self, max_length: int) -> int:
        """How many tokens of the completion are left where rows are cut to `max_length` tokens."""
        return max(0, min(self.tokens, max_length) - len(self.prompt))

    def ids(self, max_length: int) -> list[int]:
        return (self.prompt + self.completion)[:max_length]


def read(tokenizer: Any, mixture: Path) -> Iterator[Row]:
    """The rows of a mixture in their order. Memory does not grow with their number."""
    for piece in pieces.read(mixture, columns=["language", "target_language", "messages"]):
        for batch in piece.iter_slices(BATCH):
            drawn = list(batch.iter_rows())
            texts = chat.example_texts(tokenizer, [messages for _, _, messages in drawn])
            encoded = chat.encode_examples(tokenizer, texts)
            for (language, target, messages), (_, text), (prompt, completion) in zip(drawn, texts, encoded, strict=True):
                yield Row(language, target, messages, text, prompt, completion)


def count(row: Row, max_length: int) -> dict[str, int]:
    """What a row adds to each of `MEASURES` (those it adds nothing to are left out).

    `rows` counts what the mixture holds; `rows_dropped` those whose whole completion lies beyond the cut (not trained on);
    `rows_truncated` those that lose only part of it; `tokens` and `completion_tokens` what is trained on in one epoch.
    """
    kept = row.kept(max_length)
    if not kept:
        return {"rows": 1, "rows_dropped": 1}
    return {
        "rows": 1,
        "tokens": len(row.prompt) + kept,
        "completion_tokens": kept,
        "rows_truncated": int(kept < len(row.completion)),
    }
