"""One file over HTTP, whatever the server does: resumed, retried, and whole only when its size and SHA-256 are those that were pinned.

What came so far lies in a part file that outlives the process, so a killed or failed download goes on where it was. A token is read from
the environment (`DOWNLOAD_TOKEN_<HOST>`, such as DOWNLOAD_TOKEN_DATA_EXAMPLE_ORG), sent to that host only, and only over https.
"""

import fcntl
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from urllib3 import Retry
from urllib3.exceptions import HTTPError, InvalidHeader

from ..common import files
from ..common.cli import UserError

CHUNK = 2**16
WORTH_IT = 2**20  # bytes; an attempt that brought so many is no failure, so that a large file survives any number of cuts
SLOWEST = 1024  # bytes a second, over `Patience.stall` seconds
AT_ONCE = 4  # downloads from one host on this machine
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """How long a server is borne with; times in seconds."""

    attempts: int = 7  # in a row that bring nothing worth it
    backoff: float = 1.0  # before the second attempt, doubled for each further one
    longest_wait: float = 600.0  # whatever a Retry-After asks for
    connect: float = 20.0
    stall: float = 60.0
    redirects: int = 5


class Again(Exception):
    """Something that may be better next time. `wait`: seconds that the server asked for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def download(url: str, part: Path, size: int, sha256: str, patience: Patience = Patience()) -> None:
    """Leave the file of `size` bytes with that hash in `part`, going on with what is there. Raises `UserError` otherwise.

    A file that was put together from several answers and is wrong is fetched once more in one go before it is refused.
    """
    _, pieces = complete(url, part, size, patience)
    digest = files.sha256_file(part)
    if digest != sha256 and pieces > 1:
        print(f"{url}: the pieces do not fit together; from the start", file=sys.stderr)
        part.unlink()
        complete(url, part, size, patience)
        digest = files.sha256_file(part)
    if digest != sha256:
        part.unlink()
        raise UserError(
            f"{url} has SHA-256 {digest}, but resources/packages.tsv pins {sha256}: the file there is another one now. Find out why, then "
            "pin the new one (`python -m workflow_scripts.downloads.pin`)."
        )


def complete(url: str, part: Path, size: int | None, patience: Patience = Patience()) -> tuple[int, int]:
    """Bring `part` to `size` bytes, as many as the server says for None; the size, and from how many pieces the part was made."""
    failures, validator, pieces = 0, "", int(_have(part) > 0)
    while size is None or _have(part) != size:
        before = _have(part)
        try:
            ask = _answer(url, before, validator, patience)
            with _slot(urlsplit(url).netloc), files.disk_full_named(part), ask as response:
                size = _length(url, response) if size is None else size
                validator = _validator(response) or validator
                pieces = pieces + 1 if response.status_code == 206 else 1
                _receive(response, part, size, patience)
        except Again as trouble:
            failures = 1 if _have(part) - before >= WORTH_IT else failures + 1
            if failures >= patience.attempts:
                raise UserError(
                    f"{url} could not be fetched, the last {failures} attempts failed: {trouble}. Run again to go on from byte "
                    f"{_have(part)} of {size}. If this machine has no network, run `snakemake prefetch` on one that has."
                ) from trouble
            wait = min(max(trouble.wait, patience.backoff * 2 ** (failures - 1)), patience.longest_wait)
            print(f"{url}: {trouble}; {_have(part)} of {size} bytes so far, again in {wait:g} s", file=sys.stderr)
            time.sleep(wait)
    return size, pieces


def _have(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@contextmanager
def _answer(url: str, start: int, validator: str, patience: Patience) -> Iterator[requests.Response]:
    """The server's answer from byte `start` on, redirects followed. Raises `Again` or, where no attempt will help, `UserError`."""
    wanted = {"User-Agent": "pivotlift", "Accept-Encoding": "identity"}
    if start:
        wanted |= {"Range": f"bytes={start}-"} | ({"If-Range": validator} if validator else {})
    place = url
    # The session gives the proxies and certificates of the environment. It must not send the request: it would add passwords of ~/.netrc.
    session, adapter = requests.Session(), requests.adapters.HTTPAdapter()
    try:
        for _ in range(patience.redirects + 1):
            request = requests.Request("GET", place, headers=wanted | _token(place)).prepare()
            settings = session.merge_environment_settings(place, {}, True, None, None)
            response = adapter.send(request, timeout=(patience.connect, patience.stall), **settings)
            if response.status_code not in (301, 302, 303, 307, 308):
                break
            target = urljoin(place, response.headers.get("Location", ""))
            response.close()
            if urlsplit(target).scheme not in ("http", "https") or (urlsplit(place).scheme, urlsplit(target).scheme) == ("https", "http"):
                raise UserError(f"{url} is redirected to {target}, away from https: not followed.")
            place = target
        else:
            raise UserError(f"{url} is redirected more than {patience.redirects} times, at last to {place}.")
        if response.status_code in TRY_AGAIN:
            raise Again(f"status {response.status_code}", _retry_after(response))
        if response.status_code not in (200, 206, 416):
            hint = f" Does it need a token ({_variable(place)})?" if response.status_code in (401, 403) else ""
            raise UserError(f"{url} could not be fetched: status {response.status_code} {response.reason or ''}.{hint}")
        yield response
    except (requests.RequestException, HTTPError, TimeoutError, ConnectionError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UserError(
                f"{place} has no certificate that this machine trusts. Set REQUESTS_CA_BUNDLE where yours are elsewhere."
            ) from error
        raise Again(f"{type(error).__name__}: {error}"[:300]) from error
    finally:
        adapter.close()


def _receive(response: requests.Response, part: Path, size: int, patience: Patience) -> None:
    """Append the body to `part`; raises `Again` unless it is `size` bytes then. An answer that does not fit throws away what was there."""
    start, end = _have(part), None
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != start or found[2] not in ("*", str(size)):
            part.unlink(missing_ok=True)
            raise Again(f"asked for bytes from {start} of {size}, got {response.headers.get('Content-Range', 'no Content-Range')}")
    elif response.status_code == 416:
        part.unlink(missing_ok=True)
        raise Again(f"the file ends before byte {start}")
    else:
        start, end = 0, response.headers.get("Content-Length")
    if end is not None and end != str(size):
        raise Again(f"the server offers {end} bytes, but {size} are pinned")
    since, mark, have = time.monotonic(), start, start
    with part.open("ab" if start else "wb") as file:
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            have += len(chunk)
            if have > size:
                file.truncate(0)
                raise Again(f"the server sends more than the {size} bytes that are pinned")
            file.write(chunk)
            if (passed := time.monotonic() - since) >= patience.stall:
                if have - mark < SLOWEST * passed:
                    raise Again(f"{have - mark} bytes in {passed:.0f} s")
                since, mark = time.monotonic(), have
    if have < size:
        raise Again("the connection was closed before the end")


def _length(url: str, response: requests.Response) -> int:
    length = response.headers.get("Content-Length", "")
    if response.status_code != 200 or not length.isdigit():
        raise UserError(f"{url} does not say how long it is. Download it yourself, and name the file as `path` in the config.")
    return int(length)


def _validator(response: requests.Response) -> str:
    """What tells that the rest of the file still belongs to its beginning: a strong ETag, or the date."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _retry_after(response: requests.Response) -> float:
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        return 0.0


def _variable(url: str) -> str:
    return "DOWNLOAD_TOKEN_" + re.sub(r"\W", "_", urlsplit(url).hostname or "").upper()


def _token(url: str) -> dict[str, str]:
    token = os.environ.get(_variable(url)) if urlsplit(url).scheme == "https" else None
    return {"Authorization": f"Bearer {token}"} if token else {}


@contextmanager
def _slot(host: str) -> Iterator[None]:
    """Wait until fewer than `AT_ONCE` of this user's downloads ask the host; a process that dies gives its slot back."""
    name = f"pivotlift.{os.getuid()}.{re.sub(r'[^A-Za-z0-9.-]', '_', host)}"
    slots = [Path(tempfile.gettempdir(), f"{name}.{number}.slot") for number in range(AT_ONCE)]
    while True:
        for slot in slots:
            with slot.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        time.sleep(0.2)
