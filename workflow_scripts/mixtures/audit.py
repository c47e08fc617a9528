"""Which rows of a mixture hold benchmark text, and of which items: the proof, or the warning, in the report.

    python -m workflow_scripts.mixtures.audit --mixture laptop.parquet --benchmarks-folder results/benchmarks --settings '{...}' \\
        --ledger laptop.audit.csv --contaminated laptop.contaminated.csv

Rows are searched for every evaluated benchmark in all languages of the run, also those that are only scored. The ledger also says
why a language was not drawn at all: it is written here and not by the draw, so that a language that is only scored never changes what was
trained on.
"""

import argparse
from pathlib import Path
from typing import Any

import polars as pl

from ..common import cli, contamination, files, ledger
from .search import index_of, search

# `row` and `language` are the mixture's; the others name the item that the row holds text of.
CONTAMINATED = dict.fromkeys(("row", "language", "benchmark", "benchmark_language", "split", "item"), pl.String)


def contaminated(mixture: pl.DataFrame, index: contamination.Index) -> pl.DataFrame:
    """Each pair of a row and an item that it holds text of, in the mixture's order."""
    found = [(place, *item) for place, item in search(mixture["messages"], index)]
    schema = {"place": pl.UInt32} | {name: CONTAMINATED[name] for name in list(CONTAMINATED)[2:]}
    table = pl.DataFrame(found, schema=schema, orient="row").unique()
    rows = mixture.select(pl.col("id").alias("row"), "language").with_row_index("place")
    return table.join(rows, on="place").sort("place", *CONTAMINATED).select(*CONTAMINATED)


def audit(mixture: pl.DataFrame, name: str, folder: Path, settings: dict[str, Any]) -> tuple[list[ledger.Fact], pl.DataFrame]:
    """`rows_contaminated:<benchmark>` for each language and benchmark, a reason for each language that has no row, and what was found."""
    drawn, facts, tables = set(mixture["language"]), [], [pl.DataFrame(schema=CONTAMINATED)]
    for language in settings["languages"]:
        if language not in drawn:
            reason = "kept out of training" if language in settings["kept_out"] else "no instruction was drawn in this language"
            facts.append(ledger.Fact("mixtures", language, name, "rows_drawn", reason=f"n/a: {reason}"))
    for benchmark in settings["benchmarks"]:
        table = contaminated(mixture, index_of(folder, [benchmark], settings["languages"], settings["decontamination"]))
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
