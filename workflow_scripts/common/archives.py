"""Read packages without unpacking them: members come as bytes, so no path inside an archive can reach the disk.

Known forms: zip and wheel, tar with any compression, Debian packages (through `dpkg-deb`).
"""

import fnmatch
import lzma
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from .cli import UserError

Entry = tuple[str, int, Callable[[], IO[bytes]]]  # name, size in bytes, how to open it
MEMBER_LIMIT = 256 * 2**20  # bytes; the largest text member known (a Bible) is far below; a zip bomb is far above


def members(archive: Path, patterns: list[str]) -> Iterator[tuple[str, bytes]]:
    """Give name and content of every regular file in `archive` whose name matches one of the glob `patterns`, in archive order.

    Raises `UserError` for an archive that is truncated, broken, of an unknown form, or whose member is larger than `MEMBER_LIMIT`.
    """
    try:
        for name, size, open_member in _entries(Path(archive)):
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                if size > MEMBER_LIMIT:
                    raise UserError(f"{archive}: {name} claims {size} bytes, more than any text file should have; not read.")
                with open_member() as file:
                    content = file.read(MEMBER_LIMIT + 1)
                if len(content) != size:
                    raise UserError(f"{archive}: {name} has another length than the archive says. Delete it and download again.")
                yield name, content
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is needed to read {archive}, and is not there. (dpkg-deb comes with Debian and Ubuntu.)"
        ) from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise UserError(f"{archive} is truncated or broken ({error}). Delete it and run again to download it anew.") from error


def _entries(archive: Path) -> Iterator[Entry]:
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
            yield from _tar_entries(tar)
        if process.returncode:
            raise UserError(f"{archive} is not a whole Debian package. Delete it and run again to download it anew.")
    else:
        with tarfile.open(archive, mode="r|*") as tar:
            yield from _tar_entries(tar)


def _tar_entries(tar: tarfile.TarFile) -> Iterator[Entry]:
    for info in tar:
        if info.isfile():
            yield info.name.removeprefix("./"), info.size, partial(_open_in_tar, tar, info)


def _open_in_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file is not None, "only regular files are asked for"
    return file
