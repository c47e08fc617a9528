"""Does a text hold a benchmark line? Exact matches and near-duplicates, in every script.

Texts are compared after `text.folded` (case, spaces and punctuation do not hide a match), by the share of a benchmark line's character
n-grams found in the text. Character n-grams work where words are not separated (Thai, Chinese, Khmer); measuring against the benchmark
line only finds it also inside a longer text, and never accuses a short common phrase that a test line happens to contain.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import files
from .text import folded


class Index:
    """Benchmark lines of one language, ready to be searched for."""

    def __init__(self, lines: Iterable[tuple[str, str]], settings: dict[str, Any]) -> None:
        """`lines` are (benchmark, text). settings: `ngram` characters; `similarity` (0 to 1) of a line's n-grams make a match."""
        self.exact: dict[str, str] = {}
        self.grams: dict[str, list[int]] = {}
        self.sizes: set[int] = set()
        self.needed: list[tuple[str, float]] = []  # of line i: its benchmark, how many shared n-grams make a match
        for benchmark, text in lines:
            line = folded(text)
            if not line or line in self.exact:
                continue
            self.exact[line] = benchmark
            size = max(2, settings["ngram"] // 2) if _is_dense(line) else settings["ngram"]
            grams = _grams(line, size)
            # A line of few n-grams is matched exactly only: two short phrases share most of theirs by chance.
            if len(grams) >= 2 * size:
                for gram in grams:
                    self.grams.setdefault(gram, []).append(len(self.needed))
                self.sizes.add(size)
                self.needed.append((benchmark, settings["similarity"] * len(grams)))

    def find(self, text: str) -> str | None:
        """The benchmark that `text` holds a line of, or None."""
        text = folded(text)
        if text in self.exact:
            return self.exact[text]
        shared: Counter[int] = Counter()
        for size in self.sizes:
            for gram in _grams(text, size):
                shared.update(self.grams.get(gram, ()))
        for line, count in sorted(shared.items()):
            benchmark, needed = self.needed[line]
            if count >= needed:
                return benchmark
        return None


def _grams(text: str, size: int) -> set[str]:
    return {text[start : start + size] for start in range(len(text) - size + 1)}


def _is_dense(text: str) -> bool:
    """Mostly Chinese, Japanese or Korean: there one character carries about as much as two letters, so n-grams are half as long."""
    return sum("\u3040" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3" for char in text) > len(text) / 2


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
