"""Accuracy of multiple choice (BELEBELE): Wilson's interval, a paired bootstrap or approximate randomisation over passages; and which
option a chat answer names.

Several questions share a passage, so passages are drawn or exchanged, not questions.
"""

import math
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from ..common.text import folded
from .resampling import SEED, TRIALS

CHANCE = 25
Z95 = 1.959963984540054

CHAT, UNPARSEABLE = "chat", "unparseable"  # the protocol whose answers are written, and the count of those that name no option
LETTERS = "ABCD"
OPEN, WORD = r"[\s*_`\"'“«(\[]*", "A-Za-z0-9À-ɏ'’"  # marks before a letter or number; what makes it part of a word
# At the beginning of a line: alone, or set off from what follows. Neither "A cat" nor "3.5 km" nor "D'accord" begins so.
LEADING = re.compile(rf"^{OPEN}([A-Da-d]|[1-4])(?![{WORD}])[\s*_`\"”»]*(?:$|[):\]。]|\.(?!\d)|[-–—]\s)", re.MULTILINE)
SAID = re.compile(rf"\b(?i:answer|option|choice)\b(?i: is| letter)*:?{OPEN}([A-D])(?![{WORD}])")
LONE = re.compile(rf"(?<![{WORD}])([A-D])(?![{WORD}])")
ARTICLE = re.compile(r"\bA\s+\w")


def wilson(correct: int, n: int) -> tuple[float, float]:
    """95 % interval of a proportion, in percent (Wilson 1927, JASA 22)."""
    rate, z2 = correct / n, Z95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n**2))
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def compare(
    passages: Sequence[str], baseline: Sequence[bool], system: Sequence[bool], resamples: int, significance: str = "bootstrap"
) -> tuple[float, float | None]:
    """Difference in accuracy (points) and its two-sided p value; `passages` names the passage of each question.

    p is the share of resamples that lie as far from the observed difference as that lies from zero, or of random exchanges of the two
    systems' answers to a passage that lie as far from zero (with one added to both counts). With a single passage there is nothing to
    resample, so there is no p value.
    """
    _, passage = np.unique(np.asarray(passages), return_inverse=True)
    gains = np.bincount(passage, np.asarray(system, dtype=float) - np.asarray(baseline, dtype=float))
    sizes = np.bincount(passage)
    delta = 100 * gains.sum() / sizes.sum()
    if len(sizes) < 2:
        return float(delta), None
    generator = np.random.default_rng(SEED)
    if significance == "randomisation":
        moved = 100 * generator.choice((-1, 1), size=(TRIALS, len(sizes))) @ gains / sizes.sum()
    else:
        drawn = generator.integers(len(sizes), size=(resamples, len(sizes)))
        moved = 100 * gains[drawn].sum(axis=1) / sizes[drawn].sum(axis=1) - delta
    # The small allowance keeps differences that are equal on paper equal in floating point.
    extreme = int(np.sum(np.abs(moved) >= abs(delta) - 1e-9))
    return float(delta), (extreme + 1) / (len(moved) + 1)


def signature(protocol: str, resamples: int, significance: str = "bootstrap") -> str:
    """What the number means, in sacrebleu's form."""
    details = {"harness": "|as:lm-eval-belebele-v0.0", CHAT: "|parser:v1"}.get(protocol, "")
    details = details or ("|examples:own-passages-kept-out" if protocol.endswith("-shot") else "")
    test = draws(resamples, significance)
    return f"pivotlift|accuracy|protocol:{protocol}{details}|chance:{CHANCE}%|interval:wilson|paired:passages|{test}|seed:{SEED}|v1"


def draws(resamples: int, significance: str) -> str:
    return f"ar:{TRIALS}" if significance == "randomisation" else f"bs:{resamples}"


def chosen(answer: str, options: Sequence[str]) -> str:
    """Number ("1" to "4") of the option that a written answer names, "" if it names none or several: then it is unparseable.

    In this order: the text of one option and nothing else; a letter or number that begins the answer, unless the answer lists several;
    "the answer is B"; one lone letter; the text of one option somewhere.
    """
    answer = unicodedata.normalize("NFKC", answer).strip()
    said, texts = folded(answer), [folded(option) for option in options]
    if said and texts.count(said) == 1:
        return str(texts.index(said) + 1)
    if first := LEADING.match(answer):
        alone = folded(answer.splitlines()[0]) == folded(first[1])
        listed = {mark.upper() for mark in LEADING.findall(answer) if mark.isdigit() == first[1].isdigit()}
        return _number(first[1]) if alone or len(listed) == 1 else ""
    for pattern in (SAID, LONE):
        if letters := set(pattern.findall(answer)):
            certain = len(letters) == 1 and (pattern is SAID or letters != {"A"} or not ARTICLE.search(answer))
            return _number(letters.pop()) if certain else ""
    held = [number for number, text in enumerate(texts, 1) if text and text in said]
    return str(held[0]) if len(held) == 1 else ""


def _number(mark: str) -> str:
    return mark if mark.isdigit() else str(LETTERS.index(mark.upper()) + 1)
