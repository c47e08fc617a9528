"""Read one corpus once, in all languages of the registry: a table of `key, language, text`, sorted, one row a message.

    python -m workflow_scripts.corpora.read --corpus scratch-l10n --source scratch-l10n.archive --output scratch-l10n.parquet \\
        --ledger scratch-l10n.ledger.csv

It does not depend on the languages of the config, so adding one does not read it again. A corpus that has a package or file for each
language is read language by language (`--language`), so adding one reads that one.

The ledger says what is not in the table: of each language the texts under a key that has another one already
(`left_out:same key`), those of another spelling of its tag (`left_out:de-at`), empty ones (`left_out:empty`); and the
tags that no language takes (`untaken`, a reason, under language `all`).
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from ..common import cli, files, languages, ledger, tables
from ..common.language_tags import Codes, plain
from .readers import READERS, Message, Source, untaken

SCHEMA = {"key": pl.String, "language": pl.String, "text": pl.String}
MESSAGES = SCHEMA | {"tag": pl.String, "row": pl.String}  # `tag`: "" for the corpus' own code
BATCH = 200_000  # messages held as Python objects
UNTAKEN = "untaken"


def read(corpus: str, path: Path, language: str = "", share: float = 1) -> pl.DataFrame:
    """Messages of `corpus`: key, language (FLORES-200 code), text. `UserError` if there is none."""
    return read_with_ledger(corpus, path, language, share)[0]


def read_with_ledger(corpus: str, path: Path, language: str = "", share: float = 1) -> tuple[pl.DataFrame, list[ledger.Fact]]:
    """Messages of `corpus`, and what became of the others.

    The first text of a key wins; of several spellings of a language's tag, the corpus' own code, then the first by name.
    A key that is a column of a table and stands on several rows, or on rows that say different things, is no key: each
    of its rows is a message of its own. `share` keeps that share of the keys, in all languages the same ones, drawn by
    their hash.
    """
    row = tables.row("corpora", corpus)
    codes = languages.codes(row["alias"])
    code = tables.row("languages", language)[row["alias"]] if language else ""
    fields = dict(one.split("=", 1) for one in row["fields"].split())
    name = tables.name_at(path, tables.package_of(row["package"], code))
    source = Source(path, row["members"].split(), codes, fields, name, code)
    empty: Counter[str] = Counter()
    messages = (message for message in READERS[row["reader"]](source) if _drawn(message.key, share))
    batches = list(_batches(source.codes, messages, empty))
    taken = f" No language takes these codes: {untaken(source.untaken)}." if source.untaken else ""
    if not batches:
        raise cli.UserError(
            f"{corpus}: no message was found in {path}.{taken} Compare `members`, `fields` and `alias` of its row in "
            "resources/corpora.tsv with the names there."
        )
    read = _rows_apart(pl.concat(batches)).sort("language", "tag", maintain_order=True)
    table = read.unique(["language", "key"], keep="first", maintain_order=True)
    facts = [
        ledger.Fact("corpora", language, corpus, f"left_out:{tag or 'same key'}", count) for language, tag, count in _counts(read, table)
    ]
    facts += [ledger.Fact("corpora", language, corpus, "left_out:empty", count) for language, count in sorted(empty.items())]
    if source.untaken:
        facts.append(ledger.Fact("corpora", "all", corpus, UNTAKEN, reason=untaken(source.untaken)))
    facts.append(ledger.Fact("corpora", "all", corpus, "messages", table.height))
    return table.select(list(SCHEMA)).sort("language", "key"), facts


def _rows_apart(messages: pl.DataFrame) -> pl.DataFrame:
    """Messages with the keys of rows that are no keys made different: the row's place is added to them."""
    rows = messages.filter(pl.col("row") != "")
    if not rows.height:
        return messages
    files = rows.select("key", "language", "tag", "text", "row", file=pl.col("row").str.replace(r":\d+$", ""))
    several = files.group_by("key", "file").agg(pl.col("row").n_unique()).filter(pl.col("row") > 1)
    different = files.group_by("key", "language", "tag").agg(pl.col("text").n_unique()).filter(pl.col("text") > 1)
    no_keys = pl.concat([several.select("key"), different.select("key")]).unique()
    apart = (pl.col("row") != "") & pl.col("key").is_in(no_keys["key"].implode())
    return messages.with_columns(key=pl.when(apart).then(pl.format("{} ({})", "key", "row")).otherwise("key"))


def _counts(read: pl.DataFrame, kept: pl.DataFrame) -> list[tuple[str, str, int]]:
    """Language, tag and number of the texts that were read and not kept; one that is there again under its key is no other."""
    read = read.unique(["language", "key", "text"], keep="first", maintain_order=True)
    counts = (
        read["language", "tag"]
        .group_by("language", "tag")
        .len()
        .join(kept["language", "tag"].group_by("language", "tag").len(), on=["language", "tag"], how="left")
    )
    left = counts.select("language", "tag", left=pl.col("len") - pl.col("len_right").fill_null(0))
    return list(left.filter(pl.col("left") > 0).sort("language", "tag").iter_rows())


def _drawn(key: str, share: float) -> bool:
    return share >= 1 or int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest()) < share * 2**32


def _batches(codes: Codes, messages: Iterable[Message], empty: Counter[str]) -> Iterator[pl.DataFrame]:
    """Messages with white space made plain, in tables; those without any text are counted in `empty`, by language."""

    def cleaned() -> Iterator[tuple[str, str, str, str, str]]:
        for key, code, text, tag, row in messages:
            language = codes.languages[code]
            if text and not text.isspace():
                yield key, language, " ".join(text.split()), "" if codes.is_exact(tag) else plain(tag), row
            else:
                empty[language] += 1

    rows = cleaned()
    while batch := list(islice(rows, BATCH)):
        yield pl.DataFrame(batch, schema=MESSAGES, orient="row")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="a row of resources/corpora.tsv")
    parser.add_argument("--source", type=Path, required=True, help="package, folder, archive or file")
    parser.add_argument("--language", default="", help="for a corpus with a package or file for each language: which one")
    parser.add_argument("--share", type=float, default=1, help="share of it to keep (0 to 1)")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, help="what is not in the table; beside it if not given")
    arguments = parser.parse_args(argv)
    table, facts = read_with_ledger(arguments.corpus, arguments.source, arguments.language, arguments.share)
    with files.whole_file(arguments.output) as part:
        table.write_parquet(part, row_group_size=4096)
    ledger.write(arguments.ledger or ledger_of(arguments.output), facts)
    print(f"{arguments.corpus}: {table.height} messages in {table['language'].n_unique()} languages")
    for fact in facts:
        print(f"{fact.language} {fact.measure}: {fact.reason if fact.value is None else fact.value}")


def ledger_of(table: Path) -> Path:
    """Where the ledger of a raw table stands."""
    return table.with_suffix(".ledger.csv")


if __name__ == "__main__":
    cli.run(main)
