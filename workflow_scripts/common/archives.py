"""Read packages, folders and single files without unpacking: content comes as bytes or streams, so no path in an archive reaches the disk.

Known forms: zip and wheel, tar with any compression, Debian packages (through `dpkg-deb`), and files on their own, compressed or not.
What comes out may be at most `RATIO` times as large as what lies on the disk (and `SLACK`): text is below 30 times, a bomb far above.
"""

import fnmatch
import io
import lzma
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from .cli import UserError

Entry = tuple[str, int, Callable[[], IO[bytes]]]  # name, size in bytes, how to open it
MEMBER_LIMIT = 256 * 2**20  # bytes read at once; the largest text member known (a Bible) is far below
RATIO, SLACK = 100, 64 * 2**20
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)  # RuntimeError: a password
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def members(archive: Path, patterns: list[str]) -> Iterator[tuple[str, bytes]]:
    """Give name and content of every regular file in `archive` whose name matches one of the glob `patterns`, in archive order.

    Raises `UserError` for an archive that is truncated, broken, of an unknown form, or whose member is larger than `MEMBER_LIMIT`.
    """
    for name, file in streams(archive, lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)):
        yield name, whole(f"{archive}: {name}", file)


def whole(where: str, file: IO[bytes]) -> bytes:
    """All of one stream; `where` is what a message calls it. Raises `UserError` where that is more than `MEMBER_LIMIT`."""
    content = file.read(MEMBER_LIMIT + 1)
    if len(content) > MEMBER_LIMIT:
        raise UserError(f"{where} has more than {MEMBER_LIMIT} bytes, more than any text file should have; not read.")
    return content


def streams(path: Path, wanted: Callable[[str], bool], name: str = "") -> Iterator[tuple[str, io.BufferedReader]]:
    """Name and stream of every file of an archive or folder whose name, without an ending such as .gz, is wanted; good until the next one.

    Names in a folder begin with the folder's own. With `name`, `path` may also be such a file itself; that is what it is called.
    A stream is decompressed, and seekable only where it is a plain file on the disk. Reading it raises `UserError`.
    """
    path, meter = Path(path), _Meter(path)
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file() and wanted(_plain(inside := file.relative_to(path.parent).as_posix())):
                    with file.open("rb") as opened:
                        yield _plain(inside), _decompressed(opened, _Meter(file), inside)
        elif name and wanted(_plain(name)) and not _is_archive(path):
            with path.open("rb") as opened:
                yield _plain(name), _decompressed(opened, meter, name)
        else:
            for inside, size, open_member in _entries(path, meter):
                if wanted(_plain(inside)):
                    with open_member() as opened:
                        yield _plain(inside), _decompressed(_metered(opened, meter, inside, size), meter, inside)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is needed to read {path}, and is not there. (dpkg-deb comes with Debian and Ubuntu.)") from error
    except BROKEN as error:
        raise broken(path, error) from error


def broken(path: Path, error: Exception) -> UserError:
    """The one message for an archive or compressed file that cannot be read."""
    return UserError(f"{path} is truncated or broken ({error}). Delete it and run again to download it anew.")


def _plain(name: str) -> str:
    """A name without an ending such as .gz; a byte of it that is not UTF-8 is replaced, since it could not be written."""
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


class _Meter:
    """How many bytes came out of one file so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left = RATIO * path.stat().st_size + SLACK if path.is_file() else 0

    def take(self, size: int, name: str) -> None:
        self.left -= size
        if self.left < 0:
            raise UserError(
                f"{self.path}: with {name} it unpacks to more than {RATIO} times its size, as no text does. If you trust it, unpack it "
                "yourself and name the folder."
            )


class _Metered(io.RawIOBase):
    """A stream that takes what it gives from the meter, and gives `size` bytes where that is known, or raises `UserError`."""

    def __init__(self, file: IO[bytes], meter: _Meter, name: str, size: int | None) -> None:
        self.file, self.meter, self.name, self.size, self.got = file, meter, name, size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.file.read(len(buffer))
        except BROKEN as error:
            raise broken(self.meter.path, error) from error
        self.got += len(data)
        self.meter.take(len(data), self.name)
        if not data and len(buffer) and self.size not in (None, self.got):
            raise UserError(f"{self.meter.path}: {self.name} has another length than the archive says. Delete it and download again.")
        buffer[: len(data)] = data
        return len(data)


def _metered(file: IO[bytes], meter: _Meter, name: str, size: int | None = None) -> io.BufferedReader:
    return io.BufferedReader(_Metered(file, meter, name, size), 2**18)


def _decompressed(file: io.BufferedReader, meter: _Meter, name: str) -> io.BufferedReader:
    """What a compressed file holds, told by its first bytes; any other file as it is."""
    start = file.peek(8)
    method = next((method for magic, method in COMPRESSED.items() if start.startswith(magic)), None)
    if method is None:
        return file
    if method == "zstd":
        import pyarrow

        return _metered(cast(IO[bytes], pyarrow.CompressedInputStream(pyarrow.PythonFile(file), "zstd")), meter, name)
    import bz2
    import gzip

    openers: dict[str, Callable[[IO[bytes]], Any]] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    return _metered(openers[method](file), meter, name)


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        magic = file.read(8)
    return magic.startswith(b"PK") or magic == b"!<arch>\n" or tarfile.is_tarfile(path)


def _entries(archive: Path, meter: _Meter) -> Iterator[Entry]:
    with archive.open("rb") as file:
        magic = file.read(8)
    if magic.startswith(b"PK"):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, partial(zipped.open, info)
    elif magic == b"!<arch>\n":
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process, tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            yield from _tar_entries(tar, meter)
        if process.returncode:
            raise UserError(f"{archive} is not a whole Debian package. Delete it and run again to download it anew.")
    else:
        with tarfile.open(archive, mode="r|*") as tar:
            yield from _tar_entries(tar, meter)


def _tar_entries(tar: tarfile.TarFile, meter: _Meter) -> Iterator[Entry]:
    for info in tar:
        before = meter.left
        if info.isfile():
            yield info.name.removeprefix("./"), info.size, partial(_open_in_tar, tar, info)
        # What was not read of it has to be unpacked to get to the next one.
        meter.take(max(tarfile.BLOCKSIZE + info.size - (before - meter.left), 0), info.name)


def _open_in_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file is not None, "only regular files are asked for"
    return file
