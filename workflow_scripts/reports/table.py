"""Print the gain of a trained model on one benchmark as a Markdown table, into and out of English.

    python -m workflow_scripts.reports.table --reports results/reports --benchmark messages

chrF++ of the base model 0-shot and with worked examples, of the trained model 0-shot, and the change against the base 0-shot. An arrow
marks a change that is significant (p < 0.05, two-sided, corrected for the number of languages). Everything is read from significance.csv
(the languages) and over_languages.csv (the means).
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


def rows_of(tests: pd.DataFrame, pivot: str = "eng_Latn") -> pd.DataFrame:
    """One row a language and way, from the tests of one model: base scores, the trained model's score, its change and the verdict on it."""
    rows = []
    for (group, language, direction), found in tests.groupby(["languages", "language", "direction"]):
        if pivot not in direction.split("-"):
            continue
        way = "into English" if direction.endswith(pivot) else "out of English"
        zero_shot = found["baseline"].str.endswith("/0-shot")
        base = found["value"] - found["delta"]
        few = base[~zero_shot].iloc[0] if (~zero_shot).any() else None
        rows.append((group, language, way, base[zero_shot].iloc[0], few, *found[zero_shot].iloc[0][["value", "delta", "verdict"]]))
    return pd.DataFrame(rows, columns=["languages", "language", "way", "zero", "few", "trained", "delta", "verdict"])


def cells(found: pd.DataFrame, mark: str = "") -> str:
    """Base 0-shot, base few-shot, trained, change; means where `found` has several rows."""
    mean = found[["zero", "few", "trained", "delta"]].astype(float).mean()
    few = "–" if pd.isna(mean["few"]) else f"{mean['few']:.1f}"
    return f"{mean['zero']:.1f} | {few} | {mean['trained']:.1f} | {mean['delta']:+.1f}{mark}".replace("-", "−")


def table(rows: pd.DataFrame) -> str:
    """Markdown, trained languages first, then their mean, then those kept out."""
    head = ["language", *(f"{way}: {what}" for way in WAYS.values() for what in ("base", "base, examples", "trained", "change"))]
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
    for name, found in over.groupby("languages", sort=False):
        parts = []
        for row in found.itertuples():
            count = row.better + row.unclear + row.worse
            test = "" if row.reason else f" (95 % interval {row.low:+.1f} to {row.high:+.1f}, p = {row.p_value:.3f})"
            parts.append(f"{row.better} of {count} better, {row.worse} worse {WAYS[row.direction]}, on average {row.delta:+.1f}{test}")
        lines.append(f"Languages {name}: {'; '.join(parts)}.".replace("-", "−"))
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
        frame[(frame["benchmark"] == args.benchmark) & (frame["metric"] == "chrF++") & (frame["protocol"] == "0-shot")]
        for frame in (tests, over)
    )
    if tests.empty:
        raise cli.UserError(f"no trained model has a score on {args.benchmark} in {args.reports / 'significance.csv'}.")
    over = over[over["baseline"].str.endswith("/0-shot") & over["direction"].isin(WAYS)]
    for model, found in tests.groupby("model"):
        rows = rows_of(found)
        print(f"\n{model}, chrF++ on {args.benchmark}\n\n{table(rows)}\n")
        print(summary(over[over["model"] == model], found["correction"].iloc[0]))
        print(worse(all_tests, all_means, str(model)))


if __name__ == "__main__":
    cli.run(main)
