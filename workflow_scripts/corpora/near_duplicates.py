"""Which of many pairs are nearly the same as an earlier one, in time that grows with their number and not with its square.

Two pairs are similar if the Jaccard similarity of their character n-grams, those of both sides together, reaches a threshold. Candidates
are found by MinHash and banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3), with rensa's
MinHash, and each one is checked by its exact similarity: a pair is never dropped for one that is less similar. One that just reaches the
threshold is overlooked with a probability of `MISSED` at most.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Grams = NDArray[np.uint64]

SIZE = 3  # characters: a changed word changes few of them, and Chinese sentences still have some
SEED = 1
CHUNK = 10_000  # pairs whose n-grams and signatures are in memory at once
MISSED = 1e-4  # how often a similar pair may be overlooked, at the threshold itself; above it, less often
BAND = 1 / 6  # about how often two pairs at the threshold agree in all values of one band
WIDEST = 16  # values of a band at most
END = np.uint64(0x1FFFFF)  # no character: stands behind each text, so that a shorter one is an n-gram too
MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing


def first_of_similar(pairs: Iterable[tuple[str, str]], similarity: float) -> list[bool]:
    """For each pair (source, target) whether no earlier pair that was kept is similar. A pair without characters is kept.

    `similarity` is above 0 and at most 1.
    """
    pairs = list(pairs)
    buckets = _buckets(pairs, similarity)
    kept: dict[int, Grams] = {}  # n-grams of the kept pairs that share a bucket with another one
    members: dict[int, list[int]] = {}  # the kept pairs of each bucket
    answers = [True] * len(pairs)
    for row, own in buckets.items():
        grams = _unique(pairs[row])
        # Those that share most buckets first: the first similar one decides.
        candidates = Counter(other for bucket in own for other in members.get(bucket, ()))
        answers[row] = not any(_similar(grams, kept[other], similarity) for other, _ in candidates.most_common())
        if answers[row]:
            kept[row] = grams
            for bucket in own:
                members.setdefault(bucket, []).append(row)
    return answers


def bands_of(similarity: float) -> tuple[int, int]:
    """How many bands a signature has, and how many values each, for `MISSED` and about `BAND`."""
    width = WIDEST if similarity == 1 else min(WIDEST, max(1, round(math.log(BAND) / math.log(similarity))))
    agree = similarity**width
    return (1 if agree == 1 else math.ceil(math.log(MISSED) / math.log(1 - agree))), width


def _buckets(pairs: Sequence[tuple[str, str]], similarity: float) -> dict[int, list[int]]:
    """For each pair that agrees with another one in a whole band, in order: the buckets that both stand in."""
    count, width = bands_of(similarity)
    starts = range(0, len(pairs), CHUNK)
    bands = np.concatenate([np.zeros((0, count), np.uint32), *(_bands(pairs[start : start + CHUNK], count, width) for start in starts)])
    empty = np.fromiter((not source and not target for source, target in pairs), bool, len(pairs))
    found: dict[int, list[int]] = {}
    total = 0
    for band in bands.T:
        values, places, sizes = np.unique(band, return_inverse=True, return_counts=True)
        shared = np.flatnonzero((sizes[places] > 1) & ~empty)
        for row, place in zip(shared.tolist(), places[shared].tolist(), strict=True):
            found.setdefault(row, []).append(total + place)
        total += len(values)
    return {row: found[row] for row in sorted(found)}


def _bands(pairs: Sequence[tuple[str, str]], count: int, width: int) -> NDArray[np.uint32]:
    """A hash of every band of each pair's MinHash signature: pairs x bands."""
    from rensa import RMinHash

    grams, ends = _ngrams(pairs)
    mixed = grams * MIXER
    mixed ^= mixed >> np.uint64(32)
    signatures = RMinHash.digest_matrix_from_flat_token_hashes(mixed, ends.astype(np.uint64), count * width, SEED).to_rows()
    values = np.array(signatures, np.uint64).reshape(len(pairs), count, width)
    hashes = np.zeros((len(pairs), count), np.uint64)
    for place in range(width):
        hashes = (hashes ^ values[:, :, place]) * MIXER
    return (hashes >> np.uint64(32)).astype(np.uint32)


def _ngrams(pairs: Sequence[tuple[str, str]]) -> tuple[Grams, NDArray[np.int64]]:
    """The n-grams of all pairs, one after the other, and where those of each pair begin and end.

    Three characters of 21 bits and one bit for the side: no two n-grams are the same number. A text that is shorter is one n-gram.
    """
    texts = [text for pair in pairs for text in pair]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    gap = "\0" * (SIZE - 1)
    codes = np.frombuffer("".join(text + gap for text in texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    begins = np.cumsum(lengths + SIZE - 1) - lengths - (SIZE - 1)
    owner = np.repeat(np.arange(len(texts)), lengths + SIZE - 1)
    place = np.arange(len(codes)) - begins[owner]
    codes[place >= lengths[owner]] = END
    grams = np.where(lengths > 0, np.maximum(lengths - SIZE + 1, 1), 0)
    starts = np.flatnonzero(place < grams[owner])
    side = (owner[starts] % 2).astype(np.uint64)
    first, second, third = (codes[starts + offset] for offset in range(SIZE))
    packed = first << np.uint64(43) | second << np.uint64(22) | third << np.uint64(1) | side
    return packed, np.concatenate([[0], np.cumsum(grams)[1::2]])


def _unique(pair: tuple[str, str]) -> Grams:
    return np.unique(_ngrams([pair])[0])


def _similar(one: Grams, other: Grams, similarity: float) -> bool:
    if min(len(one), len(other)) < similarity * max(len(one), len(other)):
        return False
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared >= similarity * (len(one) + len(other) - shared)
