"""Read one corpus once, in all languages of the registry: a table of `key, language, text`, sorted, one row a message.

    python -m workflow_scripts.corpora.read --corpus scratch-l10n --archive scratch-l10n.archive --output scratch-l10n.parquet

It does not depend on the languages of the config, so adding one does not read the package again.
"""

import argparse
from pathlib import Path

import polars as pl

from ..common import cli, files, languages, tables
from .readers import READERS


def read(corpus: str, archive: Path) -> pl.DataFrame:
    """All messages of `corpus`: key, language (FLORES-200 code), text; the first text of a key wins. `UserError` if there is none."""
    row = tables.row("corpora", corpus)
    codes = languages.by_alias(row["alias"])
    rows = [
        (key, codes[code], " ".join(text.split()))
        for key, code, text in READERS[row["reader"]](archive, row["members"].split())
        if code in codes and text.strip()
    ]
    if not rows:
        raise cli.UserError(
            f"{corpus}: no message was found in {archive}. Compare `members` and `alias` of its row in resources/corpora.tsv with the "
            "names in the package."
        )
    table = pl.DataFrame(rows, schema={"key": pl.String, "language": pl.String, "text": pl.String}, orient="row")
    return table.unique(["language", "key"], keep="first", maintain_order=True).sort("language", "key")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="a row of resources/corpora.tsv")
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    table = read(arguments.corpus, arguments.archive)
    with files.whole_file(arguments.output) as part:
        table.write_parquet(part, row_group_size=4096)
    print(f"{arguments.corpus}: {table.height} messages in {table['language'].n_unique()} languages")


if __name__ == "__main__":
    cli.run(main)
