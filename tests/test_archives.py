"""Archives are read as bytes; broken, hostile and oversized ones end in one clear error."""

import gzip
import io
import random
import tarfile
import zipfile

import pyarrow
import pytest

from workflow_scripts.common import archives
from workflow_scripts.common.cli import UserError


def tar_of(path, entries, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w"])
def test_tar_members_match_patterns(tmp_path, mode):
    archive = tar_of(tmp_path / "a.archive", {"./a/de.json": b"1", "a/de.txt": b"2", "b/c/de.json": b"3"}, mode)
    assert list(archives.members(archive, ["a/*.json"])) == [("a/de.json", b"1")]
    assert [name for name, _ in archives.members(archive, ["*.json"])] == ["a/de.json", "b/c/de.json"]


def test_zip_members(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.archive", "w") as zipped:
        zipped.writestr("x/y.txt", "hello")
    assert list(archives.members(tmp_path / "a.archive", ["*"])) == [("x/y.txt", b"hello")]


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_truncated_archive_is_one_clear_error(tmp_path, keep):
    content = {f"{number}.json": random.Random(number).randbytes(10_000) for number in range(40)}
    for archive in (tar_of(tmp_path / "t", content), tar_of(tmp_path / "x", content, "w:xz")):
        whole = archive.read_bytes()
        archive.write_bytes(whole[: int(len(whole) * keep)])
        with pytest.raises(UserError, match="truncated or broken"):
            list(archives.members(archive, ["*"]))


def test_damaged_zip_is_one_clear_error(tmp_path):
    archive = tmp_path / "z"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.json", "abc" * 1000)
    damaged = bytearray(archive.read_bytes())
    damaged[45] ^= 0xFF
    archive.write_bytes(damaged)
    with pytest.raises(UserError, match=r"truncated or broken|another length"):
        list(archives.members(archive, ["*"]))


def test_not_an_archive(tmp_path):
    (tmp_path / "page").write_text("<html>log in to the network first</html>")
    with pytest.raises(UserError, match="truncated or broken"):
        list(archives.members(tmp_path / "page", ["*"]))


def test_path_tricks_never_reach_the_disk(tmp_path):
    archive = tar_of(tmp_path / "t", {"../../escape.txt": b"x", "/absolute.txt": b"y"})
    before = sorted(tmp_path.parent.iterdir())
    assert len(list(archives.members(archive, ["*"]))) == 2
    assert sorted(tmp_path.parent.iterdir()) == before


def zip_of(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in entries.items():
            zipped.writestr(name, content)
    return path


def drain(path, patterns=("*.txt",)):
    """Read everything as a reader of text does: in pieces."""
    found = {}
    for name, file in archives.streams(path, lambda name: any(name.endswith(pattern[1:]) for pattern in patterns), path.name):
        found[name] = b"".join(iter(lambda file=file: file.read(1000), b""))
    return found


def test_a_larger_member_than_any_text_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 1000)
    with pytest.raises(UserError, match="more than any text file"):
        list(archives.members(zip_of(tmp_path / "z", {"bomb": "0" * 100_000}), ["*"]))


BOMB = b"0" * 2_000_000


@pytest.mark.parametrize(
    "make",
    [
        lambda path: zip_of(path, {"bomb.txt": BOMB}),
        lambda path: zip_of(path, {f"{number}.txt": BOMB[:200_000] for number in range(12)}),
        lambda path: zip_of(path, {"nested.txt.gz": gzip.compress(gzip.compress(BOMB) + BOMB)}),
        lambda path: tar_of(path, {"bomb.txt": BOMB}),
        lambda path: tar_of(path, {"bomb.txt": BOMB}, "w:xz"),
        lambda path: tar_of(path, {"skipped.bin": BOMB, "a.txt": b"x"}),
        lambda path: path.write_bytes(gzip.compress(BOMB)) and path,
    ],
    ids=["zip", "zip of many", "gzip in zip", "tar.gz", "tar.xz", "member not asked for", "gzip alone"],
)
def test_a_bomb_is_one_clear_error_and_never_unpacked(tmp_path, monkeypatch, make):
    monkeypatch.setattr(archives, "SLACK", 100_000)
    with pytest.raises(UserError, match="more than 100 times its size"):
        drain(make(tmp_path / "a.txt.gz"))


def test_folders_and_files_alone_are_read_like_archives(tmp_path):
    text = "".join(f"line {number}\n" for number in range(5000)).encode()
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/a.txt.gz").write_bytes(gzip.compress(text))
    (folder / "b.txt").write_bytes(text)
    (folder / "c.bin").write_bytes(b"no")
    assert drain(folder) == {"corpus/b.txt": text, "corpus/sub/a.txt": text}
    assert drain(folder / "sub/a.txt.gz") == {"a.txt": text}
    assert drain(tar_of(tmp_path / "t.tar.gz", {"b.txt.gz": gzip.compress(text)})) == {"b.txt": text}
    with pyarrow.CompressedOutputStream(str(folder / "b.txt.zst"), "zstd") as packed:
        packed.write(text)
    assert drain(folder / "b.txt.zst") == {"b.txt": text}


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: data[:500] + b"\0\0" + data[502:], lambda data: data[:-6] + bytes(6)]
)
def test_broken_gzip_is_one_clear_error(tmp_path, damage):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(damage(gzip.compress(random.Random(1).randbytes(5000))))
    with pytest.raises(UserError, match=r"a\.txt\.gz is truncated or broken"):
        drain(path)


def test_a_zip_with_a_password_is_one_clear_error(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"a.txt": b"secret"})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # flags of the member, and of its entry in the directory
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="password required"):
        drain(path)


def test_a_name_that_is_not_utf_8_can_be_written(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", encoding="latin-1") as tar:
        info = tarfile.TarInfo("Stra\u00dfe.de")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"Eins"))
    ((name, content),) = archives.members(path, ["*.de"])
    assert name.encode() and name.endswith("e.de") and content == b"Eins"
