"""Does a text hold a benchmark line? Exact matches and near-duplicates, in every script.

Texts are compared after `text.folded` (case, spaces and punctuation do not hide a match), by the share of a benchmark line's character
n-grams found in the text. Character n-grams work where words are not separated (Thai, Chinese, Khmer); measuring against the benchmark
line only finds it also inside a longer text, and never accuses a short common phrase that a test line happens to contain.

`similar` is the definition; `Index` applies it to the lines that may be similar, which it finds for many texts at once in arrays.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import files

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
Row = TypeVar("Row")

CHARACTERS = 1 << 20  # of texts looked at together
PAIRS = 1 << 21  # of a text and a line, counted together
HITS = 8  # rare n-grams that a line and a text must share to be compared: more are more look-ups and fewer comparisons
BITS = 24  # of an n-gram's number
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits well mixed


def similar(line: str, text: str, size: int, similarity: float) -> bool:
    """Does the folded text hold this share of the folded line's n-grams?"""
    wanted = _ngrams(line, size)
    return len(wanted & _ngrams(text, size)) >= similarity * len(wanted)


def _ngrams(text: str, size: int) -> set[str]:
    return {text[start : start + size] for start in range(len(text) - size + 1)}


class Index:
    """Benchmark lines, ready to be searched for."""

    def __init__(self, lines: Iterable[tuple[Any, str]], settings: dict[str, Any]) -> None:
        """`lines` are (label, text). settings: `ngram` characters; `similarity` (0 to 1) of a line's n-grams make a match."""
        self.labels: dict[str, list[Any]] = {}  # of each folded line
        for some in _portions(lines, lambda pair: len(pair[1])):
            for (label, _), line in zip(some, fold([text for _, text in some]).strings(), strict=True):
                if line and label not in (labels := self.labels.setdefault(line, [])):
                    labels.append(label)
        self.lines = list(self.labels)
        dense = np.concatenate([np.zeros(0, np.bool_), *(_joined(some).dense() for some in _portions(self.lines, len))])
        # One Chinese, Japanese or Korean character carries about as much as two letters, so n-grams are half as long.
        sizes = np.where(dense, max(2, settings["ngram"] // 2), settings["ngram"])
        self.parts = [_Lines(self.lines, np.flatnonzero(sizes == size), size, settings["similarity"]) for size in np.unique(sizes).tolist()]

    def find(self, texts: Iterable[str]) -> list[Any | None]:
        """For each text the label of a line that it is or holds, or None."""
        return [labels[0] if labels else None for labels in self._search(texts, first=True)]

    def find_all(self, texts: Iterable[str]) -> list[list[Any]]:
        """For each text the labels of all lines that it is or holds."""
        return list(self._search(texts, first=False))

    def _search(self, texts: Iterable[str], first: bool) -> Iterator[list[Any]]:
        for some in _portions(texts, len):
            folded = fold(some)
            strings = folded.strings()
            found = [list(self.labels.get(string, ())) for string in strings]
            pairs = sorted((text, line, part.size, part.similarity) for part in self.parts for text, line in part.candidates(folded))
            for text, number, size, similarity in pairs:
                line = self.lines[number]
                if not (found[text] and first) and line != strings[text] and similar(line, strings[text], size, similarity):
                    found[text] += self.labels[line]
            yield from found


class Folded(NamedTuple):
    """Folded texts, one behind the other: code points, and where each text starts (and the last one ends)."""

    codes: NDArray[np.uint32]
    bounds: Ints

    def strings(self) -> list[str]:
        joined = self.codes.tobytes().decode("utf-32-le", "surrogatepass")
        ends = self.bounds.tolist()
        return [joined[start:end] for start, end in zip(ends[:-1], ends[1:], strict=True)]

    def dense(self) -> NDArray[np.bool_]:
        """Which texts are mostly Chinese, Japanese or Korean?"""
        dense = ((self.codes >= 0x3040) & (self.codes <= 0x9FFF)) | ((self.codes >= 0xAC00) & (self.codes <= 0xD7A3))
        return 2 * np.diff(_sums(dense)[self.bounds]) > np.diff(self.bounds)


_KEPT = np.full(0x110000, -1, np.int8)  # of each code point that was seen: whether folding keeps it


def fold(texts: Sequence[str]) -> Folded:
    """`text.folded` of many texts."""
    codes, bounds = _joined([unicodedata.normalize("NFKC", text).casefold() for text in texts])
    for code in np.unique(codes[_KEPT[codes] < 0]).tolist():
        _KEPT[code] = chr(code).isalnum() or unicodedata.category(chr(code))[0] == "M"
    kept = _KEPT[codes] > 0
    return Folded(codes[kept], _sums(kept)[bounds])


def _joined(texts: Sequence[str]) -> Folded:
    """Texts that are folded. To fold them again could change them: marks that a space kept apart would be put in order."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    return Folded(codes, _sums(np.fromiter(map(len, texts), np.int64, len(texts))))


class _Lines:
    """The lines of one n-gram size, but those of few n-grams: two short phrases share most of theirs by chance.

    A text that holds `needed` of a line's n n-grams holds at least `hits` of any n - needed + hits of them (prefix filter: Chaudhuri,
    Ganti and Kaushik 2006). So only the rarest n-grams of each line are looked up. N-grams are numbered by a hash: where two have the same
    number a line may seem to share more than it does, never less.
    """

    def __init__(self, lines: Sequence[str], chosen: Ints, size: int, similarity: float) -> None:
        self.size, self.similarity, self.chosen = size, similarity, chosen
        self.hits = np.zeros(len(chosen), np.int64)
        texts = [_joined(some) for some in _portions((lines[number] for number in chosen.tolist()), len)]
        frequency = np.zeros(1 << BITS, np.int64)
        for some in texts:
            frequency += np.bincount(self._numbers(some)[1], minlength=1 << BITS)
        rare, first = [np.zeros(0, np.uint64)], 0
        for some in texts:
            line, number = self._numbers(some)
            # By line, then rarity.
            order = (line.astype(np.uint64) << 44) | (np.minimum(frequency[number], (1 << 20) - 1).astype(np.uint64) << 24) | number.astype(np.uint64)
            order.sort()
            count = np.bincount(line, minlength=len(some.bounds) - 1)
            needed = np.ceil(similarity * count).astype(np.int64)
            hits = np.minimum(needed, HITS)
            looked_up = np.where(count >= 2 * size, count - needed + hits, 0)
            place = np.arange(len(line)) - _sums(count)[line]
            kept = order[place < looked_up[line]]
            rare.append(((kept & (1 << BITS) - 1) << 32) | ((kept >> 44) + first))
            self.hits[first : first + len(count)] = hits
            first += len(count)
        postings = np.concatenate(rare)
        postings.sort()
        self.lines = (postings & 0xFFFFFFFF).astype(np.uint32)
        self.starts = _sums(np.bincount((postings >> 32).astype(np.int64), minlength=1 << BITS)).astype(np.int32)

    def candidates(self, texts: Folded) -> Iterator[tuple[int, int]]:
        """Text and line of every pair that may be similar."""
        text, number = self._numbers(texts)
        begin, end = self.starts[number], self.starts[number + 1]
        known = np.flatnonzero(end > begin)
        text, begin, end = text[known], begin[known], end[known]
        count = (end - begin).astype(np.int64)
        total = np.cumsum(count)
        cuts = np.flatnonzero(np.diff(text, append=-1)) + 1 if len(text) else []
        start = 0
        for stop in _cut(cuts, total):
            some = slice(start, stop)
            start = stop
            offsets = np.repeat(begin[some] - _sums(count[some])[:-1], count[some]) + np.arange(count[some].sum())
            pairs = np.repeat(text[some] << 32, count[some]) | self.lines[offsets]
            pairs.sort()
            bounds = np.flatnonzero(np.diff(pairs, prepend=-1, append=-1))
            pair = pairs[bounds[:-1]]
            pair = pair[np.diff(bounds) >= self.hits[pair & 0xFFFFFFFF]]
            yield from zip((pair >> 32).tolist(), self.chosen[pair & 0xFFFFFFFF].tolist(), strict=True)

    def _numbers(self, texts: Folded) -> tuple[Ints, Ints]:
        """Text and number of every distinct n-gram, sorted."""
        hashes = np.zeros(max(len(texts.codes) - self.size + 1, 0), np.uint64)
        for place in range(self.size):
            hashes += texts.codes[place : place + len(hashes)]
            hashes *= FACTOR
        count = np.maximum(np.diff(texts.bounds) - self.size + 1, 0)
        text = np.repeat(np.arange(len(count)), count)
        offsets = np.arange(len(text)) + (texts.bounds[:-1] - _sums(count)[:-1])[text]
        found = (text << BITS) | (hashes[offsets] >> (64 - BITS)).astype(np.int64)
        found.sort()
        found = found[np.diff(found, prepend=-1) != 0]
        return found >> BITS, found & ((1 << BITS) - 1)


def _cut(ends, total):
    if not len(ends):
        return
    step = total[np.asarray(ends) - 1] // PAIRS
    yield from np.asarray(ends)[np.diff(step, append=-1) != 0].tolist()


def _sums(counts: NDArray[Any]) -> Ints:
    """Where each of several runs of these lengths starts, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def _portions(rows: Iterable[Row], size: Callable[[Row], int]) -> Iterator[list[Row]]:
    """Rows by portions of about CHARACTERS."""
    portion: list[Row] = []
    total = 0
    for row in rows:
        portion.append(row)
        total += size(row)
        if total >= CHARACTERS:
            yield portion
            portion, total = [], 0
    if portion:
        yield portion


def benchmark_lines(paths: Sequence[Path]) -> dict[str, list[tuple[str, str]]]:
    """Every text of the given benchmark files (sentences, passages, questions, answers), by language."""
    lines: dict[str, list[tuple[str, str]]] = {}
    for path in paths:
        benchmark = files.read_json(path)
        for item in benchmark["items"]:
            for field, text in item.items():
                if field in ("text", "flores_passage", "question") or field.startswith("mc_answer"):
                    lines.setdefault(benchmark["language"], []).append((benchmark["benchmark"], text))
    return lines
