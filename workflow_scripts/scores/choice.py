"""Accuracy of multiple choice (BELEBELE): Wilson's interval, and a paired bootstrap or approximate randomisation over passages.

Several questions share a passage, so passages are drawn or exchanged, not questions.
"""

import math
from collections.abc import Sequence

import numpy as np

from .resampling import SEED, TRIALS

CHANCE = 25
Z95 = 1.959963984540054


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
    test = f"ar:{TRIALS}" if significance == "randomisation" else f"bs:{resamples}"
    return f"pivotlift|accuracy|protocol:{protocol}|chance:{CHANCE}%|interval:wilson|paired:passages|{test}|seed:{SEED}|v1"
