"""Which measures of the output are shown, and which values of them are ill: one table, for every model, baseline and protocol."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LENGTHS = (0.5, 2.0)  # characters of the answers for each character of the references
FAVOURITE = 50  # percent of the answers with one and the same letter


@dataclass(frozen=True)
class Measure:
    """A metric of the scores that says how the output is. It is ill where its value is `above`, or `below`, a percentage.

    `sure`: judged by the end of the 95 % interval, since what was counted is itself a judgement that may err (a copy, a loop, a language);
    else by the value, since what was counted is plain to see.
    """

    metric: str
    heading: str
    words: str = ""  # said after the value
    above: float | None = None
    below: float | None = None
    sure: bool = True

    def ill(self, row: Any) -> bool:
        """Whether a row, with `value`, `low` and `high`, is ill."""
        low, high = (row.low, row.high) if self.sure and row.low == row.low and row.low is not None else (row.value, row.value)
        return (self.above is not None and low > self.above) or (self.below is not None and high < self.below)


MEASURES = (
    Measure("in language", "In language, %"),  # judged against the references, see `faults`
    Measure("references in language", "(references)"),
    Measure("in script", "In script, %", "in the script", below=90),
    Measure("cut rate", "Cut, %", "cut off at their limit", above=5, sure=False),
    Measure("empty rate", "Empty, %", "empty", above=5),
    Measure("same answer rate", "Same answers, %", "given to another item, too", above=5),
    Measure("short rate", "Short, %", "shorter than half the reference", above=20),
    Measure("copy rate", "Copies, %", "copies", above=5),
    Measure("copied example rate", "Copied examples, %", "copies of a worked example", above=5, sure=False),
    Measure("loop rate", "Loops, %", "loops", above=5),
    Measure("thinking rate", "Thinking, %", "with a thinking block", above=5, sure=False),
    Measure("preamble rate", "Preambles, %", "with a line of their own before", above=5, sure=False),
    Measure("wrapped rate", "Wrapped, %", "wrapped in quotes or Markdown", above=5, sure=False),
    Measure("more lines rate", "More lines, %", "with more lines than the source", above=5, sure=False),
    Measure("length ratio", "Length ratio"),  # no percentage: see `faults`
    *(Measure(f"option {letter}", f"{letter}, %", f"say {letter}", above=FAVOURITE, sure=False) for letter in "ABCDEFGHIJ"),
)
NAMES = tuple(measure.metric for measure in MEASURES)


def present(metrics: Iterable[str]) -> list[Measure]:
    """The measures among some metrics, in the order of the table."""
    known = set(metrics)
    return [measure for measure in MEASURES if measure.metric in known]


def faults(found: Mapping[str, Any]) -> list[str]:
    """What is wrong with the output of one direction, in words; `found` has a row, with value and interval, by metric.

    Metrics that the table does not know are passed over.
    """
    wrong = []
    if "in language" in found and "references in language" in found:
        own, wanted = found["in language"], found["references in language"]
        if own.high < wanted.low:
            wrong.append(f"{own.value:.0f} % in the language, the references {wanted.value:.0f} %")
    wrong += [f"{found[one.metric].value:.0f} % {one.words}" for one in MEASURES if one.metric in found and one.ill(found[one.metric])]
    if "length ratio" in found and not LENGTHS[0] <= found["length ratio"].value <= LENGTHS[1]:
        wrong.append(f"length ratio {found['length ratio'].value:.1f}")
    return wrong
