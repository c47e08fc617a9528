"""The language ledger: what became of every language in every stage, in one tidy shape.

A ledger is a CSV file with the columns `stage, language, subject, measure, value, reason`, one row a fact. `subject` is what is
counted (a corpus, a mixture, a model and benchmark), `measure` what of it (rows_read, dropped:<filter>, share_planned ...).
`value` is a number; where there is none, `reason` says why ("n/a: no corpus"). Exactly one of the two is filled.
"""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from .cli import UserError
from .files import whole_file

COLUMNS = ("stage", "language", "subject", "measure", "value", "reason")


@dataclass(frozen=True)
class Fact:
    """One row of a ledger."""

    stage: str
    language: str
    subject: str
    measure: str
    value: float | int | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) == (not self.reason):
            raise ValueError(f"a fact has a value or a reason, not both and not neither: {self}")


def write(path: Path, facts: Iterable[Fact]) -> None:
    """Write a ledger. A ledger without a row would be a silent gap, so it is an error."""
    rows = [asdict(fact) for fact in facts]
    if not rows:
        raise ValueError(f"{path}: a ledger needs at least one fact")
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            value = row["value"]
            writer.writerow(row | {"value": "" if value is None else f"{value:.6g}" if isinstance(value, float) else value})


def read(path: Path) -> list[Fact]:
    """Read a ledger back; numbers without a fraction come as int."""
    facts = []
    with Path(path).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if set(row) != set(COLUMNS):
                raise UserError(f"{path} is not a ledger: its columns are {', '.join(row)}. Delete it and run again.")
            number = float(row["value"]) if row["value"] else None
            value = int(number) if number is not None and number.is_integer() else number
            facts.append(Fact(row["stage"], row["language"], row["subject"], row["measure"], value, row["reason"]))
    return facts
