"""Intervals and paired tests by sacrebleu's own draws: bootstrap (Koehn 2004) and approximate randomisation (Riezler and Maxwell 2005).

sacrebleu draws a thousand test sets with one seed and sums up the counts of each. The draws depend on nothing but the number of items, so
they are made once; how often each item was drawn, times the counts, gives all sums in one matrix product. Counts are whole numbers, and
their sums are exact in any order, as long as they fit the 24 bits of sacrebleu's 32-bit floats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.base import Score
from sacrebleu.significance import _compute_p_value

SEED = 12345  # sacrebleu's
TRIALS = 10_000  # of approximate randomisation: sacrebleu's default
EXACT = 2.0**24

Table = NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """One system under one metric: its counts by item, its score, and the score of each bootstrap resample."""

    statistics: Table
    value: float
    resampled: Table


def _draws(items: int, resamples: int) -> Table:
    return np.random.default_rng(SEED).choice(items, size=(resamples, items), replace=True)


@lru_cache(maxsize=2)
def _weights(items: int, resamples: int) -> Table:
    """How often each item stands in each resample, (resamples, items)."""
    places = _draws(items, resamples) + items * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=items * resamples).reshape(resamples, items).astype(np.float64)


def bootstrap(statistics: Table, resamples: int) -> Table:
    """Summed counts of each resample, (resamples, counts), as 32-bit floats."""
    sums = _weights(len(statistics), resamples) @ statistics.astype(np.float64)
    if sums.max() < EXACT:
        return sums.astype(np.float32)
    # Beyond that each addition rounds, and the order shows: add row by row, as sacrebleu does.
    rounded = statistics.astype(np.float32)
    return np.stack([rounded[drawn].sum(axis=0) for drawn in _draws(len(statistics), resamples)])


def interval(resampled: Table) -> tuple[float, float]:
    """sacrebleu's mean of the resamples and half the width of their middle 95 %."""
    score = Score("", 0.0)
    score.estimate_ci([Score("", value) for value in resampled])
    return float(score._mean), float(score._ci)


def paired_bootstrap(system: Sample, baseline: Sample) -> float:
    """p value of sacrebleu's `--paired-bs`. One-sided in effect: see `reports.significance`."""
    gaps = np.abs(system.resampled - baseline.resampled)
    return float(_compute_p_value(gaps - gaps.mean(), abs(baseline.value - system.value)))


@lru_cache(maxsize=1)
def _exchanges(items: int) -> Table:
    """Which items the two systems exchange in each trial, (trials, items)."""
    return np.random.default_rng(SEED).integers(2, size=(TRIALS, items), dtype=bool)


def randomisation(scores: Callable[[Table], Table], system: Sample, baseline: Sample) -> float:
    """Two-sided p value of sacrebleu's `--paired-ar`; `scores` gives the score of each row of summed counts."""
    kept = system.statistics.sum(axis=0)
    moved = _exchanges(len(system.statistics)).astype(np.float64) @ (baseline.statistics - system.statistics).astype(np.float64)
    one, other = scores(kept + moved), scores(baseline.statistics.sum(axis=0) - moved)
    return float(_compute_p_value(np.abs(one - other), abs(baseline.value - system.value)))
