"""A mixture as a model sees it: each row rendered, tokenised, and cut. Training and the audit before it count by this one module."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..common import causal, chat, pieces
from ..common.cli import UserError

MEASURES = ("rows", "tokens", "completion_tokens", "rows_truncated", "rows_dropped", "rows_with_marks")
BATCH = 1000  # rows that are rendered and tokenised together
SAMPLE = "pivotlift"  # an answer that no chat template writes by itself


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a mixture: as it was drawn, as the chat template wrote it (`text`), and in tokens, nothing cut yet.

    `parts` are token ids, those that are given and those that are learnt (an answer with its end mark) by turns; the last ones are learnt.
    `marked`: a turn's own text holds a mark of the model (`Marks`).
    """

    language: str
    target_language: str
    messages: chat.Messages
    text: str
    parts: list[list[int]]
    marked: bool = False

    @property
    def answers(self) -> list[str]:
        """The texts that are learnt, in the order of `parts`."""
        found = [turn["content"] for turn in self.messages if turn["role"] == "assistant"]
        return found[-(len(self.parts) // 2) :]

    def cut(self, max_length: int) -> list[list[int]]:
        """The parts left of the first `max_length` tokens. What stands behind the last token to learn is left out, so it may be nothing.

        Nothing is left of a row with a mark in its text: it would end or begin a turn where the text only names it.
        """
        kept: list[list[int]] = []
        if self.marked:
            return kept
        room = max_length
        for part in self.parts:
            kept.append(part[:room])
            room -= len(kept[-1])
        while kept and (len(kept) % 2 or not kept[-1]):
            kept.pop()
        return kept


class Marks:
    """The marks of a model that no text may hold: special tokens, and whatever ends an answer.

    `<s>` in a text about HTML becomes the beginning of a row, and `<|im_end|>` in a question the end of the turn; the tokenizer cannot tell
    them from those that the chat template writes. Ordinary pieces of the vocabulary that look like a tag, such as Gemma's `<b>`, are text.
    """

    def __init__(self, tokenizer: Any, ends: Collection[int] = ()) -> None:
        """`ends`: tokens at which the model stops, beside those that the template writes behind an answer."""
        self.backend = tokenizer.backend_tokenizer
        added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
        special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        behind = sample_ids(tokenizer, behind_answer=True).intersection(added)
        self.ids = special.union(tokenizer.all_special_ids, ends, behind)
        texts = {number: added.get(number) or tokenizer.decode([number]) for number in self.ids}
        self.ids = {number for number, text in texts.items() if text.strip()}
        # A mark is looked for in the text as it is or, with this flag, as the tokenizer's normaliser leaves it.
        flagged = {number for number, token in tokenizer.added_tokens_decoder.items() if token.normalized}
        self.named = self._pattern(texts[number] for number in self.ids)
        self.normalised = self.backend.normalizer and self._pattern(self._normalise(texts[number]) for number in self.ids & flagged)

    @staticmethod
    def _pattern(texts: Iterable[str]) -> re.Pattern[str]:
        return re.compile("|".join(sorted(map(re.escape, filter(None, texts)))) or "(?!)")

    def _normalise(self, text: str) -> str:
        return self.backend.normalizer.normalize_str(text) if self.backend.normalizer else text

    def inside(self, text: str) -> bool:
        """Whether the tokenizer reads one of the marks in a turn's own text."""
        # Looked for as text first: that takes a hundredth of the time.
        if not self.named.search(text) and not (self.normalised and self.normalised.search(self._normalise(text))):
            return False
        return not self.ids.isdisjoint(self.backend.encode(text, add_special_tokens=False).ids)


def sample_ids(tokenizer: Any, behind_answer: bool = False) -> set[int]:
    """The tokens of a short row as the chat template writes it, or those behind its answer only; none where it refuses such a row."""
    turns = [{"role": "user", "content": SAMPLE.upper()}, {"role": "assistant", "content": SAMPLE}]
    try:
        text = "".join(chat.example_texts(tokenizer, [turns], "last")[0])
    except UserError:
        return set()
    text = text.rpartition(SAMPLE)[2] if behind_answer else text
    return set(tokenizer(text, add_special_tokens=False)["input_ids"])


def check(tokenizer: Any, base: Path, max_length: int) -> None:
    """Raise `UserError` where a model cannot read rows of `max_length` tokens, or not all of its tokenizer's tokens."""
    import transformers

    whole = transformers.AutoConfig.from_pretrained(base)
    config, positions = whole.get_text_config(), causal.positions(whole)
    if positions and max_length > positions:
        raise UserError(
            f"sft.max_length is {max_length:,}, but the base model reads {positions:,} tokens (max_position_embeddings in "
            f"{base / 'config.json'}). Set sft.max_length to {positions} or less."
        )
    used = sample_ids(tokenizer) | {tokenizer.pad_token_id}
    beyond = [
        token.content
        for number, token in sorted(tokenizer.added_tokens_decoder.items())
        if number >= config.vocab_size and (number in used or not token.special)  # special ones in a text drop its row
    ]
    if beyond:
        raise UserError(
            f"the base model's tokenizer has tokens without a row in the embedding, which has {config.vocab_size:,}: "
            f"{', '.join(beyond[:5])}. Resize it with transformers (`model.resize_token_embeddings(len(tokenizer))`), save both, and "
            "give that folder as `path`."
        )


def phases(mixture: Path) -> list[int]:
    """How many rows each phase of a mixture has, as its file says; one number for a mixture without phases."""
    with pq.ParquetFile(mixture) as file:
        noted = (file.schema_arrow.metadata or {}).get(b"phases")
        return json.loads(noted) if noted else [file.metadata.num_rows]


def read(
    tokenizer: Any, mixture: Path, answers: str = "all", ends: Collection[int] = (), asking: chat.Asking = chat.NOTHING
) -> Iterator[Row]:
    """The rows of a mixture in their order, to learn "all" `answers` of a conversation or the "last". Memory does not grow with rows.

    `ends`: tokens at which the model stops when it answers; they are marks (`Marks`) too. Rows are written as `asking` will have them
    when the model is asked.
    """
    marks = Marks(tokenizer, ends)
    for piece in pieces.read(mixture, columns=["language", "target_language", "messages"]):
        for batch in piece.iter_slices(BATCH):
            drawn = list(batch.iter_rows())
            texts = chat.example_texts(tokenizer, [messages for _, _, messages in drawn], answers, asking)
            encoded = chat.encode_examples(tokenizer, texts)
            for (language, target, messages), text, parts in zip(drawn, texts, encoded, strict=True):
                marked = any(marks.inside(turn["content"]) for turn in messages)
                yield Row(language, target, messages, "".join(text), parts, marked)


def learnt(parts: Sequence[list[int]]) -> int:
    """How many tokens of a row's parts are learnt."""
    return sum(map(len, parts[1::2]))


def count(row: Row, kept: Sequence[list[int]]) -> dict[str, int]:
    """What a row of which these parts are kept adds to each of `MEASURES` (those it adds nothing to are left out).

    `rows` counts what the mixture holds; `rows_dropped` those of which nothing is left to learn (not trained on); `rows_truncated` those
    that lose only part of their answers; `rows_with_marks` those that are not trained on for a mark in their text; `tokens` and
    `completion_tokens` what is trained on in one epoch.
    """
    if row.marked:
        return {"rows": 1, "rows_with_marks": 1}
    if not kept:
        return {"rows": 1, "rows_dropped": 1}
    return {
        "rows": 1,
        "tokens": sum(map(len, kept)),
        "completion_tokens": learnt(kept),
        "rows_truncated": int(learnt(kept) < learnt(row.parts)),
    }
