"""Accuracy of multiple choice (BELEBELE): Wilson's interval, a paired bootstrap or approximate randomisation over passages; and which
option a chat answer names.

Several questions share a passage, so passages are drawn or exchanged, not questions. BELEBELE's key has the second answer in 251 of 900 and
the fourth in 197, so whoever changes a favourite letter wins or loses points. That is no gain: see `calibrated` and `compare`.
"""

import math
import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.text import folded
from .resampling import SEED, TRIALS, Table

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


Rights = Sequence[bool]
VIEWS = ("gains", "balanced", "calibrated")


@dataclass(frozen=True)
class Gains:
    """What a system gains on a baseline, by passage: questions won less questions lost, each of shape [passages].

    `balanced` counts each place of the key alike; `calibrated` is of the calibrated answers, where there are some, else the same.
    """

    passages: list[str]
    questions: Table
    gains: Table
    balanced: Table
    calibrated: Table

    def views(self) -> list[Table]:
        return [getattr(self, name) for name in VIEWS]

    def table(self) -> dict[str, list[Any]]:
        """The same as plain lists, for the report, which joins the languages passage by passage."""
        found = {name: getattr(self, name).round(6).tolist() for name in VIEWS}
        return {"passages": self.passages, "questions": self.questions.astype(int).tolist()} | found


def gains(
    passages: Sequence[str],
    baseline: Rights,
    system: Rights,
    key: Sequence[str] | None = None,
    calibrated: tuple[Rights, Rights] | None = None,
) -> Gains:
    """The gains of a system by passage. `key` is where each right answer stands, `calibrated` what is right of baseline and system then.

    Balanced, a question counts the inverse of how often its place is the right one, so that whoever names one place always, and whoever
    names another, gain nothing on each other.
    """
    names, passage = np.unique(np.asarray(passages), return_inverse=True)
    weight = np.ones(len(passage))
    if key is not None:
        places, place, count = np.unique(np.asarray(list(key)), return_inverse=True, return_counts=True)
        weight = (len(passage) / len(places) / count)[place]

    def summed(pair: tuple[Rights, Rights], weight: Table) -> Table:
        before, after = (np.asarray(side, dtype=float) for side in pair)
        return np.bincount(passage, (after - before) * weight)

    plain = summed((baseline, system), np.ones(len(passage)))
    balanced = summed((baseline, system), weight)
    other = balanced if calibrated is None else summed(calibrated, np.ones(len(passage)))
    return Gains(names.tolist(), np.bincount(passage), plain, balanced, other)


def compare(
    passages: Sequence[str],
    baseline: Rights,
    system: Rights,
    resamples: int,
    significance: str = "bootstrap",
    key: Sequence[str] | None = None,
    calibrated: tuple[Rights, Rights] | None = None,
) -> tuple[float, float | None]:
    """`test` of the gains of a system on a baseline; the arguments are those of `gains`."""
    return test(gains(passages, baseline, system, key, calibrated), resamples, significance)


def test(found: Gains, resamples: int, significance: str) -> tuple[float, float | None]:
    """Difference in accuracy (points) and its two-sided p value.

    p is the share of resamples of passages that lie as far from the observed difference as that lies from zero, or of random exchanges of
    the two systems' answers to a passage that lie as far from zero (with one added to both counts). It is the largest one of three ways to
    count, and 1 where they do not point in one direction: the answers as given, with each place of the key counted alike, and
    calibrated. So what a change of the favourite letter gains is no gain. With a single passage there is nothing to resample, so
    there is no p value.
    """
    delta = 100 * float(found.gains.sum() / found.questions.sum())
    if len(found.passages) < 2:
        return delta, None
    if any(delta * view.sum() < 0 and abs(view.sum()) > 1e-9 for view in found.views()):
        return delta, 1.0
    return delta, max(_p_value(view, found.questions, resamples, significance) for view in found.views())


def _p_value(gain: Table, sizes: Table, resamples: int, significance: str) -> float:
    delta = gain.sum() / sizes.sum()
    generator = np.random.default_rng(SEED)
    if significance == "randomisation":
        moved = generator.choice((-1, 1), size=(TRIALS, len(sizes))) @ gain / sizes.sum()
    else:
        drawn = generator.integers(len(sizes), size=(resamples, len(sizes)))
        moved = gain[drawn].sum(axis=1) / sizes[drawn].sum(axis=1) - delta
    # The small allowance keeps differences that are equal on paper equal in floating point.
    extreme = int(np.sum(np.abs(moved) >= abs(delta) - 1e-11))
    return (extreme + 1) / (len(moved) + 1)


def calibrated(logprobs: Sequence[Sequence[float]]) -> list[str]:
    """The option that each answer names once each letter's mean log-probability over the test is taken off, by its place from "1".

    `logprobs` has the shape [questions, options]. What a model likes about a letter whatever is asked goes with the mean; what it knows of
    a question stays, as long as each letter is right about equally often (batch calibration: Zhou et al. 2024, after Zhao et al. 2021).
    Where options are equal then, the likelier one is taken.
    """
    table = np.asarray(logprobs, dtype=float)
    left = (table - table.mean(axis=0)).round(5)
    best = left == left.max(axis=1, keepdims=True)
    return [str(place + 1) for place in np.where(best, table, -np.inf).argmax(axis=1)]


def option_shares(answers: Sequence[str], options: Sequence[str], signature: str) -> Iterator[dict[str, Any]]:
    """How often each of the options, by its number from "1", is the answer: rows "option A" and so on, in percent of all answers.

    Answers that name none ("") count among all. A model that reads takes the letters about evenly, one that does not has a favourite.
    """
    for letter, option in zip(string.ascii_uppercase, options, strict=False):
        count = sum(answer == option for answer in answers)
        low, high = wilson(count, len(answers))
        row = {"metric": f"option {letter}", "value": 100 * count / len(answers), "low": low, "high": high, "n": len(answers)}
        yield row | {"signature": signature}


def signature(
    protocol: str, resamples: int, significance: str = "bootstrap", options: str = "as-written", ways: str = "key-balanced"
) -> str:
    """What the number means, in sacrebleu's form."""
    details = {"harness": "|as:lm-eval-belebele-v0.0", CHAT: "|parser:v1"}.get(protocol, "")
    details = details or ("|examples:own-passages-kept-out" if protocol.endswith("-shot") else "")
    details += f"|options:{options}"
    test = f"paired:passages|also:{ways}|{draws(resamples, significance)}"
    return f"pivotlift|accuracy|protocol:{protocol}{details}|chance:{CHANCE}%|interval:wilson|{test}|seed:{SEED}|v2"


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
