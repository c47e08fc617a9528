"""Which rows of a mixture hold benchmark text, and of which items: the proof, or the warning, in the report.

    python -m workflow_scripts.mixtures.audit --mixture laptop.parquet --benchmarks-folder results/benchmarks --settings '{...}' \\
        --ledger laptop.audit.csv --contaminated laptop.contaminated.csv

Each turn is searched for the benchmarks' text in all languages of the run, whatever language the row says it is in. The ledger also says
why a language was not drawn at all: it is written here and not by the draw, so that a language that is only scored never changes what was
trained on.
"""

import argparse
from pathlib import Path
from typing import Any

import polars as pl

from ..common import cli, contamination, files, ledger

# `row` and `language` are the mixture's; the others name the item that the row holds text of.
CONTAMINATED = dict.fromkeys(("row", "language", "benchmark", "benchmark_language", "split", "item"), pl.String)
ROWS = 10_000  # searched together


def parts(turn: str) -> list[str]:
    """The lines of a turn, with and without their label ("German: ..."): a short test sentence is known by itself only."""
    lines = turn.splitlines()
    return [*lines, *(line.split(": ", 1)[1] for line in lines if ": " in line)]


def search(mixture: pl.DataFrame, lines: list[contamination.Line], settings: dict[str, Any]) -> pl.DataFrame:
    """Each pair of a row and an item that it holds text of, in the mixture's order."""
    index = contamination.Index(((line[:-1], line.text) for line in lines), settings)
    found = []
    for rows in mixture.select("id", "language", "messages").iter_slices(ROWS):
        turns = [(row, language, turn["content"]) for row, language, messages in rows.iter_rows() for turn in messages]
        # A part has no n-gram that its turn has not, so only the turn is compared by n-grams.
        same = [(row, language, part) for row, language, content in turns for part in parts(content)]
        for texts, find in ((turns, index.find_all), (same, index.find_exact)):
            for (row, language, _), labels in zip(texts, find([text for _, _, text in texts]), strict=True):
                found += [(row, language, *label) for label in labels]
    table = pl.DataFrame(found, schema=CONTAMINATED, orient="row").unique()
    order = mixture.select(pl.col("id").alias("row")).with_row_index("place")
    return table.join(order, on="row").sort("place", *CONTAMINATED).drop("place")


def audit(mixture: pl.DataFrame, name: str, folder: Path, settings: dict[str, Any]) -> tuple[list[ledger.Fact], pl.DataFrame]:
    """`rows_contaminated:<benchmark>` for each language and benchmark, a reason for each language that has no row, and what was found."""
    drawn, facts, tables = set(mixture["language"]), [], [pl.DataFrame(schema=CONTAMINATED)]
    for language in settings["languages"]:
        if language not in drawn:
            reason = "kept out of training" if language in settings["kept_out"] else "no instruction was drawn in this language"
            facts.append(ledger.Fact("mixtures", language, name, "rows_drawn", reason=f"n/a: {reason}"))
    for benchmark in settings["benchmarks"]:
        lines = contamination.benchmark_lines([folder / benchmark / f"{language}.json" for language in settings["languages"]])
        table = search(mixture, lines, settings["decontamination"])
        tables.append(table)
        count = dict(table.group_by("language").agg(pl.col("row").n_unique()).iter_rows())
        facts += [
            ledger.Fact("mixtures", language, name, f"rows_contaminated:{benchmark}", count.get(language, 0))
            for language in settings["languages"]
        ]
    return facts, pl.concat(tables)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixture", type=Path, required=True)
    parser.add_argument("--benchmarks-folder", type=Path, required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="languages, kept_out, benchmarks, decontamination")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--contaminated", type=Path, required=True, help="CSV: rows, and the items that they hold text of")
    arguments = parser.parse_args(argv)
    facts, table = audit(pl.read_parquet(arguments.mixture), arguments.mixture.stem, arguments.benchmarks_folder, arguments.settings)
    with files.whole_file(arguments.contaminated) as part:
        table.write_csv(part)
    ledger.write(arguments.ledger, facts)
    print(f"{table['row'].n_unique()} rows hold benchmark text")


if __name__ == "__main__":
    cli.run(main)
