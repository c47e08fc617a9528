"""Worked examples in front of a translation request, so that a model does not unlearn to use those of a few-shot prompt.

A row's examples are other pairs of its file, of the same two languages, in the same direction, from the same corpus under the same licence,
so that the row's own corpus and licence stay true of all its text. They are drawn from a sample of each such group that fits into memory.
All follows from hashes of ids: pairs stand on a ring at the point of their hash, and a row takes those behind the points of its own. So one
pair more changes the examples of few rows, and the order of a file changes none.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

POOL = 10_000  # pairs of a group that examples are drawn from
GROUP = ("source_language", "target_language", "corpus", "licence")
SIDES = (("source", "target"), ("target", "source"))
MOST = 5  # examples: as many points as a row's hash has

Ints = NDArray[np.int64]


def words(prefix: str, identities: pl.Series) -> Ints:
    """SHA-256 of `<prefix> <id>` as eight numbers of 32 bits: (ids, 8)."""
    start = f"{prefix} ".encode()
    digests = [hashlib.sha256(start + identity).digest() for identity in identities.cast(pl.Binary).to_list()]
    return np.frombuffer(b"".join(digests), ">u4").reshape(-1, 8).astype(np.int64)


def sample(pieces: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The pairs of each group with the smallest hashes, at most `POOL`, in the order of their points."""
    kept = None
    for piece in pieces:
        numbers = words("example", piece["id"])
        piece = piece.select("id", *GROUP, "source", "target", rank=numbers[:, 0], point=numbers[:, 1])
        both = piece if kept is None else pl.concat([kept, piece])
        kept = both.sort("rank", "id").group_by(GROUP, maintain_order=True).head(POOL).select(piece.columns)
    return pl.DataFrame() if kept is None else kept.sort("point", "id")


def alike(texts: pl.Series) -> pl.Series:
    """Texts without case, spaces and punctuation, which hide no repetition."""
    return texts.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]", "")


class Examples:
    """The worked examples of a file's rows. `numbers` counts the rows that have so many; `short` those that have fewer than they should."""

    def __init__(self, pieces: Iterable[pl.DataFrame], settings: dict[str, Any]) -> None:
        """`pieces`: all pairs of the file. settings: `share` of the rows, `most` examples of a row (the least is one)."""
        self.share, self.most = settings["share"], settings["most"]
        self.numbers, self.short = Counter[int](), 0
        self.pools: dict[tuple[Any, ...], pl.DataFrame] = {}
        pool = sample(pieces)
        for source, target in SIDES if pool.height else ():
            way = pool.select(
                source_language=f"{source}_language", target_language=f"{target}_language", corpus="corpus", licence="licence",
                point="point", text=source, answer=target,
            )  # fmt: skip
            self.pools |= way.partition_by(GROUP, as_dict=True, maintain_order=True, include_key=False)

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`row` (place in `rows`), `text` and `answer` of all examples, those of a row in their order.

        `rows` have the columns of `GROUP`, `id`, `text` and `answer`.
        """
        numbers = words("worked examples", rows["id"])
        wanted = np.where(numbers[:, 0] < self.share * 2**32, 1 + numbers[:, 1] % self.most, 0)
        asked = rows.with_row_index("row").with_columns(wanted=wanted, points=numbers[:, 2:]).filter(pl.col("wanted") > 0)
        found = [pl.DataFrame(schema={"row": pl.UInt32, "text": pl.String, "answer": pl.String})]
        for key, own in asked.group_by(GROUP, maintain_order=True):
            pool = self.pools[key]
            chosen = self._choose(own, pool)
            row, place = np.nonzero(chosen >= 0)
            found.append(pool[chosen[row, place]].select(own["row"].gather(row).alias("row"), "text", "answer"))
            has = (chosen >= 0).sum(axis=1)
            self.numbers.update(has.tolist())
            self.short += int((has < own["wanted"].to_numpy()).sum())
        return pl.concat(found)

    def _choose(self, rows: pl.DataFrame, pool: pl.DataFrame) -> Ints:
        """Places in the pool: (rows, most), -1 where there is none. No text, on either side, is the row's or that of another example."""
        here, there = [], []  # of each side, texts as numbers: equal ones where they are alike
        for side in ("text", "answer"):
            same = alike(pl.concat([rows[side], pool[side]])).rank("dense").to_numpy()
            here.append(same[: rows.height])
            there.append(same[rows.height :])
        points, wanted = rows["points"].to_numpy(), rows["wanted"].to_numpy()
        chosen = np.full((rows.height, self.most), -1)
        for place in range(self.most):
            at = np.searchsorted(pool["point"].to_numpy(), points[:, place]) % pool.height
            left = np.flatnonzero(wanted > place)
            chosen[left, place] = at[left]
            for _ in range(pool.height):
                left = left[self._clash(left, place, chosen, here, there)]
                if not len(left):
                    break
                chosen[left, place] = (chosen[left, place] + 1) % pool.height
            chosen[left, place] = -1
        return chosen

    @staticmethod
    def _clash(rows: Ints, place: int, chosen: Ints, here: Sequence[Ints], there: Sequence[Ints]) -> NDArray[np.bool_]:
        """Whether the example at this place of the rows is like the row or an example before it."""
        clash = np.zeros(len(rows), bool)
        for own, of_pool in zip(here, there, strict=True):
            text = of_pool[chosen[rows, place]]
            clash |= text == own[rows]
            for before in range(place):
                clash |= (chosen[rows, before] >= 0) & (text == of_pool[chosen[rows, before]])
        return clash

    def measures(self) -> Iterator[tuple[str, int]]:
        """For the ledger: rows with so many examples, and rows for which the pool had too few."""
        for number in range(1, self.most + 1):
            yield f"rows_with_examples:{number}", self.numbers[number]
        yield "rows_short_of_examples", self.short
