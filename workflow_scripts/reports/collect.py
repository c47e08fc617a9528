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

# The columns of scores.csv, in order, with their types; `null` is an empty cell.
COLUMNS = {
    "model": "str", "benchmark": "str", "version": "str", "language": "str", "direction": "str", "protocol": "str",
    "metric": "str", "value": "float64", "low": "float64", "high": "float64", "n": "Int64", "signature": "str",
    "baseline": "str", "delta": "float64", "p_value": "float64", "reason": "str",
}  # fmt: skip
IDENTITY = ["model", "benchmark", "language", "direction", "protocol", "metric", "baseline"]
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
    """Write the three tables; `settings` are those of `check_complete`."""
    scores = read_scores(score_paths)
    facts = read_ledgers(ledger_paths)
    check_complete(scores, facts, settings)
    with files.whole_file(scores_csv) as part:
        scores.to_csv(part, index=False, lineterminator="\n")
    with files.whole_file(scores_parquet) as part:
        scores.to_parquet(part, index=False)
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
    # Later stages know only the languages of their mixture, so completeness is asked of these.
    stages = ["corpora", "instructions"] + (["mixtures"] if run["mixtures"] else [])
    settings = {"languages": run["languages"], "stages": stages, "evaluate": run["evaluate"]}
    score_paths, ledger_paths = (map(Path, paths(run, args.results)) for paths in (config.score_files, config.ledger_files))
    collect(score_paths, ledger_paths, settings, args.scores_csv, args.scores_parquet, args.ledger_csv)


if __name__ == "__main__":
    cli.run(main)
