"""Files are whole or absent, whatever happens while they are written."""

import errno
import subprocess

import pytest

from workflow_scripts.common import files
from workflow_scripts.common.cli import UserError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), files.whole_file(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_the_old_folder(tmp_path):
    with files.whole_folder(tmp_path / "model") as part:
        (part / "weights").write_text("old")
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "model") as part:
        (part / "weights").write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "model/weights").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("whole", [files.whole_file, files.whole_folder])
def test_a_full_disk_is_one_clear_message(tmp_path, whole):
    with pytest.raises(UserError, match=r"the disk is full: .* could not be written\. Free some space"), whole(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        files.write_text(disk / "kept.txt", "kept")
        with pytest.raises(UserError, match="the disk is full"):
            files.write_text(disk / "big.txt", "x" * 1_000_000)
        assert [path.name for path in disk.iterdir()] == ["kept.txt"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_equal_values_are_equal_bytes(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    files.write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert files.sha256_json({"b": 1, "a": 2}) == files.sha256_json({"a": 2, "b": 1})


def test_broken_json_says_what_to_do(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not valid JSON .* Delete it and run again"):
        files.read_json(tmp_path / "a.json")


def test_lines_of_json_with_a_byte_order_mark_and_empty_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": "x\u2028y"}\r\n\n{"a": 2}\n \n'.encode())
    assert files.read_jsonl(path) == [{"a": "x\u2028y"}, {"a": 2}]
    for broken in (b'{"a": 1}\n\n{"a', b'{"a": 1}\n\n{"a": "\xff"}\n'):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"a\.jsonl: line 3 is not JSON"):
            files.read_jsonl(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="is not valid JSON"):
        files.read_json(path)
