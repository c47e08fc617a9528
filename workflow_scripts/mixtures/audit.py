"""Count the rows of a mixture that hold benchmark text, for every benchmark and language: the proof, or the warning, in the report.

    python -m workflow_scripts.mixtures.audit --mixture laptop.parquet --benchmarks-folder results/benchmarks --settings '{...}' \\
        --ledger laptop.audit.csv

Each turn is searched for the benchmark's text in the row's two languages. The ledger also says why a language was not drawn at all: it
is written here and not by the draw, so that a language that is only scored never changes what was trained on.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from ..common import cli, contamination, ledger


def parts(turn: str) -> list[str]:
    """A turn, its lines, and its lines without their label ("German: ..."): a short test sentence is known by itself only."""
    lines = turn.splitlines()
    return [turn, *lines, *(line.split(": ", 1)[1] for line in lines if ": " in line)]


def audit(mixture: pl.DataFrame, name: str, folder: Path, settings: dict[str, Any]) -> list[ledger.Fact]:
    """`rows_contaminated:<benchmark>` for each language and benchmark, and a reason for each language that has no row."""
    drawn, facts = set(mixture["language"]), []
    for language in settings["languages"]:
        if language not in drawn:
            reason = "kept out of training" if language in settings["kept_out"] else "no instruction was drawn in this language"
            facts.append(ledger.Fact("mixtures", language, name, "rows_drawn", reason=f"n/a: {reason}"))
    for benchmark in settings["benchmarks"]:
        files = [folder / benchmark / f"{language}.json" for language in settings["languages"]]
        lines = contamination.benchmark_lines(files)
        indexes = {code: contamination.Index(texts, settings["decontamination"]) for code, texts in lines.items()}
        count: Counter[str] = Counter()
        for source, target, language, messages in mixture.select("source_language", "target_language", "language", "messages").iter_rows():
            searched = [indexes[code] for code in {source, target} if code in indexes]
            texts = [text for turn in messages for text in parts(turn["content"])]
            count[language] += any(index.find(text) for index in searched for text in texts)
        facts += [
            ledger.Fact("mixtures", language, name, f"rows_contaminated:{benchmark}", count[language]) for language in settings["languages"]
        ]
    return facts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixture", type=Path, required=True)
    parser.add_argument("--benchmarks-folder", type=Path, required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="languages, kept_out, benchmarks, decontamination")
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    facts = audit(pl.read_parquet(arguments.mixture), arguments.mixture.stem, arguments.benchmarks_folder, arguments.settings)
    ledger.write(arguments.ledger, facts)
    print(f"{sum(int(fact.value or 0) for fact in facts)} rows hold benchmark text")


if __name__ == "__main__":
    cli.run(main)
