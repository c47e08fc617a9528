"""Does a text hold a benchmark line? Exact matches and near-duplicates, in every script.

Texts are compared after `text.folded` (case, spaces and punctuation do not hide a match), by the share of a benchmark line's character
n-grams found in the text. Character n-grams work where words are not separated (Thai, Chinese, Khmer); measuring against the benchmark
line only finds it also inside a longer text, and never accuses a short common phrase that a test line happens to contain.

`similar` is the definition; `Index` applies it to the lines that may be similar, which it finds for many texts at once in arrays.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import files

Ints = NDArray[np.int64]
Row = TypeVar("Row")

CHARACTERS = 1 << 20  # of texts looked at together
PAIRS = 1 << 17  # of a text and a line, counted together: as many as fit into the processor's cache
CELLS = 12  # bits of a line's number by which pairs are counted first
HITS = 12  # rare n-grams that a line and a text must share to be compared: more are more look-ups and fewer comparisons
BITS = 24  # of an n-gram's number, at most
EXACT = 44  # bits of an n-gram's hash that tell it from the others of a line
LONG = 1024  # characters of a text that are searched at once
STRETCH = 64  # characters: the parts of a passage, the shortest answer to search for; of dense scripts half as many
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits well mixed


def similar(line: str, text: str, size: int, similarity: float) -> bool:
    """Does the folded text hold this share of the folded line's n-grams?"""
    wanted = _ngrams(line, size)
    return len(wanted & _ngrams(text, size)) >= similarity * len(wanted)


@lru_cache(maxsize=8)  # a text is compared with one line after the other
def _ngrams(text: str, size: int) -> set[str]:
    return {text[start : start + size] for start in range(len(text) - size + 1)}


