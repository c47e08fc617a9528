"""What got worse: read from the tables as they are written, by the pages and by the printed table alike, so that they cannot differ."""

from typing import Any

import pandas as pd

from ..common import languages
from .significance import LEVEL

BETTER, WORSE, UNCLEAR = "better", "worse", "no clear difference"
LOWER_IS_BETTER = ("TER", "copy rate", "loop rate", "empty rate")


def gain(metric: str, delta: float) -> float:
    """The change, positive where it is for the better."""
    return -delta if metric.removesuffix(" clean") in LOWER_IS_BETTER else delta


def way_of(language: str, direction: str) -> str:
    """A direction in words, or the language of a test that has none."""
    source, _, target = direction.partition("-")
    return f"{languages.get(source).name} → {languages.get(target).name}" if target else languages.get(language).name


def losses(tests: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """Every row of significance.csv in which a model is significantly worse, largest loss first, with its `way` in words."""
    rows = tests[(tests["model"] == model) & (tests["verdict"] == WORSE)].to_dict("records")
    found = [row | {"way": way_of(row["language"], row["direction"])} for row in rows]
    return sorted(found, key=lambda row: (gain(row["metric"], row["delta"]), row["benchmark"], row["way"], row["baseline"]))


def lower_means(over: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """Every row of over_languages.csv whose mean moved for the worse, those with a significant test first."""
    rows = [row for row in over[over["model"] == model].to_dict("records") if gain(row["metric"], row["delta"]) < 0]
    return sorted(rows, key=lambda row: (row["verdict"] != WORSE, gain(row["metric"], row["delta"])))


def loss_said(row: dict[str, Any]) -> str:
    """One loss in words, but for the language and direction."""
    asked = f"{row['metric']} on {row['benchmark']}, {row['protocol']} against {row['baseline']}"
    return f"{asked}: {signed(row['delta'])}, p {p_said(row['p_corrected'])}"


def mean_said(row: dict[str, Any]) -> str:
    """One mean over languages in words, with its test."""
    of = f"{row['n']} language{'s' if row['n'] > 1 else ''} {row['languages']}"
    where = f"{row['metric']} on {row['benchmark']}, {row['direction']}, {row['protocol']} against {row['baseline']}, {of}"
    test = f"no test, {row['reason'].removeprefix('n/a: ')}"
    if not row["reason"]:
        test = f"95 % interval {signed(row['low'])} to {signed(row['high'])}, p {p_said(row['p_value'])}, over {row['test']}"
    return f"{where}: {signed(row['delta'])} ({test})"


def none_said(tests: pd.DataFrame, model: str) -> str:
    """What is said of a model without a loss."""
    return f"No test found a significant loss ({int((tests['model'] == model).sum()):,} tests)."


def blind_said(tests: pd.DataFrame, model: str) -> str:
    """How many tests of a model could have found nothing, whatever the scores; "" where all could."""
    rows = tests[tests["model"] == model]
    blind = rows[(rows["smallest"] >= LEVEL) & (rows["verdict"] == UNCLEAR)]
    if blind.empty:
        return ""
    where = ", ".join(sorted(set(blind["benchmark"])))
    least = f"so few sentences or resamples can give no corrected p value below {blind['smallest'].min():.3g}"
    return f"{len(blind):,} of {len(rows):,} tests can tell nothing, whatever the scores (on {where}): {least}."


def p_said(p_value: float) -> str:
    """A p value with its sign; one just below the level has the digits that show it."""
    near = abs(p_value - LEVEL) < 0.0005
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.{4 if near else 3}f}"


def signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
