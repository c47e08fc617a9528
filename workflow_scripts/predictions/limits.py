"""How many tokens an answer may have, so that no translation is cut, whatever the language and the tokenizer.

A limit only stops answers that would never end. It follows the tokens of the target language: what takes 27 tokens in English takes
400 in Odia with a tokenizer that falls back to bytes. Both counts of a direction come from the benchmark's own parallel sentences,
as three numbers for the whole direction; no answer and no model changes them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SPARE = 1.5  # times what a reference needs: a translation may be wordier
SHORT = 16  # tokens added to every source: short sentences differ more by chance


@dataclass(frozen=True)
class Lengths:
    """Tokens of one direction's sentences.

    `ratio` is tokens of all targets over tokens of all sources; `widest` the largest target beside what the ratio leads to expect,
    at least 1; `longest` the tokens of the longest target. Targets count their end mark.
    """

    ratio: float
    widest: float
    longest: int

    def limit(self, source_tokens: int, max_new_tokens: int) -> int:
        """The most new tokens for one answer; above `max_new_tokens` only where references themselves are about that long."""
        by_source = SPARE * self.widest * self._expected(source_tokens)
        return math.ceil(min(by_source, max(max_new_tokens, SPARE * self.longest)))

    def _expected(self, source_tokens: int) -> float:
        return self.ratio * source_tokens + SHORT


def measure(source_tokens: Sequence[int], target_tokens: Sequence[int]) -> Lengths:
    """The lengths of one direction, from the tokens of its aligned sentences."""
    ratio = sum(target_tokens) / max(1, sum(source_tokens))
    plain = Lengths(ratio, 1.0, max(target_tokens))
    pairs = zip(source_tokens, target_tokens, strict=True)
    widest = max(target / plain._expected(source) for source, target in pairs)
    return Lengths(ratio, max(1.0, widest), plain.longest)
