"""n-gram matches of many sentences at once: the integers that BLEU and chrF are made of.

sacrebleu counts the n-grams of each sentence in a dictionary. Here each n-gram of all sentences gets a number, one order after the
other, and NumPy counts the numbers. Matches are integers, so they equal sacrebleu's, and the scores with them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def characters(sentences: Sequence[str]) -> tuple[Integers, Integers]:
    """The code points of all sentences in one array, and the length of each sentence."""
    points = np.frombuffer("".join(sentences).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return points.astype(np.int64), np.array([len(sentence) for sentence in sentences], dtype=np.int64)


def words(sentences: Sequence[Sequence[str]]) -> tuple[Integers, Integers]:
    """The words of all sentences in one array, each word as a number, and the length of each sentence."""
    numbers: dict[str, int] = {}
    units = [numbers.setdefault(word, len(numbers)) for sentence in sentences for word in sentence]
    return np.array(units, dtype=np.int64), np.array([len(sentence) for sentence in sentences], dtype=np.int64)


def numbered(keys: Integers) -> tuple[Integers, int]:
    """Number equal keys alike, from 0 on, and say how many different ones there are.

    Sorting each key together with its place, as one number, is several times as fast as `np.unique`, which does the rest.
    """
    bits = len(keys).bit_length()
    if keys.max(initial=0) >> (63 - bits):
        different, numbers = np.unique(keys, return_inverse=True)
        return numbers, len(different)
    ordered = np.sort(keys << bits | np.arange(len(keys)))
    places, ordered = ordered & ((1 << bits) - 1), ordered >> bits
    numbers = np.zeros(len(keys), dtype=np.int64)
    numbers[places[1:]] = np.cumsum(ordered[1:] != ordered[:-1])
    return numbers, int(numbers.max(initial=-1)) + 1


def totals(lengths: Integers, order: int) -> Integers:
    """How many n-grams of orders 1 to `order` sentences of these lengths have: one more axis than `lengths`."""
    return np.maximum(lengths[..., None] - np.arange(order), 0)


def matches(units: Integers, lengths: Integers, items: int, order: int) -> Integers:
    """n-grams that a system's sentence shares with its reference, each counted at most as often as the reference has it.

    `units` and `lengths` hold the sentences of the reference, then those of each system, `items` sentences each. The result has the
    shape (systems, items, order).
    """
    texts = len(lengths) // items
    text = np.repeat(np.arange(len(lengths)) // items, lengths)
    item = np.repeat(np.arange(len(lengths)) % items, lengths)
    end = np.repeat(np.cumsum(lengths), lengths)
    base = units.max(initial=0) + 1
    found = np.zeros((texts - 1, items, order), dtype=np.int64)
    start, grams = np.arange(len(units)), item  # where each n-gram begins, and its number; of order 0 there is one for each item
    for n in range(order):
        whole = start + n < end[start]
        start, grams = start[whole], grams[whole]
        grams, kinds = numbered(grams * base + units[start + n])
        counts = np.bincount(text[start] * kinds + grams, minlength=texts * kinds).reshape(texts, kinds)
        shared = np.minimum(counts[0], counts[1:])
        owner = np.empty(kinds, dtype=np.int64)
        owner[grams] = item[start]
        for system, row in enumerate(shared):
            found[system, :, n] = np.bincount(owner, row, minlength=items)
        # An n-gram that no system shares with the reference begins no longer one that is shared.
        alive = shared.any(axis=0)[grams]
        start, grams = start[alive], grams[alive]
    return found
