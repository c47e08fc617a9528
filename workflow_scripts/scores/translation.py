"""Scores of translations: which metrics there are, and what each needs for a language.

Scores, signatures, intervals and p values are sacrebleu's, to the last digit: `sacrebleu -m chrf --chrf-word-order 2 --confidence` and
`--paired-bs` (or `--paired-ar`) print the same for the same text.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sacrebleu.tokenizers.tokenizer_spm import TokenizerSPM

from ..common import files, languages
from ..common.cli import UserError
from .metrics import Bleu, ChrfPlusPlus, StringMetric, Ter
from .resampling import TRIALS, Sample, bootstrap, interval, paired_bootstrap, randomisation

SPM = {"spBLEU": "flores200", "spBLEU-101": "flores101"}  # sacrebleu's names of the SentencePiece models
METRICS = ("chrF++", "BLEU", *SPM, "TER")
SIGNIFICANCE = ("bootstrap", "randomisation")


def check_settings(settings: dict[str, Any]) -> None:
    """Raise `UserError` for a metric or a test that is not known."""
    if unknown := sorted(set(settings["metrics"]) - set(METRICS)):
        raise UserError(f"unknown metric {', '.join(unknown)} in evaluate.metrics. Known metrics: {', '.join(METRICS)}.")
    if settings["significance"] not in SIGNIFICANCE:
        raise UserError(f"evaluate.significance is {settings['significance']!r}. Known tests: {', '.join(SIGNIFICANCE)}.")


class SentencePiece(TokenizerSPM):
    """sacrebleu's SentencePiece tokenizer with its model read from a given file: it would download it, from wherever it runs."""

    def __init__(self, name: str, path: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        self.name, self.sp = name, SentencePieceProcessor(model_file=str(path))


@lru_cache
def sentence_piece(name: str, path: Path, sha256: str) -> SentencePiece:
    """The tokenizer, loaded once; `UserError` where the file is not the one that was pinned."""
    if (found := files.sha256_file(path)) != sha256:
        raise UserError(
            f"{path} has the SHA-256 {found}, but evaluate.spm.{name} pins {sha256}: spBLEU of another model is another metric. "
            "Get the pinned file again, or pin the one you mean to use."
        )
    return SentencePiece(name, path)


def models_at_hand(settings: dict[str, Any]) -> dict[str, str]:
    """The pinned checksums of the SentencePiece models whose files are there, by name."""
    return {name: model["sha256"] for name, model in settings["spm"].items() if Path(model["path"]).exists()}


def bleu(target_language: str) -> StringMetric:
    """BLEU with the tokenizer that languages.tsv names for the target language; `UserError` where it cannot be loaded."""
    tokenizer = languages.get(target_language).bleu_tokenizer
    try:
        return Bleu(tokenizer)
    except Exception as error:  # sacrebleu raises RuntimeError, ImportError, KeyError or a network error here
        raise UserError(
            f"the BLEU tokenizer {tokenizer!r} of {target_language} cannot be loaded ({error}). Install or pre-stage what it "
            "needs, or name another in the column bleu_tokenizer of resources/languages.tsv."
        ) from error


def sp_bleu(name: str, settings: dict[str, Any]) -> StringMetric | str:
    """BLEU on pieces of a SentencePiece model of many languages (Goyal et al. 2022), or why it cannot be had."""
    if name not in models_at_hand(settings):
        return f"n/a: no SentencePiece model at hand (evaluate.spm.{name})"
    model = settings["spm"][name]
    return Bleu(sentence_piece(name, Path(model["path"]), model["sha256"]))


def ter(target_language: str) -> StringMetric | str:
    """TER on words, in Chinese on characters; no other writing without spaces is known to sacrebleu's tokenizer for TER."""
    tokenizer = languages.get(target_language).bleu_tokenizer
    if tokenizer == "char":
        return "n/a: TER counts words, and this language is written without spaces between them"
    return Ter(normalized=True, asian_support=True) if tokenizer == "zh" else Ter()


def build(name: str, target_language: str, settings: dict[str, Any]) -> StringMetric | str:
    """A metric for a target language, or the reason why there is none."""
    if name in SPM:
        return sp_bleu(SPM[name], settings)
    return {"chrF++": lambda _: ChrfPlusPlus(), "BLEU": bleu, "TER": ter}[name](target_language)


class Board:
    """Systems that translated the same sentences, under one metric: everything is counted and resampled once."""

    def __init__(self, metric: StringMetric, references: Sequence[str], systems: dict[Any, list[str]], settings: dict[str, Any]) -> None:
        self.metric, self.resamples, self.significance = metric, settings["resamples"], settings["significance"]
        self.samples = {
            name: Sample(counts, metric.score(counts), metric.scores(bootstrap(counts, self.resamples)))
            for name, counts in zip(systems, metric.statistics(references, list(systems.values())), strict=True)
        }

    def estimate(self, system: Any) -> dict[str, Any]:
        """Corpus score with sacrebleu's interval: bootstrap mean ± half the width of the middle 95 %, inside the metric's bounds."""
        sample = self.samples[system]
        mean, half = interval(sample.resampled)
        bottom, top = self.metric.bounds
        low, high = (min(top, max(bottom, end)) for end in (mean - half, mean + half))
        return {"value": sample.value, "low": low, "high": high, "signature": self.metric.signature(self.resamples)}

    def compare(self, system: Any, baseline: Any) -> dict[str, Any]:
        """Difference to the baseline, p value of sacrebleu's test, and the signature that names the test.

        The bootstrap's p value is the one sacrebleu prints. It is one-sided in effect: under the null hypothesis a tenth of the tests
        fall below 0.05, so whoever asks "better or worse?" doubles it (the report does); randomisation needs no doubling. One
        exception: where the two scores are equal, sacrebleu prints its smallest p value, and here it is 1.
        """
        sample, other = self.samples[system], self.samples[baseline]
        delta = sample.value - other.value
        if self.significance == "bootstrap":
            p_value, signature = paired_bootstrap(sample, other), self.metric.signature(self.resamples)
        else:
            p_value, signature = randomisation(self.metric.scores, sample, other), self.metric.signature(self.resamples, TRIALS)
        return {"delta": delta, "p_value": p_value if delta else 1.0, "signature": signature}
