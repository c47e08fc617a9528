"""String metrics as sums: what each sentence contributes, and scores of many resampled test sets at once.

Tokenizers, formula and signature are sacrebleu's own objects. Only its two slow parts are done in bulk: counting (`ngrams`, `edits`) and
scoring one resample after the other. The second repeats sacrebleu's formulas on arrays, in the number type that it uses, operation by
operation: 32 bits in the bootstrap, 64 in approximate randomisation.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU, CHRF, TER

from ..common.text import FORM
from . import edits, ngrams
from .resampling import SEED

Texts = Sequence[str]
Table = NDArray[Any]  # one row an item or a resample, one column a count


class StringMetric(ABC):
    """One metric; `metric` is sacrebleu's. Nothing lies outside its `bounds`, so no end of an interval does."""

    bounds = (0.0, 100.0)

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        metric.num_refs, metric.seed = 1, str(SEED)  # for the signature; sacrebleu sets them as it scores

    @abstractmethod
    def statistics(self, references: Texts, systems: Sequence[Texts]) -> list[Table]:
        """For each system, what sacrebleu counts in each of its sentences: whole numbers, (items, counts)."""

    @abstractmethod
    def scores(self, sums: Table) -> Table:
        """The score of each row of summed counts, as sacrebleu computes it from numbers of that type."""

    def score(self, statistics: Table) -> float:
        """The corpus score."""
        found = float(self.metric._compute_score_from_stats(statistics.sum(axis=0).tolist()).score)
        return min(found, self.bounds[1])  # a perfect BLEU can be 100.00000000000004

    def signature(self, resamples: int, trials: int | None = None) -> str:
        """sacrebleu's signature, with the number of resamples and of randomisation trials, and the form that texts were brought into."""
        self.metric.n_bootstrap = resamples
        signature = self.metric.get_signature()
        signature.update("ar", trials)
        return f"{signature.format()}|form:{FORM}"

    def words(self, texts: Texts) -> list[list[str]]:
        """The words of each text, by the metric's own tokenizer."""
        return [self.metric._preprocess_segment(text).split() for text in texts]


class Bleu(StringMetric):
    """BLEU (Papineni et al. 2002) with one of sacrebleu's tokenizers, or with one given as an object."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(BLEU(tokenize=tokenizer if isinstance(tokenizer, str) else "none", force=True))
        if not isinstance(tokenizer, str):
            self.metric.tokenizer, self.metric.tokenizer_signature = tokenizer, tokenizer.signature()

    def words(self, texts: Texts) -> list[list[str]]:
        if self.metric.tokenizer_signature != "13a":
            return super().words(texts)
        # 13a spaces out whatever it matches and looks no further than one character, so what stands between two spaces does not depend
        # on what stands around them. Most of it is words that come again and again.
        known: dict[str, list[str]] = {"": []}
        found = []
        for text in texts:
            words: list[str] = []
            for part in text.rstrip().split(" "):
                if part not in known:
                    known[part] = self.metric.tokenizer(part).split()
                words += known[part]
            found.append(words)
        return found

    def statistics(self, references: Texts, systems: Sequence[Texts]) -> list[Table]:
        order, items = self.metric.max_ngram_order, len(references)
        units, lengths = ngrams.words([words for texts in (references, *systems) for words in self.words(texts)])
        matches = ngrams.matches(units, lengths, items, order)
        lengths = lengths.reshape(-1, items)
        total = ngrams.totals(lengths, order)
        sizes = (np.stack([size, lengths[0]], axis=1) for size in lengths[1:])
        return [np.hstack(parts) for parts in zip(sizes, matches, total[1:], strict=True)]

    def scores(self, sums: Table) -> Table:
        correct, total = np.split(sums[:, 2:], 2, axis=1)
        missed = correct == 0
        smoothing = (2.0 ** np.cumsum(missed, axis=1)).astype(sums.dtype)
        with np.errstate(divide="ignore", invalid="ignore"):
            precisions = np.where(missed, 100 / (smoothing * total), 100 * correct / total)
        void = missed.all(axis=1) | (total == 0).any(axis=1)
        rows = zip(void.tolist(), sums[:, :2].tolist(), precisions.tolist(), strict=True)
        # NumPy's logarithm may differ from the mathematical library's in the last bit, so that one is asked, as sacrebleu does.
        return np.array([0.0 if none else brevity(*sizes) * math.exp(sum(map(math.log, row)) / len(row)) for none, sizes, row in rows])


def brevity(size: float, reference: float) -> float:
    return math.exp(1 - reference / size) if size < reference else 1.0


class ChrfPlusPlus(StringMetric):
    """chrF++: F2 of character 6-grams and word 2-grams (Popović 2017)."""

    def __init__(self) -> None:
        super().__init__(CHRF(word_order=2))

    def statistics(self, references: Texts, systems: Sequence[Texts]) -> list[Table]:
        items, texts = len(references), [text for texts in (references, *systems) for text in texts]
        counts = []
        for (units, lengths), order in (
            (ngrams.characters(["".join(text.split()) for text in texts]), self.metric.char_order),
            (ngrams.words([self.metric._remove_punctuation(text) for text in texts]), self.metric.word_order),
        ):
            matches = ngrams.matches(units, lengths, items, order)
            total = ngrams.totals(lengths.reshape(-1, items), order)
            # As in sacrebleu, n-grams that the reference is too short to have are not held against the system.
            counts.append([np.stack([own * (total[0] > 0), total[0], both], axis=2) for own, both in zip(total[1:], matches, strict=True)])
        return [np.hstack(parts).reshape(items, -1) for parts in zip(*counts, strict=True)]

    def scores(self, sums: Table) -> Table:
        own, wanted, matches = np.moveaxis(sums.reshape(len(sums), -1, 3), 2, 0)
        counted = (own > 0) & (wanted > 0)
        zero, weight = np.zeros(len(sums), sums.dtype), self.metric.beta**2
        precision, recall = zero.copy(), zero.copy()
        for order in range(self.metric.order):  # one by one, as floating-point sums depend on the order
            for mean, size in ((precision, own), (recall, wanted)):
                mean += np.divide(matches[:, order], size[:, order], out=zero.copy(), where=counted[:, order])
        orders = np.maximum(counted.sum(axis=1), 1).astype(sums.dtype)
        precision /= orders
        recall /= orders
        scores = 100 * np.divide(
            (1 + weight) * precision * recall, weight * precision + recall, out=zero.copy(), where=precision + recall > 0
        )
        return scores if scores.all() else scores.astype(np.float64)  # sacrebleu's zero has 64 bits, and makes a list that has one so


class Ter(StringMetric):
    """Translation edit rate (Snover et al. 2006), in percent: lower is better, and it may exceed 100."""

    bounds = (0.0, math.inf)

    def __init__(self, **options: Any) -> None:
        super().__init__(TER(**options))

    def statistics(self, references: Texts, systems: Sequence[Texts]) -> list[Table]:
        # By sacrebleu, since it tokenizes references twice, and its tokenizer may find more to do the second time.
        wanted = [known["ref_words"][0] for known in self.metric._cache_references([references])]
        sizes = [len(words) for words in wanted]
        return [np.array([list(map(edits.edits, self.words(texts), wanted)), sizes], dtype=np.int64).T for texts in systems]

    def scores(self, sums: Table) -> Table:
        changes, sizes = sums.T
        return 100 * np.divide(changes, sizes, out=(changes > 0).astype(sums.dtype), where=sizes > 0)
