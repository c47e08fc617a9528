"""Tests over many languages: p values corrected for their number, and one test with an interval of the mean over languages."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
CORRECTIONS = {
    "holm": "Holm's correction over the languages of a direction",
    "benjamini-hochberg": "Benjamini and Hochberg's correction over the languages of a direction",
    "none": "not corrected for the number of languages",
}
EXACT_UP_TO = 16  # observations: above that, subsets are drawn
DRAWN = 9_999
BLOCK = 1000
SEED = 12345
FEWEST = 6  # the smallest n with 2 / 2^n < 0.05


def two_sided(p_value: float, signature: str, items: int) -> float:
    """A two-sided p value from a row of scores.csv; `items` is how many sentences were scored.

    sacrebleu's paired bootstrap is one-sided in effect (it compares the centred spread of |difference| with |difference|), so its p values
    are doubled. Approximate randomisation is two-sided already, and so are our own tests. sacrebleu counts only what is more extreme
    than the observed difference; but of the 2^n exchanges of n sentences two are that difference itself, so no p value is below 2 / 2^n.
    """
    if "|version:" not in signature:
        return p_value
    return min(1.0, max(p_value if "|ar:" in signature else 2 * p_value, finest(items)))


def finest(items: int) -> float:
    """The smallest two-sided p value that a paired test of so many sentences can give."""
    return 2.0 ** (1 - items)


def smallest(signature: str) -> float:
    """The smallest two-sided p value that a row's number of trials or resamples can give; 0 where it was not resampled."""
    found = re.search(r"\bar:(\d+)", signature) or re.search(r"\bbs:(\d+)", signature)
    doubled = "|version:" in signature and "|ar:" not in signature
    return (1 + doubled) / (int(found[1]) + 1) if found else 0.0


def corrected(p_values: Sequence[float], method: str) -> list[float]:
    """p values of one family, corrected for their number so that they can be compared with the level itself.

    "holm" bounds the chance of a single false finding (Holm 1979, Scandinavian Journal of Statistics 6), "benjamini-hochberg" the
    expected share of false ones among the findings (1995, Journal of the Royal Statistical Society B 57); "none" changes nothing.
    """
    values = np.asarray(p_values, dtype=float)
    order, count = np.argsort(values, kind="stable"), len(values)
    stepped = values[order]
    if method == "holm":
        stepped = np.maximum.accumulate(stepped * np.arange(count, 0, -1))
    elif method == "benjamini-hochberg":
        stepped = np.minimum.accumulate((stepped * count / np.arange(1, count + 1))[::-1])[::-1]
    elif method != "none":
        raise ValueError(f"no correction is called {method!r}: {', '.join(CORRECTIONS)}")
    found = np.empty(count)
    found[order] = np.minimum(1.0, stepped)
    return found.tolist()


def attainable(floors: Sequence[float], method: str) -> list[float]:
    """The smallest corrected p value that each test of one family can reach, from the smallest that it can give uncorrected.

    Holm's correction multiplies the first of m by m. The others multiply nothing where all tests of the family come out alike.
    """
    factor = len(floors) if method == "holm" else 1
    return [min(1.0, factor * floor) for floor in floors]


@dataclass(frozen=True)
class Mean:
    """The mean of one difference a language; `reason` says why there is neither interval nor p value."""

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    reason: str = ""


def over_languages(differences: Sequence[float]) -> Mean:
    """The mean difference over languages, with a 95 % interval and a two-sided p value of "it is zero"; see `typical`.

    One language is one observation: this speaks of languages like these, on this test's sentences.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < FEWEST:
        return Mean(float(values.mean()), reason=too_few(len(values), "language"))
    return typical(values / len(values), np.full(len(values), 1 / len(values)))


def over_passages(gains: Sequence[NDArray[np.float64]], questions: NDArray[np.float64]) -> Mean:
    """The mean difference in accuracy over languages that are asked the same questions, in points.

    One passage is one observation, with its questions in all languages: this speaks of passages like these, in these languages. The
    languages share key and questions, so that twelve of them that say another letter are one draw of a key, not twelve. `gains` are
    questions won less lost, [languages, passages], in one or more ways to count, `questions` how many there were. p is the largest of all
    ways, and 1 where they do not point in one direction; the interval is that of the first.
    """
    asked = questions.sum(axis=1, keepdims=True)
    share = (questions / asked).mean(axis=0)
    values = [(100 * gain / asked).mean(axis=0) for gain in gains]
    mean = float(values[0].sum())
    if len(share) < FEWEST:
        return Mean(mean, reason=too_few(len(share), "passage"))
    found = [typical(value, share) for value in values]
    against = any(mean * value.sum() < 0 and abs(value.sum()) > 1e-9 for value in values)
    p_value = 1.0 if against else max(one.p_value for one in found if one.p_value is not None)
    return Mean(mean, found[0].low, found[0].high, p_value)


def too_few(count: int, what: str) -> str:
    return f"n/a: {count} {what}{'s' if count > 1 else ''}; fewer than {FEWEST} can never reach p < {LEVEL}"


def typical(values: NDArray[np.float64], weights: NDArray[np.float64]) -> Mean:
    """The sum of `values`, one an observation, as an estimate of what each holds for each unit of its weight; the weights sum to one.

    Interval and p value come from the ratios of values to weights in subsets of the observations (Hartigan 1969, JASA 64: typical values),
    all of them for up to 16 observations, else 9,999 drawn with a fixed seed. Under the sole assumption that observations are independent
    and symmetric about the mean, the interval is exact for any n. The p value is that of flipping the signs of values, and is below 0.05
    exactly where zero lies outside the interval.
    """
    means = np.sort(np.concatenate([subsets @ values / (subsets @ weights) for subsets in _subsets(len(values))]))
    chances = len(means) + 1
    zero = 1e-9 * np.abs(values / weights).max()  # sums that are zero on paper are not quite so in floating point
    extreme = min(np.sum(means <= zero), np.sum(means >= -zero))
    outside = math.ceil(chances * LEVEL / 2) - 1
    p_value = min(1.0, float(2 * (extreme + 1) / chances))
    return Mean(float(values.sum()), float(means[outside - 1]), float(means[-outside]), p_value)


def _subsets(count: int) -> Iterator[NDArray[np.float64]]:
    """Which observations stand in each subset that is not empty, (subsets, observations), as ones and zeros; drawn ones in blocks."""
    if count <= EXACT_UP_TO:
        yield (np.arange(1, 2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)
        return
    generator = np.random.default_rng(SEED)
    for start in range(0, DRAWN, BLOCK):
        found = generator.integers(2, size=(min(BLOCK, DRAWN - start), count))
        found[~found.any(axis=1)] = 1
        yield found.astype(np.float64)
