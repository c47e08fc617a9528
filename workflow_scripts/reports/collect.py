"""Join all scores into one tidy table and all ledgers into one, and stop where a language is not accounted for.

By hand:

    python -m workflow_scripts.reports.collect --config results/reports/config.json --results results
        --scores-csv results/reports/scores.csv --scores-parquet results/reports/scores.parquet
        --ledger-csv results/reports/ledger.csv
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd

from ..common import cli, config, files, ledger, tables
from ..common.cli import UserError
from .run import VIEWS

# The columns of scores.csv, in order, with their types; `null` is an empty cell.
COLUMNS = {
    "model": "str", "benchmark": "str", "version": "str", "language": "str", "direction": "str", "protocol": "str",
    "metric": "str", "value": "float64", "low": "float64", "high": "float64", "n": "Int64", "signature": "str",
    "baseline": "str", "delta": "float64", "p_value": "float64", "reason": "str",
}  # fmt: skip
IDENTITY = ["model", "benchmark", "language", "direction", "protocol", "metric", "baseline"]
GAINS = ["model", "benchmark", "language", "direction", "protocol", "metric", "baseline", "passage", "questions", *VIEWS]
STAGES = ("corpora", "instructions", "mixtures", "models", "predictions", "scores")


def check_rows(rows: Iterable[dict[str, Any]], schema: Path, where: Path) -> None:
    """Check each row against its schema; the first that breaks it is a `UserError` naming file and row."""
    validator = jsonschema.Draft202012Validator(files.read_json(schema))
    for number, row in enumerate(rows, 1):
        if not validator.is_valid(row):
            tables.check(row, schema, f"{where} row {number}")


def read_scores(paths: Iterable[Path]) -> pd.DataFrame:
    """All score rows, sorted by what they are about. A score that is there twice is a `UserError`."""
    rows: list[dict[str, Any]] = []
    for path in paths:
        found = files.read_json(path)["scores"]
        check_rows(found, tables.SCHEMAS / "scores.schema.json", path)
        rows += found
    twice = [key for key, count in Counter(tuple(row[name] for name in IDENTITY) for row in rows).items() if count > 1]
    if twice:
        raise UserError(f"the score of {' '.join(twice[0])} is there twice: the list of score files names it twice.")
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return frame.sort_values(IDENTITY, ignore_index=True)


def read_gains(paths: Iterable[Path]) -> pd.DataFrame:
    """What each passage gained in every paired test of multiple choice: a row a passage, with the columns `GAINS`."""
    found = []
    for path in paths:
        made = files.read_json(path)
        names = {name: made["scores"][0][name] for name in ("model", "benchmark", "language")}
        for test in made.get("gains", ()):
            found.append(pd.DataFrame(names | {"passage" if name == "passages" else name: value for name, value in test.items()}))
    frame = pd.concat(found, ignore_index=True)[GAINS] if found else pd.DataFrame(columns=GAINS)
    return frame.sort_values(GAINS[:8], ignore_index=True)


def answer_facts(scores: pd.DataFrame) -> list[ledger.Fact]:
    """The facts of the stages predictions and scores, as the scores tell them, for each language, model and benchmark.

    Predictions: items answered over all directions and protocols, those whose answer was cut off, is empty or names no option, and why
    a direction has none. Scores: how many there are, and why a metric has none.
    """
    facts = []
    for (language, model, benchmark), rows in scores.groupby(["language", "model", "benchmark"], sort=True):
        subject = f"{model}/{benchmark}"
        once = rows.drop_duplicates(["direction", "protocol", "metric"])
        values = once[once["value"].notna()]
        asked = values.groupby(["direction", "protocol"])["n"].max()
        if len(asked):
            facts.append(ledger.Fact("predictions", str(language), subject, "items", value=int(asked.sum())))
        for metric, measure in (("cut rate", "items_cut"), ("empty rate", "items_empty")):
            part = values[values["metric"] == metric]
            if len(part):
                count = round(float((part["value"] * part["n"].astype(float)).sum()) / 100)
                facts.append(ledger.Fact("predictions", str(language), subject, measure, value=count))
        unread = values[values["metric"] == "unparseable"]
        if len(unread):
            facts.append(ledger.Fact("predictions", str(language), subject, "items_unparseable", value=int(unread["value"].sum())))
        for way, part in once.groupby(["direction", "protocol"]):
            if way not in asked.index:
                measure = "items" if not len(asked) and part["reason"].nunique() == 1 else f"items:{' '.join(map(str, way))}"
                facts.append(ledger.Fact("predictions", str(language), subject, measure, reason=str(part["reason"].iloc[0])))
        if count := int(rows["value"].notna().sum()):
            facts.append(ledger.Fact("scores", str(language), subject, "rows", value=count))
        for (metric, reason), _ in once[once["reason"] != ""].groupby(["metric", "reason"]):
            facts.append(ledger.Fact("scores", str(language), subject, f"rows:{metric}", reason=str(reason)))
    return list(dict.fromkeys(facts))


def absences(facts: Iterable[ledger.Fact], run: dict[str, Any]) -> list[ledger.Fact]:
    """A named reason for each language and stage of the config that no ledger speaks of, because the stage had nothing to do for it."""
    known = {(fact.stage, fact.language) for fact in facts}
    trained = {(fact.language, fact.subject) for fact in facts if fact.stage == "models"}
    undrawn: dict[tuple[str, str], str] = {}
    for fact in facts:
        if fact.stage == "mixtures" and fact.measure == "rows_drawn" and fact.reason:
            undrawn[fact.language, fact.subject] = fact.reason
    models = {name: model["mixture"] for name, model in run["models"].items() if "mixture" in model}
    evaluated = bool(run["evaluate"]["models"])
    found = []
    for language in run["languages"]:
        if ("mixtures", language) not in known and not run["mixtures"]:
            found.append(ledger.Fact("mixtures", language, "all", "rows_drawn", reason="n/a: this run makes no mixture"))
        for model, mixture in models.items():
            if (language, model) not in trained and (reason := undrawn.get((language, mixture))):
                found.append(ledger.Fact("models", language, model, "rows", reason=reason))
        if ("models", language) not in known and not models:
            found.append(ledger.Fact("models", language, "all", "rows", reason="n/a: this run trains no model"))
        if not evaluated:
            for stage, measure in (("predictions", "items"), ("scores", "rows")):
                found.append(ledger.Fact(stage, language, "all", measure, reason="n/a: this run evaluates no model"))
    return found


def read_ledgers(paths: Iterable[Path]) -> list[ledger.Fact]:
    """All facts, by stage in the order data flows, then language, subject and measure."""
    facts: list[ledger.Fact] = []
    for path in paths:
        found = ledger.read(path)
        check_rows(map(asdict, found), tables.SCHEMAS / "ledger.schema.json", path)
        facts += found
    return sorted(facts, key=lambda fact: (STAGES.index(fact.stage), fact.language, fact.subject, fact.measure))


def check_complete(scores: pd.DataFrame, facts: Iterable[ledger.Fact], settings: dict[str, Any]) -> None:
    """Every language has a fact in each of `stages`, and a score or a reason for each model and benchmark of `evaluate`."""
    counted = {(fact.language, fact.stage) for fact in facts}
    wanted_facts = product(settings["languages"], settings["stages"])
    gaps = [f"{language}: nothing in the ledger of stage {stage}" for language, stage in wanted_facts if (language, stage) not in counted]
    evaluate = settings.get("evaluate") or {"models": [], "benchmarks": []}
    scored = set(zip(scores["language"], scores["model"], scores["benchmark"], strict=True))
    for wanted in product(settings["languages"], evaluate["models"], [*evaluate["benchmarks"], *evaluate.get("harness", ())]):
        if wanted not in scored:
            gaps.append(f"{wanted[0]}: neither a score nor a reason in stage scores for model {wanted[1]} on {wanted[2]}")
    if gaps:
        more = f" (and {len(gaps) - 1} more gaps)" if len(gaps) > 1 else ""
        raise UserError(f"{gaps[0]}{more}. Every language must be accounted for: run that stage again for it.")


def collect(
    score_paths: Iterable[Path],
    ledger_paths: Iterable[Path],
    settings: dict[str, Any],
    scores_csv: Path,
    scores_parquet: Path,
    ledger_csv: Path,
) -> None:
    """Write the three tables, and gains.parquet beside the scores; `settings` are those of `check_complete`.

    With `run`, the whole config, in the settings, each language and stage without a fact gets the reason why; else it is a gap.
    """
    score_paths = list(score_paths)
    scores, gains = read_scores(score_paths), read_gains(score_paths)
    facts = read_ledgers(ledger_paths)
    told = {(fact.stage, fact.language, fact.subject) for fact in facts}
    facts += [fact for fact in answer_facts(scores) if (fact.stage, fact.language, fact.subject) not in told]
    facts += absences(facts, settings["run"]) if "run" in settings else []
    facts.sort(key=lambda fact: (STAGES.index(fact.stage), fact.language, fact.subject, fact.measure))
    check_complete(scores, facts, settings)
    with files.whole_file(scores_csv) as part:
        scores.to_csv(part, index=False, lineterminator="\n")
    for path, frame in ((scores_parquet, scores), (scores_parquet.with_name("gains.parquet"), gains)):
        with files.whole_file(path) as part:
            frame.to_parquet(part, index=False)
    ledger.write(ledger_csv, facts)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=Path, help="the whole config of the run, as JSON")
    parser.add_argument("--results", required=True, help="the folder with all stages' files")
    parser.add_argument("--scores-csv", required=True, type=Path)
    parser.add_argument("--scores-parquet", required=True, type=Path)
    parser.add_argument("--ledger-csv", required=True, type=Path)
    args = parser.parse_args(argv)
    run = files.read_json(args.config)
    settings = {"languages": run["languages"], "stages": STAGES, "evaluate": run["evaluate"], "run": run}
    score_paths, ledger_paths = (map(Path, paths(run, args.results)) for paths in (config.score_files, config.ledger_files))
    collect(score_paths, ledger_paths, settings, args.scores_csv, args.scores_parquet, args.ledger_csv)


if __name__ == "__main__":
    cli.run(main)
