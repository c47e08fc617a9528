"""Kind `general`: instructions and answers in one pivot language, taken from published lists (resources/instruction_sets.tsv).

    python -m workflow_scripts.instructions.general --language eng_Latn --sets alpaca-en-demo=llamafactory.archive \\
        --benchmarks udhr/eng_Latn.json --settings '{...}' --output eng_Latn.parquet --ledger eng_Latn.ledger.csv

Benchmark text is kept out as in the corpora. A row longer than `max_characters` is left out and counted.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from ..common import archives, cli, contamination, files, ledger, tables
from .table import SCHEMA, single_turn

KIND = "general"


def alpaca(content: bytes) -> list[tuple[str, str]]:
    """(request, answer) of a JSON list of {instruction, input, output}."""
    return [
        ("\n".join(part for part in (row["instruction"], row.get("input", "")) if part).strip(), row["output"].strip())
        for row in json.loads(content)
    ]


FORMATS = {"alpaca": alpaca}


def make(
    sets: dict[str, Path], benchmark_lines: list[contamination.Line], settings: dict[str, Any]
) -> tuple[pl.DataFrame, dict[str, Counter[str]]]:
    """All rows of the sets that are kept, and for each set the count of every outcome. Raises `UserError` for an unreadable set."""
    index = contamination.Index(((line.benchmark, line.text) for line in benchmark_lines), settings["decontamination"])
    rows, counts, seen = [], {}, set()
    for name, archive in sets.items():
        row, outcome = tables.row("instruction_sets", name), Counter[str]()
        found = [content for _, content in archives.members(archive, row["members"].split())]
        if not found:
            raise cli.UserError(f"{name}: no file {row['members']} in {archive}. Mend its row in resources/instruction_sets.tsv.")
        pairs = [pair for content in found for pair in FORMATS[row["format"]](content)]
        hits = (index.find([pair[side] for pair in pairs]) for side in (0, 1))
        for (request, answer), *benchmarks in zip(pairs, *hits, strict=True):
            outcome["rows_read"] += 1
            identity = files.sha256_text(f"{KIND} {name} {request} {answer}")[:16]
            contaminated = benchmarks[0] or benchmarks[1]
            if not request or not answer:
                outcome["dropped:empty"] += 1
            elif len(request) + len(answer) > settings["max_characters"]:
                outcome["dropped:length"] += 1
            elif request in seen:
                outcome["dropped:duplicates"] += 1
            elif contaminated:
                outcome[f"contaminated:{contaminated}"] += 1
            else:
                seen.add(request)
                rows.append((identity, row["language"], request, answer, name, row["licence"]))
        counts[name] = outcome
    columns = ["id", "language", "request", "answer", "corpus", "licence"]
    table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row").with_columns(
        kind=pl.lit(KIND), template=pl.lit(""), source_language=pl.col("language"), target_language=pl.col("language")
    )
    return single_turn(table) if rows else SCHEMA.to_frame(), counts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", required=True)
    parser.add_argument("--sets", nargs="+", required=True, metavar="SET=ARCHIVE")
    parser.add_argument("--benchmarks", type=Path, nargs="*", default=[])
    parser.add_argument("--settings", type=cli.json_object, required=True, help="max_characters, decontamination")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    sets = {name: Path(archive) for name, archive in (pair.split("=", 1) for pair in arguments.sets)}
    table, counts = make(sets, contamination.benchmark_lines(arguments.benchmarks), arguments.settings)
    facts = [
        ledger.Fact("instructions", arguments.language, name, measure, count)
        for name, outcome in counts.items()
        for measure, count in sorted(outcome.items())
    ]
    facts.append(ledger.Fact("instructions", arguments.language, KIND, "rows", table.height))
    with files.whole_file(arguments.output) as part:
        table.write_parquet(part)
    ledger.write(arguments.ledger, facts)
    print(f"{arguments.language}: {table.height} general instructions")


if __name__ == "__main__":
    cli.run(main)
