"""What text went into a mixture, and so into a model: corpus, licence, rows and whom to thank."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import tables


@dataclass(frozen=True)
class Source:
    """The rows of a mixture that come from one corpus under one licence, and how to cite it."""

    corpus: str
    licence: str
    rows: int
    citation: str


def sources(mixture: Path) -> list[Source]:
    """The sources of a mixture, the largest first."""
    import polars as pl

    counted = pl.scan_parquet(mixture).group_by("corpus", "licence").len().sort("len", "corpus", "licence", descending=[True, False, False])
    known = tables.read("corpora") | tables.read("instruction_sets")
    rows = counted.collect().iter_rows()
    return [Source(corpus, licence, count, known.get(corpus, {}).get("citation", "")) for corpus, licence, count in rows]


def table(found: Sequence[Source]) -> list[str]:
    """The sources as lines of a Markdown table."""
    rows = [f"| {source.corpus} | {source.licence} | {source.rows:,} | {source.citation} |" for source in found]
    return ["| source | licence | rows | cite |", "| --- | --- | ---: | --- |", *rows]
