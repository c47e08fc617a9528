"""A mixture as a model sees it: each row rendered, tokenised, and cut. Training and the audit before it count by this one module."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import chat, pieces

MEASURES = ("rows", "tokens", "completion_tokens", "rows_truncated", "rows_dropped")
BATCH = 1000  # rows that are rendered and tokenised together


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a mixture: as it was drawn, as the chat template wrote it (`text`), and in tokens, nothing cut yet.

    `parts` are token ids, those that are given and those that are learnt (an answer with its end mark) by turns; the last ones are learnt.
    """

    language: str
    target_language: str
    messages: chat.Messages
    text: str
    parts: list[list[int]]

    @property
    def answers(self) -> list[str]:
        """The texts that are learnt, in the order of `parts`."""
        found = [turn["content"] for turn in self.messages if turn["role"] == "assistant"]
        return found[-(len(self.parts) // 2) :]

    def cut(self, max_length: int) -> list[list[int]]:
        """The parts left of the first `max_length` tokens. What stands behind the last token to learn is left out, so it may be nothing."""
        kept, room = [], max_length
        for part in self.parts:
            kept.append(part[:room])
            room -= len(kept[-1])
        while kept and (len(kept) % 2 or not kept[-1]):
            kept.pop()
        return kept


def read(tokenizer: Any, mixture: Path, answers: str = "all", asking: chat.Asking = chat.NOTHING) -> Iterator[Row]:
    """The rows of a mixture in their order, to learn "all" `answers` of a conversation or the "last".

    They are written as `asking` will have them when the model is asked. Memory does not grow with rows.
    """
    for piece in pieces.read(mixture, columns=["language", "target_language", "messages"]):
        for batch in piece.iter_slices(BATCH):
            drawn = list(batch.iter_rows())
            texts = chat.example_texts(tokenizer, [messages for _, _, messages in drawn], answers, asking)
            encoded = chat.encode_examples(tokenizer, texts)
            for (language, target, messages), text, parts in zip(drawn, texts, encoded, strict=True):
                yield Row(language, target, messages, "".join(text), parts)


def learnt(parts: Sequence[list[int]]) -> int:
    """How many tokens of a row's parts are learnt."""
    return sum(map(len, parts[1::2]))


def count(row: Row, kept: Sequence[list[int]]) -> dict[str, int]:
    """What a row of which these parts are kept adds to each of `MEASURES` (those it adds nothing to are left out).

    `rows` counts what the mixture holds; `rows_dropped` those of which nothing is left to learn (not trained on); `rows_truncated` those
    that lose only part of their answers; `tokens` and `completion_tokens` what is trained on in one epoch.
    """
    if not kept:
        return {"rows": 1, "rows_dropped": 1}
    return {
        "rows": 1,
        "tokens": sum(map(len, kept)),
        "completion_tokens": learnt(kept),
        "rows_truncated": int(learnt(kept) < learnt(row.parts)),
    }
