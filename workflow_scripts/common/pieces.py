"""Parquet in pieces, for tables that are larger than memory. The same rows in the same pieces give the same bytes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from .files import whole_file

ROWS = 65_536  # of a piece that is read, and of a row group that is written


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """The rows of a Parquet file in their order, at most `ROWS` at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS, columns=columns):
            piece = pl.from_arrow(batch)
            assert isinstance(piece, pl.DataFrame)
            yield piece


def arrow(frame: pl.DataFrame) -> pa.Table:
    """As Arrow's older types, which every reader of Parquet knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


@contextmanager
def writer(path: Path, schema: pl.Schema, metadata: Mapping[str, str] | None = None) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Give a function that appends a row group; the file is whole or absent, as with `whole_file`.

    `metadata` goes into the file's own. A row group is written while the next one is made; no more than these two are in memory.
    """
    waiting: list[Future[None]] = []
    columns = arrow(schema.to_frame()).schema
    with (
        whole_file(path) as part,
        pq.ParquetWriter(part, columns.with_metadata(metadata) if metadata else columns, compression="zstd") as file,
        ThreadPoolExecutor(1) as worker,
    ):

        def append(frame: pl.DataFrame) -> None:
            table = arrow(frame)
            finish()
            waiting.append(worker.submit(file.write_table, table, ROWS))

        def finish() -> None:
            while waiting:
                waiting.pop().result()

        yield append
        finish()
