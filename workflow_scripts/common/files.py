"""Files that are whole or absent: everything is written beside its place and moved there when complete."""

import codecs
import errno
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .cli import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; move it to `path` on success, delete it on failure.

    Raises `UserError` when the disk is full, so that the run stops with one clear line and no half-written file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with disk_full_named(path):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Like `whole_file`, for a folder: an existing folder at `path` is replaced only when the new one is complete."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with disk_full_named(path):
            part.mkdir(parents=True)
            yield part
            shutil.rmtree(path, ignore_errors=True)
            part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """Turn the operating system's word for a full disk into `disk_full`."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise disk_full(path) from error
        raise


def disk_full(path: Path) -> UserError:
    """The one message for a full disk."""
    return UserError(
        f"the disk is full: {path} could not be written. Free some space (see `df -h {path.parent}`) and run the same "
        "command again; finished files are kept."
    )


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}). Delete it and run again to make it anew.") from error


def key_of(path: Path) -> str | None:
    """The content key that a JSON file carries; None if there is no such file, or it is broken."""
    try:
        return json.loads(Path(path).read_bytes())["key"]
    except (OSError, ValueError, KeyError):
        return None


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; empty lines and a byte order mark are passed over. Raises `UserError` for a line that is not JSON."""
    rows = []
    for number, line in enumerate(Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"{path}: line {number} is not JSON ({error}).") from error
    return rows


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_json(value: Any) -> str:
    """Content key of plain data: equal values give equal keys, whatever the order of their keys."""
    return sha256_text(json.dumps(value, ensure_ascii=False, sort_keys=True))


def sha256_file(path: Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
