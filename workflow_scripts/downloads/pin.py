"""Print rows for resources/packages.tsv: where a file is, its size and its SHA-256, so that everybody who runs it gets the same bytes.

    python -m workflow_scripts.downloads.pin url https://example.org/pairs.tsv.gz --package my-pairs --licence CC-BY-4.0
    python -m workflow_scripts.downloads.pin hub org/name/data/train.parquet --revision main --package my-set --licence CC-BY-4.0
    python -m workflow_scripts.downloads.pin opus Tatoeba --pivot eng_Latn --languages deu_Latn swh_Latn --licence CC-BY-2.0-FR

Append what it prints to that table (`>> resources/packages.tsv`). A file at an address is fetched once to learn its hash, and not kept. The
hub tells hash and size by itself. OPUS is asked through its API for the newest release (or `--release`) of each pair under every code that
its corpora may have for it (zh, zho, cmn); its packages are called opus-<corpus>-<pivot>-<language>, with the codes of column iso639.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import requests
from urllib3 import Retry

from ..common import cli, files, hub, languages, tables
from . import web

OPUS = "https://opus.nlpl.eu/opusapi/"


def from_url(url: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder, "part")
        size, _ = web.complete(url, part, None)
        return {"registry": "url", "name": url, "version": "1", "sha256": files.sha256_file(part), "bytes": str(size)}


def from_hub(name: str, revision: str) -> dict[str, str]:
    organisation, repository, path = name.split("/", 2)
    commit, sha256, size = hub.dataset_file_facts(f"{organisation}/{repository}", path, revision)
    return {"registry": "hub", "name": name, "version": commit, "sha256": sha256, "bytes": str(size)}


def from_opus(corpus: str, release: str, pivot: str, wanted: list[str], api: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Package and row of each pair that the corpus has in Moses format; the others are named on standard error."""
    for language in wanted:
        for one, other in product(languages.names(pivot, "iso639"), languages.names(language, "iso639")):
            query = dict(zip(("source", "target"), sorted((one, other)), strict=True))
            answer = _ask(api, {"corpus": corpus, **query, "preprocessing": "moses", "version": release})
            if found := [entry for entry in answer.get("corpora", []) if {entry["source"], entry["target"]} == {one, other}]:
                codes = languages.get(pivot).iso639, languages.get(language).iso639
                package = "-".join(["opus", corpus, *codes]).lower()
                yield package, from_url(found[0]["url"]) | {"version": found[0]["version"]}
                break
        else:
            print(f"{corpus} {release}: nothing for {pivot} and {language}", file=sys.stderr)


def _ask(api: str, query: dict[str, str]) -> Any:
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=Retry(5, backoff_factor=1, status_forcelist=web.TRY_AGAIN)))
    try:
        response = session.get(api, params=query, timeout=60)
        response.raise_for_status()
        return response.json()
    except requests.RequestException as error:
        raise cli.UserError(f"OPUS does not answer at {api}: {error}") from error


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, what in (("url", "address"), ("hub", "organisation/name/path of the file"), ("opus", "corpus, as OPUS calls it")):
        sub = kinds.add_parser(kind)
        sub.add_argument("name", help=what)
        sub.add_argument("--licence", required=True)
        sub.add_argument("--note", default="")
        if kind == "opus":
            sub.add_argument("--release", default="latest")
            sub.add_argument("--pivot", required=True, help="FLORES-200 code")
            sub.add_argument("--languages", nargs="+", required=True, help="FLORES-200 codes")
            sub.add_argument("--api", default=OPUS)
        else:
            sub.add_argument("--package", required=True, help="what to call it here")
        if kind == "hub":
            sub.add_argument("--revision", required=True, help="commit, tag or branch; the commit is what is pinned")
    options = parser.parse_args(argv)
    if options.kind == "opus":
        rows = from_opus(options.name, options.release, options.pivot, options.languages, options.api)
    else:
        rows = iter([(options.package, from_url(options.name) if options.kind == "url" else from_hub(options.name, options.revision))])
    for package, facts in rows:
        row = {"package": package, **facts, "form": "file", "licence": options.licence, "note": options.note}
        tables.check(row, tables.SCHEMAS / "packages.schema.json", package)
        print("\t".join(row[column] for column in tables.columns("packages")), flush=True)


if __name__ == "__main__":
    cli.run(main, online=True)
