"""Print the gain of a trained model on one benchmark as a Markdown table, into and out of English.

    python -m workflow_scripts.reports.table --scores results/reports/scores.csv --ledger results/reports/ledger.csv --benchmark messages

chrF++ of the base model 0-shot and with worked examples, of the trained model 0-shot, and the change against the base 0-shot. An arrow
marks a change that sacrebleu's paired bootstrap calls significant (p < 0.05, two-sided: twice the value in scores.csv).
"""

import argparse
from pathlib import Path

import pandas as pd

from ..common import cli, languages, ledger


def rows_of(scores: pd.DataFrame, model: str, kept_out: set[str], pivot: str = "eng_Latn") -> pd.DataFrame:
    """One row a language and direction: base scores, the trained model's score, change and its p value."""
    chrf = scores[(scores["metric"] == "chrF++") & scores["value"].notna()]
    trained = chrf[(chrf["model"] == model) & (chrf["protocol"] == "0-shot")]
    rows = []
    for (language, direction), found in trained.groupby(["language", "direction"]):
        if pivot not in direction.split("-"):
            continue
        same = found[found["baseline"].str.endswith("/0-shot")].iloc[0]
        base = chrf[(chrf["model"] == same["baseline"].split("/")[0]) & (chrf["direction"] == direction)]
        values = dict(zip(base["protocol"], base["value"], strict=True))
        few_shot = [value for protocol, value in values.items() if protocol != "0-shot"]
        way = "in" if direction.endswith(pivot) else "out"
        rows.append(
            (language, way, language in kept_out, values["0-shot"], few_shot[0] if few_shot else None, *same[["value", "delta", "p_value"]])
        )
    columns = ["language", "way", "kept_out", "zero", "few", "trained", "delta", "p_value"]
    return pd.DataFrame(rows, columns=columns)


def cells(found: pd.DataFrame) -> str:
    """Base 0-shot, base few-shot, trained, change; means where `found` has several rows."""
    mean = found[["zero", "few", "trained", "delta"]].astype(float).mean()
    mark = ""
    if len(found) == 1 and 2 * found["p_value"].iloc[0] < 0.05:
        mark = " ▲" if mean["delta"] > 0 else " ▼"
    few = "–" if pd.isna(mean["few"]) else f"{mean['few']:.1f}"
    return f"{mean['zero']:.1f} | {few} | {mean['trained']:.1f} | {mean['delta']:+.1f}{mark}".replace("-", "−")


def table(rows: pd.DataFrame) -> str:
    """Markdown, trained languages first, then their mean, then those kept out."""
    head = [
        "language",
        *(f"{way}: {what}" for way in ("into English", "out of English") for what in ("base", "base, examples", "trained", "change")),
    ]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for kept_out, group in rows.groupby("kept_out"):
        for language, found in group.groupby("language"):
            both = " | ".join(cells(found[found["way"] == way]) for way in ("in", "out"))
            lines.append(f"| {languages.get(str(language)).name}{' (kept out)' if kept_out else ''} | {both} |")
        both = " | ".join(f"**{cells(group[group['way'] == way]).replace(' | ', '** | **')}**" for way in ("in", "out"))
        lines.append(f"| **mean of {group['language'].nunique()} {'kept out' if kept_out else 'in training'}** | {both} |")
    inside = rows[~rows["kept_out"]]
    better = [int(((2 * part["p_value"] < 0.05) & (part["delta"] > 0)).sum()) for _, part in inside.groupby("way")]
    worse = int(((2 * rows["p_value"] < 0.05) & (rows["delta"] < 0)).sum())
    total = inside["language"].nunique()
    lines += [
        "",
        f"Significantly better: {better[0]} of {total} trained languages into English, {better[1]} of {total} out of it; worse: {worse}.",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, default=Path("results/reports/scores.csv"))
    parser.add_argument("--ledger", type=Path, default=Path("results/reports/ledger.csv"))
    parser.add_argument("--benchmark", default="messages")
    args = parser.parse_args(argv)
    scores = pd.read_csv(args.scores, keep_default_na=False, na_values={"value": "", "delta": "", "p_value": ""})
    scores = scores[scores["benchmark"] == args.benchmark]
    models = sorted(set(scores.loc[scores["baseline"] != "", "model"]))
    if not models:
        raise cli.UserError(f"no trained model has a score on {args.benchmark} in {args.scores}.")
    kept_out = {fact.language for fact in ledger.read(args.ledger) if fact.reason == "n/a: kept out of training"}
    for model in models:
        print(f"\n{model}, chrF++ on {args.benchmark}\n\n{table(rows_of(scores, model, kept_out))}")


if __name__ == "__main__":
    cli.run(main)
