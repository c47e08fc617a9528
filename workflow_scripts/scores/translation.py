"""Scores of translations: chrF++ and BLEU by sacrebleu, and the health of the output (copies, empty answers, length).

Intervals and paired tests are sacrebleu's bootstrap (Koehn 2004), so every number equals what its command line prints for the
same text: `sacrebleu -m chrf --chrf-word-order 2 --confidence` and `--paired-bs`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest

from ..common import languages
from ..common.cli import UserError
from ..common.text import folded

HEALTH = ("copy rate", "empty rate", "length ratio")


class ChrfPlusPlus(CHRF):
    """chrF++ with scores of one type: sacrebleu 2.6.0 fails to average resamples where only some of them score exactly zero."""

    def _compute_f_score(self, statistics: Any) -> Any:
        score = super()._compute_f_score(statistics)
        return np.float32(score) if isinstance(statistics, np.ndarray) else score


def chrf_plus_plus(references: Sequence[str], _target_language: str) -> Metric:
    """chrF++: character 6-grams and word 2-grams (Popović 2017), the FLORES authors' first metric."""
    return ChrfPlusPlus(word_order=2, references=[references])


def bleu(references: Sequence[str], target_language: str) -> Metric:
    """BLEU with the tokenizer that languages.tsv names for the target language; `UserError` where it cannot be loaded."""
    tokenizer = languages.get(target_language).bleu_tokenizer
    try:
        return BLEU(tokenize=tokenizer, references=[references])
    except Exception as error:  # sacrebleu raises RuntimeError, ImportError, KeyError or a network error here
        raise UserError(
            f"the BLEU tokenizer {tokenizer!r} of {target_language} cannot be loaded ({error}). Install or pre-stage what it "
            "needs, or name another in the column bleu_tokenizer of resources/languages.tsv."
        ) from error


METRICS: dict[str, Callable[[Sequence[str], str], Metric]] = {"chrF++": chrf_plus_plus, "BLEU": bleu}


@dataclass(frozen=True)
class Estimate:
    """A corpus score (0 to 100) with its 95 % interval and sacrebleu's signature."""

    value: float
    low: float
    high: float
    signature: str


def check_names(names: Sequence[str]) -> None:
    """Raise `UserError` for a metric that is not known."""
    if unknown := sorted(set(names) - set(METRICS)):
        raise UserError(f"unknown metric {', '.join(unknown)} in evaluate.metrics. Known metrics: {', '.join(METRICS)}.")


def build(names: Sequence[str], references: Sequence[str], target_language: str) -> dict[str, Metric]:
    """The metrics asked for, with the references already counted."""
    return {name: METRICS[name](references, target_language) for name in names}


def estimate(metric: Metric, hypotheses: Sequence[str], resamples: int) -> Estimate:
    """Corpus score, and sacrebleu's interval: bootstrap mean ± half the width of the middle 95 %, kept inside 0 to 100."""
    score = metric.corpus_score(hypotheses, None, n_bootstrap=resamples)
    low, high = (min(100.0, max(0.0, float(score._mean) + sign * float(score._ci))) for sign in (-1, 1))
    return Estimate(float(score.score), float(low), float(high), metric.get_signature().format())


def compare(
    metrics: Mapping[str, Metric], baseline: Sequence[str], hypotheses: Sequence[str], resamples: int
) -> dict[str, tuple[float, float]]:
    """Difference to the baseline and p value of sacrebleu's paired bootstrap, for each metric.

    The p value is the one sacrebleu prints. It is one-sided in effect: under the null hypothesis a tenth of the tests fall
    below 0.05, so whoever asks "better or worse?" doubles it (the report does). One exception: where the two scores are
    equal, sacrebleu prints its smallest p value, and here it is 1.

    Memory: about 100 bytes for each item and resample (1,000 resamples of 1,012 sentences: 0.1 GB).
    """
    results: Any = PairedTest([("baseline", baseline), ("system", hypotheses)], metrics, None, "bs", n_samples=resamples)()[1]
    found = {}
    # sacrebleu names its result columns itself ("chrF2++"), after the column of system names, in the order of `metrics`.
    for name, (base, system) in zip(metrics, list(results.values())[1:], strict=True):
        delta = float(system.score - base.score)
        found[name] = (delta, float(system.p_value) if delta else 1.0)
    return found


def health(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, tuple[float, str]]:
    """Value and signature of each health measure: rates in percent of items, length per reference character."""
    share = 100 / len(hypotheses)
    copies = sum(bool(folded(answer)) and folded(answer) == folded(source) for source, answer in zip(sources, hypotheses, strict=True))
    empty = sum(not answer.strip() for answer in hypotheses)
    length = sum(map(len, hypotheses)) / sum(map(len, references))
    return {
        "copy rate": (copies * share, "pivotlift|copies|v1"),
        "empty rate": (empty * share, "pivotlift|empty|v1"),
        "length ratio": (length, "pivotlift|length|v1"),
    }
