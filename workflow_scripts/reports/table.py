"""Print the gain of a trained model on one benchmark as a Markdown table, into and out of English.

    python -m workflow_scripts.reports.table --reports results/reports --benchmark messages

Both models are asked in the same way: with as many worked examples as there are, else without. chrF++ of the base, of the trained model,
and the change. An arrow marks a change that is significant (p < 0.05, two-sided, corrected for the number of languages). Below stand the
means, for this and every other way of asking. All is read from significance.csv (the languages) and over_languages.csv (the means).
"""

import argparse
from pathlib import Path

import pandas as pd

from ..common import cli, languages
from . import verdicts
from .run import KEPT_OUT, TRAINED
from .significance import CORRECTIONS, FEWEST, LEVEL
from .verdicts import BETTER, WORSE

ARROWS = {BETTER: " ▲", WORSE: " ▼"}
WAYS = {"X → English": "into English", "English → X": "out of English"}


def headline(tests: pd.DataFrame) -> str:
    """The way of asking that both models are compared in: with the most worked examples, so that no gain is that of knowing the form."""
    shots = tests["protocol"].str.extract(r"^(\d+)-shot$")[0].dropna().astype(int)
    return f"{shots.max()}-shot" if len(shots) else "0-shot"


def asked_alike(frame: pd.DataFrame) -> pd.Series:
    """Rows in which the base was asked in the same way as the trained model."""
    return frame["baseline"].str.rsplit("/", n=1).str[-1] == frame["protocol"]


def rows_of(tests: pd.DataFrame, pivot: str = "eng_Latn") -> pd.DataFrame:
    """One row a language and way, from the tests of one model: its base's score, its own, the change and the verdict on it."""
    tests = tests[tests["direction"].str.split("-").map(lambda ends: pivot in ends)]
    return tests.assign(
        way=tests["direction"].str.endswith(pivot).map({True: "into English", False: "out of English"}),
        base=tests["value"] - tests["delta"],
    )


def cells(found: pd.DataFrame, mark: str = "") -> str:
    """Base, trained, change; means where `found` has several rows."""
    mean = found[["base", "value", "delta"]].astype(float).mean()
    return f"{mean['base']:.1f} | {mean['value']:.1f} | {mean['delta']:+.1f}{mark}".replace("-", "−")


def table(rows: pd.DataFrame) -> str:
    """Markdown, trained languages first, then their mean, then those kept out."""
    head = ["language", *(f"{way}: {what}" for way in WAYS.values() for what in ("base", "trained", "change"))]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, title in ((TRAINED, "in training"), (KEPT_OUT, KEPT_OUT)):
        group = rows[rows["languages"] == name]
        for language, found in group.groupby("language"):
            sides = [found[found["way"] == way] for way in WAYS.values()]
            both = " | ".join(cells(side, *side["verdict"].map(ARROWS).fillna("")) for side in sides)
            lines.append(f"| {languages.get(str(language)).name}{' (kept out)' if name == KEPT_OUT else ''} | {both} |")
        if len(group):
            both = " | ".join(f"**{cells(group[group['way'] == way]).replace(' | ', '** | **')}**" for way in WAYS.values())
            lines.append(f"| **mean of {group['language'].nunique()} {title}** | {both} |")
    return "\n".join(lines)


def summary(over: pd.DataFrame, correction: str) -> str:
    """Wins and losses and the tests of the means, from the rows of over_languages.csv against the base asked in the same way."""
    lines = []
    for (protocol, name), found in over.groupby(["protocol", "languages"], sort=False):
        parts = []
        for row in found.itertuples():
            count = row.better + row.unclear + row.worse
            test = "" if row.reason else f" (95 % interval {row.low:+.1f} to {row.high:+.1f}, p = {row.p_value:.3f})"
            parts.append(f"{row.better} of {count} better, {row.worse} worse {WAYS[row.direction]}, on average {row.delta:+.1f}{test}")
        lines.append(f"Asked {protocol}, languages {name}: {'; '.join(parts)}.".replace(" -", " −"))
    lines.append(f"Better and worse: p < {LEVEL}, {CORRECTIONS[correction]}.")
    if (over["reason"] != "").any():
        lines[-1] += f" A mean of fewer than {FEWEST} languages can never reach that, so it has neither interval nor p value."
    return "\n".join(lines)


def worse(tests: pd.DataFrame, over: pd.DataFrame, model: str) -> str:
    """What got worse in any test, metric and protocol, and every mean that did, as the report's pages have it."""
    losses = verdicts.losses(tests, model)
    lines = ["Significantly worse, over all tests:" if losses else verdicts.none_said(tests, model)]
    lines += [f"  {row['way']}, {verdicts.loss_said(row)}" for row in losses]
    means = verdicts.lower_means(over, model)
    if sure := [row for row in means if row["verdict"] == WORSE]:
        lines += ["Means over languages that are significantly worse:", *(f"  {verdicts.mean_said(row)}" for row in sure)]
    if len(means) > len(sure):
        lines.append(f"{len(means) - len(sure)} more means are lower, without a test that says so (over_languages.csv).")
    if blind := verdicts.blind_said(tests, model):
        lines.append(blind)
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, default=Path("results/reports"), help="folder of significance.csv and over_languages.csv")
    parser.add_argument("--benchmark", default="messages")
    args = parser.parse_args(argv)
    paths = [args.reports / name for name in ("significance.csv", "over_languages.csv")]
    if missing := [path for path in paths if not path.is_file()]:
        raise cli.UserError(f"{missing[0]} is missing. Make it first: snakemake {missing[0]}")
    tests, over = (pd.read_csv(path, keep_default_na=False, na_values={"low": "", "high": "", "p_value": ""}) for path in paths)
    all_tests, all_means = tests, over
    tests, over = (
        frame[(frame["benchmark"] == args.benchmark) & (frame["metric"] == "chrF++") & asked_alike(frame)] for frame in (tests, over)
    )
    if tests.empty:
        raise cli.UserError(f"no trained model has a score on {args.benchmark} in {args.reports / 'significance.csv'}.")
    protocol = headline(tests)
    over = over[over["direction"].isin(WAYS)].sort_values("protocol", key=lambda column: column != protocol, kind="stable")
    for model, found in tests.groupby("model"):
        rows = rows_of(found[found["protocol"] == protocol])
        print(f"\n{model} and its base, both asked {protocol}: chrF++ on {args.benchmark}\n\n{table(rows)}\n")
        print(summary(over[over["model"] == model], found["correction"].iloc[0]))
        print(worse(all_tests, all_means, str(model)))


if __name__ == "__main__":
    cli.run(main)
