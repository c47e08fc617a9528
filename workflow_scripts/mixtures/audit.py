"""Count the rows of a mixture that hold benchmark text, for every benchmark and language: the proof, or the warning, in the report.

    python -m workflow_scripts.mixtures.audit --mixture laptop.parquet --benchmarks-folder results/benchmarks --settings '{...}' \\
        --ledger laptop.audit.csv

Each turn is searched for the benchmark's text in the row's two languages.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from ..common import cli, contamination, ledger


def audit(mixture: pl.DataFrame, name: str, folder: Path, settings: dict[str, Any]) -> list[ledger.Fact]:
    """One fact for each language and benchmark: `rows_contaminated:<benchmark>`."""
    facts = []
    for benchmark in settings["benchmarks"]:
        files = [folder / benchmark / f"{language}.json" for language in settings["languages"]]
        lines = contamination.benchmark_lines(files)
        indexes = {code: contamination.Index(texts, settings["decontamination"]) for code, texts in lines.items()}
        count: Counter[str] = Counter()
        for source, target, language, messages in mixture.select("source_language", "target_language", "language", "messages").iter_rows():
            searched = [indexes[code] for code in {source, target} if code in indexes]
            count[language] += any(index.find(turn["content"]) for index in searched for turn in messages)
        facts += [
            ledger.Fact("mixtures", language, name, f"rows_contaminated:{benchmark}", count[language]) for language in settings["languages"]
        ]
    return facts or [
        ledger.Fact("mixtures", language, name, "rows_contaminated", reason="n/a: no benchmark") for language in settings["languages"]
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixture", type=Path, required=True)
    parser.add_argument("--benchmarks-folder", type=Path, required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="languages, benchmarks, decontamination")
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    facts = audit(pl.read_parquet(arguments.mixture), arguments.mixture.stem, arguments.benchmarks_folder, arguments.settings)
    ledger.write(arguments.ledger, facts)
    print(f"{sum(int(fact.value or 0) for fact in facts)} rows hold benchmark text")


if __name__ == "__main__":
    cli.run(main)
