"""Which rows hold benchmark text, and of which items: the draw leaves such rows out, and the audit counts what is left.

Each turn is searched for the benchmarks' text in all languages that are given, whatever language the row says it is in.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..common import contamination
from .draw import Drawn
from .gather import picked

Item = tuple[str, str, str, str]  # benchmark, language, split, item
ROWS = 10_000  # searched together


def index_of(folder: Path, benchmarks: Iterable[str], languages: Iterable[str], settings: dict[str, Any]) -> contamination.Index:
    """The text of benchmarks in these languages, ready to be searched for, each line under its `Item`."""
    paths = [folder / benchmark / f"{language}.json" for benchmark in sorted(benchmarks) for language in sorted(languages)]
    return contamination.Index(((line[:-1], line.text) for line in contamination.benchmark_lines(paths)), settings)


def search(messages: pl.Series, index: contamination.Index) -> Iterator[tuple[int, Item]]:
    """The place of a row in `messages` and an item that it holds text of, for each such pair; a pair may come more than once."""
    for start in range(0, len(messages), ROWS):
        few = messages.slice(start, ROWS).to_frame("turn").with_row_index("row", start).explode("turn").drop_nulls()
        places, turns = few["row"].to_list(), few["turn"].struct.field("content").to_list()
        # A part has no n-gram that its turn has not, so only the turn is compared by n-grams.
        same = [(place, part) for place, turn in zip(places, turns, strict=True) for part in parts(turn) if part != turn]
        for found in (
            zip(places, index.find_all(turns), strict=True),
            zip((place for place, _ in same), index.find_exact([part for _, part in same]), strict=True),
        ):
            yield from ((place, item) for place, items in found for item in items)


def parts(turn: str) -> list[str]:
    """The lines of a turn, with and without their label ("German: ..."): a short test sentence is known by itself only."""
    lines = turn.splitlines()
    return [*lines, *(line.split(": ", 1)[1] for line in lines if ": " in line)]


class Search:
    """A search of rows of the instruction files; each row is searched once, however often it is drawn."""

    def __init__(self, paths: Sequence[Path], folder: Path, settings: dict[str, Any]) -> None:
        """`folder` of all benchmarks; settings: `against` (benchmarks), `languages`, and those of the index."""
        self.paths, self.index = paths, index_of(folder, settings["against"], settings["languages"], settings)
        self.searched = np.zeros(0, np.int64)  # file and row in one number, sorted

    def new(self, drawn: Drawn) -> dict[int, dict[int, str]]:
        """Of the drawn rows that were not searched before, those that hold benchmark text: by file and row, the first such benchmark."""
        keys = drawn.file.astype(np.int64) << 40 | drawn.row
        few = np.flatnonzero((drawn.turn == 0) & ~np.isin(keys, self.searched))
        self.searched = np.union1d(self.searched, keys[few])
        new = Drawn(drawn.file[few], drawn.row[few], drawn.turn[few], np.arange(len(few)))
        found: dict[int, dict[int, str]] = {}
        for rows in picked(self.paths, new):
            for place, (benchmark, *_) in search(rows["messages"], self.index):
                at = rows["place"][place]
                of_file = found.setdefault(int(new.file[at]), {})
                row = int(new.row[at])
                of_file[row] = min(benchmark, of_file.get(row, benchmark))
        return found
