"""Kind `translation`: each pair asks once in each direction, in a wording chosen by the pair's id.

    python -m workflow_scripts.instructions.translation --pairs deu_Latn.parquet --language deu_Latn --settings '{"templates": [...]}' \\
        --output deu_Latn.parquet --ledger deu_Latn.ledger.csv

Pairs are read and instructions written in pieces, so that memory does not grow with the corpus.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ..common import cli, files, ledger, pieces, prompts
from .table import SCHEMA, single_turn

KIND = "translation"
SIDES = (("source", "target"), ("target", "source"))


def wordings(pairs: pl.DataFrame, templates: Sequence[str]) -> pl.DataFrame:
    """What stands before and behind the text, for every template and every pair of languages in `pairs`, both ways."""
    rows = []
    for one, other in pairs.select("source_language", "target_language").unique().sort(pl.all()).iter_rows():
        for source, target in ((one, other), (other, one)):
            for number, template in enumerate(templates):
                before, after = prompts.request(template, source, target, "\0").split("\0")
                rows.append((number, source, target, before, after, template))
    columns = ["number", "source_language", "target_language", "before", "after", "template"]
    return pl.DataFrame(rows, schema=columns, orient="row").cast({"number": pl.Int64})


def make(pairs: pl.DataFrame, language: str, templates: Sequence[str]) -> pl.DataFrame:
    """Two instructions a pair: from the pivot and into it. A row's id, and so its wording, depends on nothing but the pair."""
    if not pairs.height:
        return SCHEMA.to_frame()
    ways = []
    for place, (source, target) in enumerate(SIDES):
        hashes = pl.Series([files.sha256_text(f"{KIND} {identity} {source}") for identity in pairs["id"]], dtype=pl.String)
        ways.append(
            pairs.select(
                "corpus",
                "licence",
                pair=pl.int_range(pl.len()),
                way=pl.lit(place),
                id=hashes.str.head(16),
                number=hashes.str.head(8).str.to_integer(base=16) % len(templates),
                source_language=f"{source}_language",
                target_language=f"{target}_language",
                text=source,
                answer=target,
            )
        )
    asked = pl.concat(ways).sort("pair", "way")
    on = ["number", "source_language", "target_language"]
    return single_turn(
        asked.join(wordings(pairs, templates), on=on, how="left", maintain_order="left").with_columns(
            request=pl.concat_str("before", "text", "after"), kind=pl.lit(KIND), language=pl.lit(language)
        )
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="templates: rows of resources/templates.tsv")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    count = 0
    with pieces.writer(arguments.output, SCHEMA) as append:
        for pairs in pieces.read(arguments.pairs):
            table = make(pairs, arguments.language, arguments.settings["templates"])
            append(table)
            count += table.height
    fact = (count, "") if count else (None, "n/a: no pair of this language")
    ledger.write(arguments.ledger, [ledger.Fact("instructions", arguments.language, KIND, "rows", *fact)])
    print(f"{arguments.language}: {count} translation instructions")


if __name__ == "__main__":
    cli.run(main)
