"""Downloads against real clients; the registry is a folder of files where the test needs a broken one."""

import hashlib
import json
import shutil
import subprocess

import pytest

from workflow_scripts.common import cli, tables
from workflow_scripts.downloads import fetch


def row(**changes):
    return {
        "package": "p",
        "registry": "pypi",
        "name": "tiny-demo",
        "version": "1.0",
        "form": "wheel",
        "licence": "CC0-1.0",
        "note": "",
    } | changes


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its only index, with one wheel in it."""
    import zipfile

    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "tiny_demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as zipped:
        zipped.writestr("tiny_demo/data.json", "{}")
        zipped.writestr("tiny_demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-demo\nVersion: 1.0\n")
        zipped.writestr("tiny_demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        zipped.writestr("tiny_demo-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    return wheel


def fetched(tmp_path, monkeypatch, package_row):
    monkeypatch.setattr(tables, "row", lambda table, key: package_row)
    out = tmp_path / "out"
    fetch.fetch("p", out / "p.archive", out / "p.json")
    return out


def test_whole_download_is_kept_with_its_provenance(tmp_path, monkeypatch, index):
    digest = hashlib.sha256(index.read_bytes()).hexdigest()
    out = fetched(tmp_path, monkeypatch, row(sha256=digest))
    assert (out / "p.archive").read_bytes() == index.read_bytes()
    provenance = json.loads((out / "p.json").read_text())
    assert provenance["sha256"] == digest and provenance["version"] == "1.0" and provenance["licence"] == "CC0-1.0"
    assert sorted(path.name for path in out.iterdir()) == ["p.archive", "p.json"]


def test_altered_download_is_refused_and_leaves_nothing(tmp_path, monkeypatch, index):
    digest = hashlib.sha256(index.read_bytes()).hexdigest()
    index.write_bytes(index.read_bytes() + b"x")
    with pytest.raises(cli.UserError, match=r"(?i)hash"):
        fetched(tmp_path, monkeypatch, row(sha256=digest))
    assert list((tmp_path / "out").iterdir()) == []


def test_unknown_package_is_refused(tmp_path, monkeypatch, index):
    with pytest.raises(cli.UserError, match="no-such"):
        fetched(tmp_path, monkeypatch, row(name="no-such-package", sha256="0" * 64))


def test_missing_client_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    monkeypatch.setattr(fetch, "npm", lambda: ["npm-that-is-not-there"])
    with pytest.raises(cli.UserError, match=r"npm-that-is-not-there was not found.*Install it, or take"):
        fetched(tmp_path, monkeypatch, row(registry="npm", sha256="0" * 64))


def test_npm_comes_with_the_environment():
    version = subprocess.run([*fetch.npm(), "--version"], capture_output=True, text=True, check=True).stdout
    assert int(version.split(".")[0]) >= 10


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_debian_package_without_a_pin_is_recorded(tmp_path, monkeypatch):
    out = fetched(tmp_path, monkeypatch, row(registry="debian", name="iso-codes", version="", form="deb", sha256=""))
    provenance = json.loads((out / "p.json").read_text())
    assert provenance["version"] and provenance["pinned"] is False and len(provenance["sha256"]) == 64
