"""Do the two sides of a pair say the same? Told from what stands together in all the pairs: no model, no words, any language.

The partner of a character n-gram is the one of the other side that its presence says most about: the largest log-likelihood ratio of both
standing in the same pairs (Dunning 1993, Computational Linguistics 19). A pair in which partners stand together speaks for itself, one in
which they are missing against: naive Bayes, both ways, each way divided by the length of its n-grams, since they overlap. N-grams without a
partner say nothing, so that a pair of rare words is in doubt and not bad.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

LEARNT = 20_000  # pairs that partners are learnt from, evenly spaced
BATCH = 20_000  # pairs judged at once
CELLS = 5_000_000  # counts of two n-grams in memory at once
RARE = 5  # an n-gram of fewer pairs has no partner
COMMON = 0.3  # nor has one that this share of the pairs hold
TOGETHER = 3  # pairs that partners share at least
CHANCE = 5.0  # and the least log-likelihood ratio
LEAST, MOST = 0.001, 0.98  # probabilities of a partner: no single one decides


class Way(NamedTuple):
    """N-grams of one side that have a partner on the other: both, and the nats for a pair that holds it and for one that lacks it."""

    own: NDArray[np.int64]
    partner: NDArray[np.int64]
    there: Floats
    missing: Floats


def evidence(sources: Sequence[str], targets: Sequence[str], sizes: tuple[int, int]) -> Floats:
    """For each pair the nats by which it is more probable that its sides belong together than that they do not; negative if they do not.

    `sizes` are the characters of an n-gram of either side. Rounded, so that no last bit of a processor's logarithm decides.
    """
    count = len(sources)
    learnt = range(count) if count <= LEARNT else np.linspace(0, count - 1, LEARNT).astype(np.int64).tolist()
    sides = [([texts[row] for row in learnt], size) for texts, size in zip((sources, targets), sizes, strict=True)]
    vocabularies = [_vocabulary(texts, size) for texts, size in sides]
    source, target = (_presence(*side, vocabulary) for side, vocabulary in zip(sides, vocabularies, strict=True))
    ways = _way(source, target), _way(target, source)
    found: list[Floats] = [np.zeros(0)]
    for start in range(0, count, BATCH):
        source, target = (
            _presence(texts[start : start + BATCH], size, vocabulary)
            for texts, size, vocabulary in zip((sources, targets), sizes, vocabularies, strict=True)
        )
        found.append(_judge(source, target, ways[0]) / sizes[0] + _judge(target, source, ways[1]) / sizes[1])
    return np.asarray(np.round(np.concatenate(found), 6), np.float64)


def _ngrams(text: str, size: int) -> set[str]:
    return {text[start : start + size] for start in range(max(1, len(text) - size + 1))}


def _vocabulary(texts: Sequence[str], size: int) -> dict[str, int]:
    counts = Counter(gram for text in texts for gram in _ngrams(text, size))
    kept = sorted(gram for gram, count in counts.items() if gram and RARE <= count <= COMMON * len(texts))
    return {gram: column for column, gram in enumerate(kept)}


def _presence(texts: Sequence[str], size: int, vocabulary: dict[str, int]) -> Any:
    """A sparse matrix, texts x n-grams: 1 where the text holds it."""
    columns = [sorted(vocabulary[gram] for gram in _ngrams(text, size) if gram in vocabulary) for text in texts]
    ends = np.cumsum([0, *map(len, columns)])
    flat = np.fromiter((column for row in columns for column in row), np.int32, ends[-1])
    return sparse.csr_matrix((np.ones(len(flat)), flat, ends), shape=(len(texts), len(vocabulary)))


def _way(own: Any, other: Any) -> Way:
    """Partners of one side's n-grams, from the pairs that hold them (pairs x n-grams, of either side)."""
    pairs, sizes = own.shape[0], [np.asarray(matrix.sum(axis=0)).ravel() for matrix in (own, other)]
    rows, block = own.T.tocsr(), max(1, CELLS // max(1, len(sizes[1])))
    nobody, nothing = np.zeros(0, np.int64), np.zeros(0, np.float64)
    parts = [Way(nobody, nobody, nothing, nothing)]
    for start in range(0, len(sizes[0]), block):
        together = rows[start : start + block] @ other
        together.data[together.data < TOGETHER] = 0
        together.eliminate_zeros()
        together.sort_indices()
        which, columns, both = _best(together, sizes[0][start : start + block], sizes[1], pairs)
        left, anywhere = sizes[0][start + which], sizes[1][columns] / pairs
        # The pair that is judged is one of those counted: it is left out, with half a pair added for each outcome.
        there = np.log(np.clip((both - 0.5) / left, LEAST, MOST) / anywhere)
        missing = np.log((1 - np.clip((both + 0.5) / left, LEAST, MOST)) / (1 - anywhere))
        parts.append(Way(start + which, columns, there, missing))
    return Way(*map(np.concatenate, zip(*parts, strict=True)))


def _best(together: Any, own: Floats, other: Floats, pairs: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Rows that have a partner, its column, and how many pairs hold both; from the counts of both, of each, and of all pairs."""
    cells = together.tocoo()
    both, left, right = cells.data, own[cells.row], other[cells.col]
    ratio = np.zeros(len(both))
    for seen, one, two in (
        (both, left, right),
        (left - both, left, pairs - right),
        (right - both, pairs - left, right),
        (pairs - left - right + both, pairs - left, pairs - right),
    ):
        ratio += np.where(seen > 0, seen * np.log(np.maximum(seen, 1) * pairs / (one * two)), 0)
    ratio[both * pairs <= left * right] = 0
    starts = together.indptr[:-1][np.diff(together.indptr) > 0]  # of the rows that have any cell
    most = np.maximum.reduceat(ratio, starts) if len(starts) else ratio
    reached = np.flatnonzero(ratio == np.repeat(most, np.diff([*starts, len(ratio)])))
    first = reached[np.unique(cells.row[reached], return_index=True)[1]]  # of equals the first column
    first = first[ratio[first] >= CHANCE]
    return cells.row[first].astype(np.int64), cells.col[first].astype(np.int64), both[first]


def _judge(own: Any, other: Any, way: Way) -> Floats:
    own = own[:, way.own]
    hit = own.multiply(other[:, way.partner]).tocsr()
    found: Floats = hit @ way.there + (own - hit) @ way.missing
    return found
