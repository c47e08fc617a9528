"""What became of the text of all languages together: each stage's counts summed, with the number of languages that have any.

    python -m workflow_scripts.reports.totals --ledger results/reports/ledger.csv

Prints Markdown, one table a stage of the data: a line a count, a column a corpus, kind or mixture.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..common import cli, ledger

STAGES = ("corpora", "instructions", "mixtures")
ORDER = ("rows_read", "changed", "dropped", "contaminated", "rows_kept")  # what comes first of a stage; the rest follows by name


@dataclass
class Total:
    """One count of a stage: how many languages have any, its sum for each subject, and over all subjects."""

    measure: str
    languages: int
    values: list[int | None]
    all: int


def totals(facts: Iterable[ledger.Fact], stage: str) -> tuple[list[str], list[Total]]:
    """The subjects of a stage and its counts; shares and reasons are no counts."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    having: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        if fact.stage == stage and fact.value and not fact.measure.startswith("share_"):
            sums[fact.measure][fact.subject] += int(fact.value)
            having[fact.measure].add(fact.language)
    subjects = sorted({subject for values in sums.values() for subject in values})
    return subjects, [
        Total(
            measure.replace("_", " ").replace(":", ": "),
            len(having[measure]),
            [values.get(name) for name in subjects],
            sum(values.values()),
        )
        for measure, values in sorted(sums.items(), key=lambda item: _place(item[0]))
    ]


def _place(measure: str) -> tuple[int, str]:
    name = measure.split(":")[0]
    return ORDER.index(name) if name in ORDER else len(ORDER), measure


def table(subjects: list[str], found: list[Total]) -> str:
    """Markdown; the column over all subjects is left out where there is one subject."""
    several = len(subjects) > 1
    lines = [["rows", "languages", *subjects, *(["all"] if several else [])]]
    for one in found:
        values = [*one.values, *([one.all] if several else [])]
        lines.append([one.measure, str(one.languages), *("" if value is None else f"{value:,}" for value in values)])
    lines.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", type=Path, default=Path("results/reports/ledger.csv"))
    arguments = parser.parse_args(argv)
    if not arguments.ledger.is_file():
        raise cli.UserError(f"{arguments.ledger} is missing. Make it first: snakemake {arguments.ledger}")
    facts = ledger.read(arguments.ledger)
    for stage in STAGES:
        subjects, found = totals(facts, stage)
        if found:
            print(f"\n{stage}, over {len({fact.language for fact in facts if fact.stage == stage})} languages\n\n{table(subjects, found)}")


if __name__ == "__main__":
    cli.run(main)