class Index:
    """Benchmark lines, ready to be searched for."""

    def __init__(self, lines: Iterable[tuple[Any, str]], settings: dict[str, Any]) -> None:
        """`lines` are (label, text). settings: `ngram` characters; `similarity` (0 to 1) of a line's n-grams make a match."""
        self.labels: dict[str, list[Any]] = {}  # of each folded line
        for some in _portions(lines, lambda pair: len(pair[1])):
            for (label, _), line in zip(some, fold([text for _, text in some]).strings(), strict=True):
                # A number alone stands in many texts.
                if line and not line.isdigit() and label not in (labels := self.labels.setdefault(line, [])):
                    labels.append(label)
        self.lines = list(self.labels)
        self.similarity = settings["similarity"]
        dense = np.concatenate([np.zeros(0, np.bool_), *(_joined(some).dense() for some in _portions(self.lines, len))])
        # One Chinese, Japanese or Korean character carries about as much as two letters, so n-grams are half as long.
        sizes = np.where(dense, max(2, settings["ngram"] // 2), settings["ngram"])
        # A line of few n-grams is matched exactly only: two short phrases share most of theirs by chance.
        sizes[np.fromiter(map(len, self.lines), np.int64, len(sizes)) < 3 * sizes - 1] = 0
        self.parts = [
            _Lines(self.lines, np.flatnonzero(sizes == size), size, settings["similarity"]) for size in np.unique(sizes[sizes > 0]).tolist()
        ]

    def find(self, texts: Iterable[str]) -> list[Any | None]:
        """For each text the label of a line that it is or holds, or None."""
        return [labels[0] if labels else None for labels in self._search(texts, first=True)]

    def find_all(self, texts: Iterable[str]) -> list[list[Any]]:
        """For each text the labels of all lines that it is or holds."""
        return list(self._search(texts, first=False))

    def find_exact(self, texts: Iterable[str]) -> list[list[Any]]:
        """For each text the labels of the line that it is; one that only holds a line is passed over."""
        return [self.labels.get(text, []) for some in _portions(texts, len) for text in fold(some).strings()]

    def _search(self, texts: Iterable[str], first: bool) -> Iterator[list[Any]]:
        for some in _portions(texts, len):
            strings = fold(some).strings()
            found = [list(self.labels.get(string, ())) for string in strings]
            # A long text holds most n-grams of any line somewhere, so it is searched in parts.
            units = [(text, part) for text, string in enumerate(strings) for part in overlapping(string, LONG)]
            folded = _joined([part for _, part in units])
            pairs = sorted(
                (units[unit][0], number, lines.size, units[unit][1]) for lines in self.parts for unit, number in lines.candidates(folded)
            )
            last = None
            for text, number, size, part in pairs:
                line = self.lines[number]
                if (found[text] and first) or (text, number) == last or line == strings[text]:
                    continue
                if similar(line, part, size, self.similarity):
                    found[text] += self.labels[line]
                    last = text, number
            yield from found


class Folded(NamedTuple):
    """Folded texts, one behind the other: code points, and where each text starts (and the last one ends)."""

    codes: NDArray[np.uint32]
    bounds: Ints

    def strings(self) -> list[str]:
        joined = self.codes.tobytes().decode("utf-32-le", "surrogatepass")
        return [joined[start:end] for start, end in pairwise(self.bounds.tolist())]

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
    """The lines of one n-gram size.

    A text that holds `needed` of a line's n n-grams holds at least `hits` of any n - needed + hits of them (prefix filter: Chaudhuri,
    Ganti and Kaushik 2006). So only the rarest n-grams of each line are looked up. N-grams are numbered by a hash: where two have the same
    number a line may seem to share more than it does, never less.
    """

    def __init__(self, lines: Sequence[str], chosen: Ints, size: int, similarity: float) -> None:
        """`chosen`: those of the folded lines that are compared by n-grams of this size."""
        self.size, self.chosen = size, chosen
        texts = [_joined(some) for some in _portions((lines[number] for number in chosen.tolist()), len)]
        self.bits = min(BITS, sum(len(some.codes) for some in texts).bit_length() + 1)
        frequency = np.zeros(1 << self.bits, np.int64)
        for some in texts:
            frequency += np.bincount(self._numbers(some, EXACT)[1] >> (EXACT - self.bits), minlength=len(frequency))
        rare, fewest, start = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        for some in texts:
            line, number = self._numbers(some, EXACT)
            number >>= EXACT - self.bits
            count = np.bincount(line, minlength=len(some.bounds) - 1)
            needed = np.ceil(similarity * count).astype(np.int64)
            hits = np.where(count < 2 * size, HITS, np.minimum(needed, HITS))
            looked_up = np.where(count < 2 * size, 0, count - needed + hits)
            by_rarity = (line << 44) | (np.minimum(frequency[number], (1 << 20) - 1) << 24) | number
            by_rarity.sort()
            kept = by_rarity[np.arange(len(line)) - _sums(count)[line] < looked_up[line]]
            rare.append((kept & ((1 << 24) - 1)) << 32 | (kept >> 44) + start)
            fewest.append(hits)
            start += len(count)
        self.hits = np.concatenate(fewest)
        postings = np.concatenate(rare)
        postings.sort()
        self.starts = _sums(np.bincount(postings >> 32, minlength=len(frequency)))  # of each n-gram's lines
        self.lines = (postings & 0xFFFFFFFF).astype(np.int32)
        self.cells = (self.lines & ((1 << CELLS) - 1)).astype(np.int16)

    def candidates(self, texts: Folded) -> Iterator[tuple[int, int]]:
        """Text and line of every pair that may be similar."""
        text, number = self._numbers(texts, self.bits)
        begin, count = self.starts[number], self.starts[number + 1] - self.starts[number]
        known = np.flatnonzero(count)
        text, begin, count = text[known], begin[known], count[known]
        ends = np.flatnonzero(np.diff(text, append=-1)) + 1  # of each text's n-grams
        portion = np.cumsum(count)[ends - 1] // PAIRS
        start = 0
        for end in ends[np.diff(portion, append=-1) != 0].tolist():
            yield from self._sharing(text[start:end], begin[start:end], count[start:end])
            start = end

    def _sharing(self, text: Ints, begin: Ints, count: Ints) -> Iterator[tuple[int, int]]:
        """Text and line of every pair that shares enough. N-gram i stands in `text[i]` and in the `count[i]` lines from `begin[i]` on."""
        total = _sums(count)
        place = np.repeat(begin - total[:-1], count)
        place += np.arange(total[-1])
        # Most lines share one n-gram or two. Pairs are first counted by a part of the line's number, so that few are left to sort.
        cell = np.repeat((text - text[0]) << CELLS, count)
        cell += self.cells[place]
        left = np.flatnonzero((np.bincount(cell) >= self.hits.min(initial=HITS))[cell])
        pair = (cell[left] >> CELLS) + text[0] << 32 | self.lines[place[left]]
        pair.sort()
        bounds = np.flatnonzero(np.diff(pair, prepend=-1, append=-1))
        pair = pair[bounds[:-1]]
        pair = pair[np.diff(bounds) >= self.hits[pair & 0xFFFFFFFF]]
        yield from zip((pair >> 32).tolist(), self.chosen[pair & 0xFFFFFFFF].tolist(), strict=True)

    def _numbers(self, texts: Folded, bits: int) -> tuple[Ints, Ints]:
        """Text and number of every distinct n-gram, sorted."""
        hashes = np.zeros(max(len(texts.codes) - self.size + 1, 0), np.uint64)
        for place in range(self.size):
            hashes += texts.codes[place : place + len(hashes)]
            hashes *= FACTOR
        count = np.maximum(np.diff(texts.bounds) - self.size + 1, 0)
        text = np.repeat(np.arange(len(count)), count)
        start = np.arange(len(text)) + (texts.bounds[:-1] - _sums(count)[:-1])[text]
        found = (text << bits) | (hashes[start] >> np.uint64(64 - bits)).astype(np.int64)
        found.sort()
        found = found[np.diff(found, prepend=-1) != 0]
        return found >> bits, found & ((1 << bits) - 1)


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


class Line(NamedTuple):
    """A text of a benchmark: a sentence, a passage or a stretch of one, a question, an answer."""

    benchmark: str
    language: str
    split: str
    item: str
    text: str


def benchmark_lines(paths: Sequence[Path]) -> list[Line]:
    """Every text of the given benchmark files that tells them from other text."""
    lines = []
    for path in paths:
        benchmark = files.read_json(path)
        for item in benchmark["items"]:
            label = (benchmark["benchmark"], benchmark["language"], item.get("split", "devtest"), str(item["item"]))
            texts = _of_harness(item["doc"], benchmark["evidence"]) if "doc" in item else _of_item(item)
            lines += [Line(*label, part) for field, text in texts for part in _parts(field, text)]
    return lines


def _of_item(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts of a sentence, of a request and its answer, or of a question and its passage and answers."""
    for field, text in item.items():
        if field in ("text", "answer", "flores_passage", "question") or field.startswith("mc_answer"):
            yield field, text


def _of_harness(doc: dict[str, Any], evidence: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The texts of a row that the harness asks which `evidence` of resources/harness_tasks.tsv names.

    An entry `a+b` is the text of both fields, one behind the other; a field that holds several texts is all of them there, and each of them
    by itself where it is named alone. `a.b` is the field b within a. What a row lacks is passed over.
    """
    for entry in evidence:
        texts: list[str] = []
        for field in entry.split("+"):
            value: Any = doc
            for name in field.split("."):
                value = (value or {}).get(name)
            texts += [str(text) for text in (value if isinstance(value, list) else [value]) if text]
        yield from ((entry, text) for text in ([" ".join(texts)] if "+" in entry else texts))


def _parts(field: str, text: str) -> list[str]:
    """What a field of an item is searched by.

    A sentence holds too few of a whole passage's n-grams to be like it, but nearly all of a part's. So BELEBELE's passages, which are lines
    of FLORES, guard those lines too, also in scripts without a mark at a sentence's end. Short questions and answers ("Chinese") stand in
    many texts by chance; two that stand together say more than one of their length.
    """
    if field == "text":
        return [text]
    length = STRETCH // 2 if _joined([text]).dense()[0] else STRETCH
    if "+" in field:
        length //= 2
    if field == "flores_passage":
        return list(dict.fromkeys([text, *overlapping(text, length)]))
    return [text] if len(text) >= length else []


def overlapping(text: str, length: int) -> list[str]:
    """The text, or parts of this length of a longer one, each beginning in the middle of the one before."""
    return [text[start : start + length] for start in range(0, len(text) - length // 2, length // 2)] if len(text) > length else [text]
