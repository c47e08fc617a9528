"""Archives are read as bytes; broken, hostile and oversized ones end in one clear error."""

import io
import random
import tarfile
import zipfile

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


def test_zip_bomb_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 1000)
    archive = tmp_path / "z"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb", "0" * 100_000)
    with pytest.raises(UserError, match="more than any text file"):
        list(archives.members(archive, ["*"]))
