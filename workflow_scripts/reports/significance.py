"""Tests over many languages: Holm's correction, and a sign-flip test of the mean difference."""

import re
from collections.abc import Sequence
from itertools import product

import numpy as np

LEVEL = 0.05
FLIPS = 10_000
SEED = 12345
EXACT_UP_TO = 12


def two_sided(p_value: float, signature: str) -> float:
    """A two-sided p value from a row of scores.csv.

    sacrebleu's paired bootstrap is one-sided in effect (it compares the centred spread of |difference| with |difference|: under
    the null hypothesis a tenth of the tests fall below 0.05), so its p values are doubled. Ours are two-sided already.
    """
    return min(1.0, 2 * p_value) if "|version:" in signature else p_value


def smallest(signature: str) -> float:
    """The smallest two-sided p value that a row's number of resamples can give; 0 where it was not resampled."""
    resamples = re.search(r"\bbs:(\d+)", signature)
    return two_sided(1 / (int(resamples[1]) + 1), signature) if resamples else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979, Scandinavian Journal of Statistics 6), which bounds the family-wise error."""
    p_array = np.asarray(p_values, dtype=float)
    order = np.argsort(p_array, kind="stable")
    stepped = np.maximum.accumulate(p_array[order] * np.arange(len(p_array), 0, -1))
    corrected = np.empty(len(p_array))
    corrected[order] = np.minimum(1.0, stepped)
    return corrected.tolist()


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p value of "the mean difference is zero", by flipping signs; one difference a language.

    All 2^n flips for n up to 12, else 10,000 drawn with a fixed seed. Without a difference at all, 1.
    """
    values = np.asarray(differences, dtype=float)
    if not values.any():
        return 1.0
    if len(values) <= EXACT_UP_TO:
        signs = np.array(list(product((1, -1), repeat=len(values))))
    else:
        signs = np.random.default_rng(SEED).choice((1, -1), size=(FLIPS, len(values)))
        signs[0] = 1  # the observed signs are one of the flips
    return float(np.mean(np.abs(signs @ values) >= abs(values.sum()) * (1 - 1e-12)))
