"""Lines of text, JSON lines and Parquet as streams: whatever their size, one row is held at a time (of Parquet, one batch)."""

import io
import json
from collections.abc import Iterator
from typing import IO, Any

from . import archives
from .cli import UserError

LINE_LIMIT = 16 * 2**20  # bytes; a longer "line" is no text


def lines(where: str, file: IO[bytes]) -> Iterator[str]:
    """The lines of UTF-8 text. They end with a line feed and with nothing else: texts hold other separators of Unicode inside."""
    for number, line in enumerate(iter(lambda: file.readline(LINE_LIMIT), b""), 1):
        if len(line) == LINE_LIMIT:
            raise UserError(f"{where}: line {number} is longer than {LINE_LIMIT} bytes, so this is not text in lines.")
        try:
            text = line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: line {number} is not UTF-8 ({error}). Convert the file: `iconv -t UTF-8`.") from error
        yield text.removeprefix("\ufeff") if number == 1 else text


def json_lines(where: str, file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a file with one JSON object a line; empty lines are passed over."""
    for number, line in enumerate(lines(where, file), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: line {number} is not JSON ({error}).") from error
        if not isinstance(value, dict):
            raise UserError(f"{where}: line {number} is not a JSON object.")
        yield value


def parquet(where: str, file: IO[bytes], columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, those columns of it that are there."""
    import pyarrow
    import pyarrow.parquet

    try:
        # Parquet is read from its end, so what comes out of an archive is held in memory.
        opened = pyarrow.parquet.ParquetFile(file if file.seekable() else io.BytesIO(archives.whole(where, file)))
        known = None if columns is None else [name for name in columns if name in opened.schema_arrow.names]
        for batch in opened.iter_batches(4096, columns=known):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{where} is not a whole Parquet file ({error}).") from error
