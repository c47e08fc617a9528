"""Lines of text, JSON lines and Parquet as streams: whatever their size, one row is held at a time (of Parquet, one batch)."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

from . import archives
from .cli import UserError

NO_TEXT = re.compile("[\0\ud800-\udfff]")
LINE_LIMIT = 16 * 2**20  # bytes; a longer "line" is no text


def lines(where: str, file: IO[bytes]) -> Iterator[str]:
    """The lines of UTF-8 text. They end with a line feed and with nothing else: texts hold other separators of Unicode inside."""
    for number, line in enumerate(iter(lambda: file.readline(LINE_LIMIT), b""), 1):
        if len(line) == LINE_LIMIT:
            raise UserError(f"{where}: line {number} is longer than {LINE_LIMIT} bytes, so this is not text in lines.")
        yield line_of(where, number, line)


def line_of(where: str, number: int, line: bytes) -> str:
    """One line of UTF-8 text without its end, the first one without a byte order mark."""
    try:
        text = line.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: line {number} is not UTF-8 ({error}). Convert the file: `iconv -t UTF-8`.") from error
    if "\0" in text:
        raise UserError(f"{where}: line {number} holds a NUL byte. Convert a file in UTF-16 (`iconv -t UTF-8`); mend another.")
    return text.removeprefix("\ufeff") if number == 1 else text


def json_lines(where: str, file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a file with one JSON object a line; empty lines are passed over."""
    return (row for _, row in numbered_json_lines(where, file))


def numbered_json_lines(where: str, file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same with the numbers of their lines."""
    for number, line in enumerate(lines(where, file), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: line {number} is not JSON ({error}).") from error
        if not isinstance(value, dict):
            raise UserError(f"{where}: line {number} is not a JSON object.")
        yield number, whole_text(f"{where}: line {number}", value) if "\\u" in line else value


def whole_text(where: str, value: Any) -> Any:
    """The value, if every text in it can be written: JSON may hold half of a surrogate pair, or NUL. Raises `UserError`."""
    if isinstance(value, str):
        if NO_TEXT.search(value):
            raise UserError(f"{where}: a text holds half a character (a surrogate such as \\ud83d alone) or NUL. Mend it, or take it out.")
    elif isinstance(value, dict):
        for key, part in value.items():
            whole_text(where, key)
            whole_text(where, part)
    elif isinstance(value, list):
        for part in value:
            whole_text(where, part)
    return value


def parquet(where: str, file: IO[bytes], wanted: Callable[[str], bool] = lambda _: True) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, with the wanted ones of its columns."""
    import pyarrow
    import pyarrow.parquet

    try:
        # Parquet is read from its end, so what comes out of an archive is held in memory.
        opened = pyarrow.parquet.ParquetFile(file if file.seekable() else io.BytesIO(archives.whole(where, file)))
        for batch in opened.iter_batches(4096, columns=list(filter(wanted, opened.schema_arrow.names))):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} is not a whole Parquet file ({error}).") from error
