"""Read one corpus once, in all languages of the registry: a table of `key, language, text`, sorted, one row a message.

    python -m workflow_scripts.corpora.read --corpus scratch-l10n --source scratch-l10n.archive --output scratch-l10n.parquet

It does not depend on the languages of the config, so adding one does not read it again. A corpus that has a package or file for each
language is read language by language (`--language`), so adding one reads that one.
"""

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from ..common import cli, files, languages, tables
from .readers import READERS, Message, Source

SCHEMA = {"key": pl.String, "language": pl.String, "text": pl.String}
BATCH = 200_000  # messages held as Python objects


def read(corpus: str, path: Path, language: str = "", share: float = 1) -> pl.DataFrame:
    """Messages of `corpus`: key, language (FLORES-200 code), text; the first text of a key wins. `UserError` if there is none.

    `share` keeps that share of the keys, in all languages the same ones, drawn by their hash.
    """
    row = tables.row("corpora", corpus)
    codes = languages.by_name(row["alias"])
    code = tables.row("languages", language)[row["alias"]] if language else ""
    fields = dict(one.split("=", 1) for one in row["fields"].split())
    name = tables.name_at(path, tables.package_of(row["package"], code))
    source = Source(path, row["members"].split(), codes, fields, name, code)
    messages = ((key, codes[code], text) for key, code, text in READERS[row["reader"]](source) if code in codes)
    batches = list(_batches(message for message in messages if _drawn(message[0], share)))
    if not batches:
        raise cli.UserError(
            f"{corpus}: no message was found in {path}. Compare `members`, `fields` and `alias` of its row in resources/corpora.tsv with "
            "the names there."
        )
    return pl.concat(batches).unique(["language", "key"], keep="first", maintain_order=True).sort("language", "key")


def _drawn(key: str, share: float) -> bool:
    return share >= 1 or int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest()) < share * 2**32


def _batches(messages: Iterable[Message]) -> Iterator[pl.DataFrame]:
    cleaned = ((key, code, " ".join(text.split())) for key, code, text in messages if text and not text.isspace())
    while batch := list(islice(cleaned, BATCH)):
        yield pl.DataFrame(batch, schema=SCHEMA, orient="row")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="a row of resources/corpora.tsv")
    parser.add_argument("--source", type=Path, required=True, help="package, folder, archive or file")
    parser.add_argument("--language", default="", help="for a corpus with a package or file for each language: which one")
    parser.add_argument("--share", type=float, default=1, help="share of it to keep (0 to 1)")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    table = read(arguments.corpus, arguments.source, arguments.language, arguments.share)
    with files.whole_file(arguments.output) as part:
        table.write_parquet(part, row_group_size=4096)
    print(f"{arguments.corpus}: {table.height} messages in {table['language'].n_unique()} languages")


if __name__ == "__main__":
    cli.run(main)
