"""Bring the drawn rows from many files into the order of the mixture, in memory that does not grow with the mixture.

Rows are first dealt out to at most 64 files of consecutive places (Arrow, uncompressed, beside the output), then each of these is put in
order and appended to the output. So the text is read twice and written twice, whatever its size.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ..common import pieces
from .draw import Drawn, suffixed

MOST = 64  # files at once


def gather(paths: Sequence[Path], drawn: Drawn, output: Path, phases: Sequence[int] = ()) -> None:
    """Write the mixture. Deterministic: row groups follow from the number of rows alone.

    The file's metadata says how many rows each of its `phases` has, if it has any.
    """
    size = -(-len(drawn.place) // (MOST * pieces.ROWS)) * pieces.ROWS  # of a file: whole row groups
    spill = output.with_name(f".{output.name}.spill")
    shutil.rmtree(spill, ignore_errors=True)
    try:
        notes = {"phases": json.dumps(list(phases))} if phases else {}
        with pieces.writer(output, pl.scan_parquet(paths[0]).collect_schema(), notes) as append:
            spill.mkdir()
            for path in deal(paths, drawn, size, spill):
                with pa.memory_map(str(path)) as file:
                    append(pl.DataFrame(pa.ipc.open_stream(file).read_all()).sort("place").drop("place"))
                path.unlink()
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def deal(paths: Sequence[Path], drawn: Drawn, size: int, folder: Path) -> list[Path]:
    """Write every drawn row, with its place, to the file of its place: `size` places a file. The files in the order of their places."""
    parts = [folder / f"{number:02}.arrow" for number in range(-(-len(drawn.place) // size))]
    starts = np.arange(len(parts) + 1) * size
    with ExitStack() as stack:
        streams: list[pa.ipc.RecordBatchStreamWriter] = []
        for rows in picked(paths, drawn):
            table = pieces.arrow(rows)
            if not streams:
                files = [stack.enter_context(pa.OSFile(str(part), "wb")) for part in parts]
                streams = [stack.enter_context(pa.ipc.new_stream(file, table.schema)) for file in files]
            ends = np.searchsorted(rows["place"].to_numpy(), starts)
            for stream, start, end in zip(streams, ends[:-1], ends[1:], strict=True):
                if end > start:
                    stream.write_table(table.slice(start, end - start))
    return parts


def picked(paths: Sequence[Path], drawn: Drawn) -> Iterator[pl.DataFrame]:
    """The drawn rows of every piece of every file, with their places in the mixture and sorted by them."""
    by_row = np.lexsort((drawn.row, drawn.file))
    starts = np.searchsorted(drawn.file[by_row], np.arange(len(paths) + 1))
    for path, start, end in zip(paths, starts[:-1], starts[1:], strict=True):
        own, first = by_row[start:end], 0
        for piece in pieces.read(path) if len(own) else ():
            here = own[slice(*np.searchsorted(drawn.row[own], [first, first + piece.height]))]
            here = here[np.argsort(drawn.place[here])]
            if len(here):
                rows = piece[drawn.row[here].astype(np.int64) - first]
                yield rows.with_columns(suffixed(rows["id"], pl.Series(drawn.turn[here])), place=pl.Series(drawn.place[here]))
            first += piece.height
