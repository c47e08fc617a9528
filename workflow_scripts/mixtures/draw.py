"""Which rows of the instruction files are drawn, and where in the mixture each one comes, from small columns alone.

All follows from SHA-256 of the seed and a row's id (its first 64 bits, big-endian): the order in which a group's rows are drawn, which
of them go to which phase, and the order inside a phase. These are three hashes that know nothing of each other, so every part of a phase
has the phase's shares. Neither threads, nor the order of files, nor other languages change which rows of a group come first.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..common import pieces
from .plan import Group


@dataclass
class Vein:
    """The rows of one group, corpus and file: their places in the file."""

    file: int
    corpus: str
    rows: np.ndarray


@dataclass
class Stock:
    """What the instruction files hold: places of rows, and how many are left out of each language for their licence or benchmark text."""

    veins: dict[Group, list[Vein]] = field(default_factory=lambda: defaultdict(list))
    forbidden: Counter[str] = field(default_factory=Counter)
    contaminated: Counter[tuple[str, str]] = field(default_factory=Counter)  # by language and benchmark

    def counts(self) -> dict[Group, int]:
        """Rows of each group that has any."""
        counts = {group: sum(len(vein.rows) for vein in veins) for group, veins in self.veins.items()}
        return {group: count for group, count in counts.items() if count}

    def leave_out(self, found: Mapping[int, Mapping[int, str]]) -> None:
        """Take out rows that hold benchmark text, given by file and row with the benchmark's name."""
        for group, veins in self.veins.items():
            for vein in veins:
                if named := found.get(vein.file):
                    held = np.isin(vein.rows, list(named))
                    self.contaminated.update((group.language, named[row]) for row in vein.rows[held].tolist())
                    vein.rows = vein.rows[~held]


def survey(paths: Sequence[Path], forbidden: Collection[str] = ()) -> Stock:
    """Find the rows of every group, but those whose licence is forbidden."""
    stock = Stock()
    names = [*Group._fields, "corpus", "licence"]
    for place, path in enumerate(paths):
        found = pl.read_parquet(path, columns=names).with_row_index("row").group_by(names, maintain_order=True).agg("row")
        for (*group, corpus, licence), rows in zip(found.select(names).iter_rows(), found["row"], strict=True):
            if licence in forbidden:
                stock.forbidden[group[0]] += len(rows)
            else:
                stock.veins[Group(*group)].append(Vein(place, corpus, rows.to_numpy()))
    return stock


@dataclass
class Drawn:
    """One entry a row of the mixture: its file, its row there, how often it was drawn before, its phase, and its place in the mixture."""

    file: np.ndarray
    row: np.ndarray
    turn: np.ndarray
    place: np.ndarray


def hashes(prefix: str, identities: pl.Series) -> np.ndarray:
    """The first 64 bits of SHA-256 of `<prefix> <id>`."""
    sha256, start = hashlib.sha256, f"{prefix} ".encode()
    found = np.empty(len(identities), np.uint64)
    for first in range(0, len(found), pieces.ROWS):
        few = identities[first : first + pieces.ROWS].cast(pl.Binary).to_list()
        digests = b"".join([sha256(start + identity).digest() for identity in few])
        found[first : first + len(few)] = np.frombuffer(digests, ">u8")[::4]
    return found


def choose(keys: np.ndarray, corpora: np.ndarray, count: int, settings: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """`count` of a group's rows in the order of their keys, and for each how often it was taken before.

    No corpus goes above its cap (a share of `count`) while others last; when all rows are used up, they come once more.
    """
    order = np.argsort(keys, kind="stable")
    over = np.zeros(len(order), bool)
    for corpus, cap in settings["corpus_caps"].items():
        own = corpora[order] == corpus
        over |= own & (np.cumsum(own) > int(cap * count))
    order = order[np.argsort(over, kind="stable")]
    return np.tile(order, settings["repeats"])[:count], np.arange(count) // max(1, len(order))


def draw(paths: Sequence[Path], stock: Stock, counts: Mapping[Group, Sequence[int]], settings: Mapping[str, Any]) -> Drawn:
    """Draw so many rows of each group for each phase, and give each its place: phase by phase, by hash inside a phase."""

    @lru_cache(4)
    def identities(file: int) -> pl.Series:
        return pl.read_parquet(paths[file], columns=["id"])["id"]

    seed, found = settings["seed"], []
    for group, veins in sorted(stock.veins.items(), key=lambda item: (item[1][0].file, item[0])):
        in_phases = counts.get(group, [])
        if not sum(in_phases):
            continue
        ids = pl.concat([identities(vein.file).gather(vein.rows) for vein in veins])
        corpora = np.concatenate([np.full(len(vein.rows), vein.corpus, object) for vein in veins])
        chosen, turn = choose(hashes(str(seed), ids), corpora, sum(in_phases), settings)
        drawn_ids = pl.select(suffixed(ids.gather(chosen), pl.Series(turn)))["id"]
        keys = hashes(f"{seed} order", drawn_ids)
        order = np.argsort(keys, kind="stable")
        phase = np.repeat(np.arange(len(in_phases)), in_phases)
        if len(in_phases) > 1:
            dealt = np.empty_like(phase)
            dealt[np.argsort(hashes(f"{seed} phase", drawn_ids), kind="stable")] = phase
            phase = dealt[order]
        file = np.concatenate([np.full(len(vein.rows), vein.file, np.int32) for vein in veins])
        row = np.concatenate([vein.rows for vein in veins])
        found.append((file[chosen][order], row[chosen][order], turn[order].astype(np.uint32), phase.astype(np.uint8), keys[order]))
    file, row, turn, phase, keys = (np.concatenate(column) for column in zip(*found, strict=True))
    place = np.empty(len(keys), np.int64)
    place[np.lexsort((keys, phase))] = np.arange(len(keys))
    return Drawn(file, row, turn, place)


def suffixed(ids: pl.Series, turn: pl.Series) -> pl.Expr:
    """The id of a row in the mixture: a row that comes again is numbered, `-2` and so on."""
    again = pl.lit("-") + (pl.lit(turn) + 1).cast(pl.String)
    return pl.concat_str(pl.lit(ids), pl.when(pl.lit(turn) > 0).then(again).otherwise(pl.lit(""))).alias("id")
