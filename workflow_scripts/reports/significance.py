"""Tests over many languages: p values corrected for their number, and one test with an interval of the mean over languages."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
CORRECTIONS = {
    "holm": "Holm's correction over the languages of a direction",
    "benjamini-hochberg": "Benjamini and Hochberg's correction over the languages of a direction",
    "none": "not corrected for the number of languages",
}
EXACT_UP_TO = 16  # languages: above that, subsets are drawn
DRAWN = 9_999
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


@dataclass(frozen=True)
class Mean:
    """The mean of one difference a language; `reason` says why there is neither interval nor p value."""

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    reason: str = ""


def over_languages(differences: Sequence[float]) -> Mean:
    """The mean difference over languages, with a 95 % interval and a two-sided p value of "it is zero".

    Both come from the means of subsets of the languages (Hartigan 1969, JASA 64: typical values), all of them for up to 16 languages, else
    9,999 drawn with a fixed seed. Under the sole assumption that languages are independent and their differences symmetric
    about the mean, the interval is exact for any n. The p value is that of flipping the signs of differences, and is below 0.05
    exactly where zero lies outside the interval.
    """
    values = np.asarray(differences, dtype=float)
    mean, count = float(values.mean()), len(values)
    if count < FEWEST:
        return Mean(mean, reason=f"n/a: {count} language{'s' if count > 1 else ''}; fewer than {FEWEST} can never reach p < {LEVEL}")
    subsets = _subsets(count)
    means = np.sort(subsets @ values / subsets.sum(axis=1))
    chances = len(means) + 1
    zero = 1e-9 * np.abs(values).max()  # sums that are zero on paper are not quite so in floating point
    extreme = min(np.sum(means <= zero), np.sum(means >= -zero))
    outside = math.ceil(chances * LEVEL / 2) - 1
    return Mean(mean, float(means[outside - 1]), float(means[-outside]), min(1.0, float(2 * (extreme + 1) / chances)))


@lru_cache(maxsize=8)
def _subsets(count: int) -> NDArray[np.float64]:
    """Which languages stand in each subset that is not empty, (subsets, languages), as ones and zeros."""
    if count <= EXACT_UP_TO:
        found = np.arange(1, 2**count)[:, None] >> np.arange(count) & 1
    else:
        found = np.random.default_rng(SEED).integers(2, size=(DRAWN, count))
        found[~found.any(axis=1)] = 1
    return found.astype(np.float64)
