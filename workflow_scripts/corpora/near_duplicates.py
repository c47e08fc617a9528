"""Which of many pairs are nearly the same as an earlier one: the exact answer, without comparing all with all.

Two pairs are similar if the Jaccard similarity of their character n-grams, those of both sides together, reaches a threshold. Similar sets
share one of their few rarest n-grams (prefix filter: Chaudhuri, Ganti and Kaushik 2006), so only pairs that do are compared.
"""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable

SIZE = 3  # characters: a changed word changes few of them, and Chinese sentences still have some


def first_of_similar(pairs: Iterable[tuple[str, str]], similarity: float) -> list[bool]:
    """For each pair (source, target) whether no earlier pair that was kept is similar. A pair without characters is kept."""
    pairs = list(pairs)
    counts: Counter[str] = Counter()
    for pair in pairs:
        counts.update(_ngrams(*pair))
    rank = {gram: number for number, gram in enumerate(sorted(counts, key=lambda gram: (counts[gram], gram)))}
    kept: list[array[int]] = []
    holders: defaultdict[int, list[int]] = defaultdict(list)  # of each n-gram, the kept pairs that have it among their rarest
    answers = []
    for pair in pairs:
        grams = array("I", sorted(rank[gram] for gram in _ngrams(*pair)))
        rarest = grams[: len(grams) - math.ceil(similarity * len(grams) - 1e-9) + 1]
        own = set(grams)
        candidates = {other for gram in rarest for other in holders.get(gram, ())}
        new = not any(_similar(own, kept[other], similarity) for other in candidates)
        answers.append(new)
        if new and grams:
            for gram in rarest:
                holders[gram].append(len(kept))
            kept.append(grams)
    return answers


def _similar(one: set[int], other: "array[int]", similarity: float) -> bool:
    if min(len(one), len(other)) < similarity * max(len(one), len(other)):
        return False
    shared = len(one.intersection(other))
    return shared >= similarity * (len(one) + len(other) - shared)


def _ngrams(source: str, target: str) -> set[str]:
    """Of both sides, each marked as its own; a shorter text is one n-gram."""
    return {
        mark + text[start : start + SIZE]
        for mark, text in (("s", source), ("t", target))
        if text
        for start in range(max(1, len(text) - SIZE + 1))
    }
