"""Downloads against real clients and real servers; the registry is a folder of files where the test needs a broken one."""

import email.utils
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.fault_server import FaultServer
from workflow_scripts.common import cli, files, tables
from workflow_scripts.downloads import fetch, pin, web


def row(**changes):
    return {
        "package": "p",
        "registry": "pypi",
        "name": "tiny-demo",
        "version": "1.0",
        "form": "wheel",
        "bytes": "",
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


# --- files from any address

CONTENT = random.Random(1).randbytes(300_000)
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HASTY = web.Patience(attempts=4, backoff=0.01, longest_wait=0.3, connect=1, stall=0.25, redirects=3)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FaultServer() as server:
        yield server


def download(url, tmp_path, size=SIZE, sha256=SHA256, patience=HASTY):
    part = tmp_path / "x.part"
    web.download(url, part, size, sha256, patience)
    return part.read_bytes()


ONCE = ["cut", "reset", "stall", "silent", "drip", "drop", "garbage", "longer", "shorter", "unsaid", "gzip", "endless", "page"]
ONCE += ["other_range", "other_file", "408", "429", "500", "502", "503", "504"]


@pytest.mark.parametrize("fault", ONCE)
def test_a_fault_that_passes_ends_in_the_right_file(server, tmp_path, fault):
    assert download(server.file("/a.bin", CONTENT, ["cut", fault]), tmp_path) == CONTENT


@pytest.mark.parametrize("fault", [*ONCE, "flipped", "404", "403", "410", "redirect /a.bin"])
def test_a_fault_that_stays_ends_in_the_right_file_or_one_clear_error(server, tmp_path, fault):
    url = server.file("/a.bin", CONTENT, [fault] * 50)
    if fault in ("gzip", "cut", "reset", "unsaid"):  # each attempt brings half of the rest, so these may end well
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(web, "WORTH_IT", 1)
            assert download(url, tmp_path) == CONTENT
        return
    with pytest.raises(cli.UserError) as caught:
        download(url, tmp_path)
    assert url in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_of_faults_ends_in_the_right_file(server, tmp_path, seed):
    faults = random.Random(seed).choices([fault for fault in ONCE if fault not in ("silent", "drip", "stall")], k=12)
    url = server.file("/a.bin", CONTENT, faults, ranges=seed % 3 > 0)
    assert download(url, tmp_path, patience=web.Patience(14, 0.0, 0.0, 1, 0.25)) == CONTENT


def test_a_download_goes_on_where_it_was(server, tmp_path):
    url = server.file("/a.bin", CONTENT, ["cut", "reset", "cut"])
    assert download(url, tmp_path) == CONTENT
    served = server.paths["/a.bin"]
    assert [request.get("Range") for request in served.requests] == [None, "bytes=150000-", "bytes=225000-", "bytes=262500-"]
    assert served.requests[1]["If-Range"].startswith('"')
    assert served.sent == len(CONTENT)


def test_a_file_that_changes_in_between_is_refused_and_the_old_one_never_mixed_in(server, tmp_path):
    url = server.file("/a.bin", CONTENT, ["cut"])
    (tmp_path / "x.part").write_bytes(b"y" * 1000)  # left by an earlier process: no ETag is known for it
    server.paths["/a.bin"].faults.append("")
    assert download(url, tmp_path) == CONTENT
    assert server.paths["/a.bin"].requests[-1].get("Range") is None, "the pieces did not fit, so it was fetched in one go"


def test_the_server_is_given_the_time_it_asks_for(server, tmp_path):
    in_two_seconds = email.utils.formatdate(time.time() + 2, usegmt=True)
    url = server.file("/a.bin", CONTENT, ["429 1", f"503 {in_two_seconds}", "429 soon", "429 86400"])
    start = time.monotonic()
    assert download(url, tmp_path, patience=web.Patience(5, 0.01, 1.0, 1, 1)) == CONTENT
    assert 2 < time.monotonic() - start < 4, "a second, up to a second, none, and a day cut to a second"


def test_redirects_are_followed_within_limits(server, tmp_path):
    server.file("/b.bin", CONTENT)
    assert download(server.file("/a.bin", b"", ["redirect /b.bin"]), tmp_path) == CONTENT
    with pytest.raises(cli.UserError, match="redirected more than 3 times"):
        download(server.file("/loop", b"", ["redirect /loop"] * 9), tmp_path, sha256="0" * 64, size=1)
    with pytest.raises(cli.UserError, match="redirected to file:"):
        download(server.file("/file", b"", ["redirect file:///etc/hostname"]), tmp_path, sha256="0" * 64, size=1)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_https_is_not_left_and_a_token_goes_to_its_host_only(server, tmp_path, monkeypatch):
    pem = tmp_path / "server.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    pem.write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "cert").read_bytes())
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\nmachine localhost login somebody password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("DOWNLOAD_TOKEN_LOCALHOST", "mine")
    with FaultServer(pem) as secure:
        with pytest.raises(cli.UserError, match="no certificate that this machine trusts"):
            download(secure.file("/a.bin", CONTENT), tmp_path)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert"))
        server.file("/plain.bin", CONTENT)
        with pytest.raises(cli.UserError, match="away from https"):
            download(secure.file("/down.bin", b"", [f"redirect {server.url('/plain.bin')}"]), tmp_path)
        secure.file("/a.bin", CONTENT, [f"redirect {secure.url('/b.bin')}"])  # from localhost to 127.0.0.1
        secure.file("/b.bin", CONTENT)
        assert download(secure.url("/a.bin", "localhost"), tmp_path) == CONTENT
        assert secure.paths["/a.bin"].requests[0]["Authorization"] == "Bearer mine"
        assert "Authorization" not in secure.paths["/b.bin"].requests[0]
    (tmp_path / "x.part").unlink()
    download(server.url("/plain.bin", "localhost"), tmp_path)
    assert "Authorization" not in server.paths["/plain.bin"].requests[0], "a token is never sent in the clear"


def test_a_full_disk_is_one_clear_error(server, tmp_path):
    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(cli.UserError, match="the disk is full"):
        download(server.file("/a.bin", CONTENT), tmp_path)


def test_no_more_than_so_many_at_once_from_a_host(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "AT_ONCE", 2)
    server.pause = 0.1
    urls = [server.file(f"/{number}.bin", CONTENT, ["cut"]) for number in range(6)]
    threads = [
        threading.Thread(target=web.download, args=(url, tmp_path / str(i), len(CONTENT), SHA256, HASTY)) for i, url in enumerate(urls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((tmp_path / str(number)).read_bytes() == CONTENT for number in range(6))
    assert server.most == 2


def test_a_killed_download_leaves_no_file_and_goes_on_with_the_next_run(server, tmp_path):
    package = {
        "registry": "url",
        "name": server.file("/a.bin", CONTENT, ["stall"]),
        "bytes": str(len(CONTENT)),
        "sha256": SHA256,
        "form": "file",
    }
    code = """if True:
        import json, sys
        from pathlib import Path
        from workflow_scripts.common import tables
        from workflow_scripts.downloads import fetch
        tables.row = lambda table, key: json.loads(sys.argv[1])
        fetch.fetch("p", Path(sys.argv[2], "p.archive"), Path(sys.argv[2], "p.json"))
    """
    command = [sys.executable, "-c", code, json.dumps(row(**package)), str(tmp_path)]
    process = subprocess.Popen(command, cwd=tables.ROOT)
    part = tmp_path / f".p.{SHA256[:8]}.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size == len(CONTENT) // 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "p.archive").exists() and not (tmp_path / "p.json").exists()
    subprocess.run(command, cwd=tables.ROOT, check=True, timeout=60)
    assert (tmp_path / "p.archive").read_bytes() == CONTENT
    assert files.read_json(tmp_path / "p.json")["file"] == "a.bin"
    assert server.paths["/a.bin"].requests[-1]["Range"] == f"bytes={len(CONTENT) // 2}-"
    assert not part.exists()


# --- pins, OPUS and the hub


def test_a_pinned_address_is_what_is_fetched(server, tmp_path, capsys):
    url = server.file("/pairs%20of%20mine.tsv.gz", CONTENT, ["cut"])
    pin.main(["url", url, "--package", "mine", "--licence", "CC0-1.0"])
    pinned = dict(zip(tables.columns("packages"), capsys.readouterr().out.rstrip("\n").split("\t"), strict=True))
    assert pinned["sha256"] == SHA256 and pinned["bytes"] == str(SIZE)
    with pytest.MonkeyPatch.context() as patch:
        out = fetched(tmp_path, patch, pinned)
    assert (out / "p.archive").read_bytes() == CONTENT
    assert files.read_json(out / "p.json")["file"] == "pairs of mine.tsv.gz"


def test_a_file_of_unknown_length_is_not_pinned(server):
    with pytest.raises(cli.UserError, match="does not say how long it is"):
        pin.main(["url", server.file("/a.bin", CONTENT, ["unsaid"]), "--package", "mine", "--licence", "CC0-1.0"])


def test_opus_is_asked_through_its_api(server, capsys):
    zipped = server.file("/OPUS-Tatoeba/v2023/moses/cmn-en.txt.zip", CONTENT)
    query = "/opusapi/?corpus=Tatoeba&source={}&target={}&preprocessing=moses&version=latest"
    entry = {"source": "cmn", "target": "en", "url": zipped, "version": "v2023", "size": 293, "latest": "True", "preprocessing": "moses"}
    for pair in [("en", "zh"), ("en", "zho"), *itertools.product(("en", "eng"), ("ace",))]:
        server.file(query.format(*sorted(pair)), b'{"corpora": []}')
    server.file(query.format("cmn", "en"), json.dumps({"corpora": [entry]}).encode(), ["503"])
    wanted = ["--pivot", "eng_Latn", "--languages", "zho_Hans", "ace_Latn"]
    pin.main(["opus", "Tatoeba", *wanted, "--licence", "CC-BY 2.0 FR", "--api", server.url("/opusapi/")])
    printed = capsys.readouterr()
    assert printed.out.startswith(f"opus-tatoeba-en-zh\turl\t{zipped}\tv2023\tfile\t{SHA256}\t{SIZE}\t")
    assert "Tatoeba latest: nothing for eng_Latn and ace_Latn" in printed.err


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub_step(server, tmp_path, code, *arguments):
    """In a process of its own, because huggingface_hub reads its endpoint when it is imported."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = unset | {"HF_ENDPOINT": server.url(""), "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", f"import sys\nfrom workflow_scripts.common import cli, tables\n{code}", *arguments]
    return subprocess.run(command, cwd=tables.ROOT, env=environment, capture_output=True, text=True, timeout=50)


def test_a_file_of_a_hub_data_set_at_its_commit(server, tmp_path):
    for revision in (COMMIT, "main"):
        path = f"/datasets/org/set/resolve/{revision}/data/train.parquet"
        server.file(path, CONTENT, ["cut"], headers={"X-Repo-Commit": COMMIT, "ETag": f'"{SHA256}"'})
    code = "from workflow_scripts.downloads import pin\ncli.run(pin.main, online=True)"
    words = ["hub", "org/set/data/train.parquet", "--revision", "main", "--package", "p", "--licence", "MIT"]
    done = hub_step(server, tmp_path, code, *words)
    assert done.returncode == 0, done.stderr
    pinned = dict(zip(tables.columns("packages"), done.stdout.rstrip("\n").split("\t"), strict=True))
    assert (pinned["version"], pinned["sha256"], pinned["bytes"]) == (COMMIT, SHA256, str(SIZE))
    code = f"tables.row = lambda table, key: {pinned!r}\nfrom workflow_scripts.downloads import fetch\ncli.run(fetch.main, online=True)"
    out = tmp_path / "out"
    done = hub_step(server, tmp_path, code, "--package", "p", "--archive", str(out / "p.archive"), "--provenance", str(out / "p.json"))
    assert done.returncode == 0, done.stderr
    assert (out / "p.archive").read_bytes() == CONTENT
    assert sorted(path.name for path in out.iterdir()) == ["p.archive", "p.json"]
