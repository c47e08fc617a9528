"""Score the predictions of one model for one language of one benchmark, beside its baselines.

By hand:

    python -m workflow_scripts.scores.score --model lifted --benchmark-folder results/benchmarks/udhr --language deu_Latn
        --predictions results/predictions/lifted/udhr/deu_Latn.jsonl
        --baseline base=results/predictions/base/udhr/deu_Latn.jsonl
        --settings '{"metrics": ["chrF++", "BLEU"], "resamples": 1000}' --output results/scores/lifted/udhr/deu_Latn.json
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..common import cli, files, tables
from ..common.cli import UserError
from . import choice, translation

SCHEMA = tables.SCHEMAS / "scores.schema.json"
EMPTY: dict[str, Any] = {
    "value": None, "low": None, "high": None, "n": None, "signature": "",
    "baseline": "", "delta": None, "p_value": None, "reason": "",
}  # fmt: skip

AGAIN = "Delete the file and run the predictions again."

Answers = dict[Any, str]  # by item
Groups = dict[tuple[str, str], Answers | str]  # by direction and protocol: the answers, or the reason why there are none


def read_predictions(path: Path) -> Groups:
    """Answers by direction and protocol. An item answered twice is a `UserError`, and so is a file without a line."""
    groups: Groups = {}
    for row in files.read_jsonl(path):
        key = (row["direction"], row["protocol"])
        if row.get("reason"):
            groups[key] = row["reason"]
            continue
        answers = groups.setdefault(key, {})
        if isinstance(answers, str):
            raise UserError(f"{path}: {' '.join(key)} has both a reason and answers. {AGAIN}")
        if row["item"] in answers:
            raise UserError(f"{path}: item {row['item']} of {' '.join(key)} is there twice. {AGAIN}")
        answers[row["item"]] = row["answer"]
    if not groups:
        raise UserError(f"{path} has no line. {AGAIN}")
    return groups


def paired(key: tuple[str, str], answers: Answers, baselines: dict[str, Groups], benchmark: str) -> Iterator[tuple[str, Answers]]:
    """The answers each baseline is compared by, named "<model>/<protocol>".

    That is the baseline under the same protocol, and with worked examples (few-shot) where those predictions exist: without
    them a base model cannot know what it is asked for. Raises `UserError` where one side lacks predictions or single items.
    """
    direction, protocol = key
    for model, groups in baselines.items():
        offered = {shots for (way, shots), found in groups.items() if way == direction and not isinstance(found, str)}
        few_shot = sorted(shots for shots in offered if re.fullmatch(r"[1-9]\d*-shot", shots) and shots != protocol)
        for shots in (protocol, *few_shot):
            where = f"{benchmark} {direction}: the baseline {model}/{shots}"
            others = groups.get((direction, shots), "no such predictions")
            if isinstance(others, str):
                raise UserError(f"{where} has nothing to compare with ({others}). {AGAIN}")
            if odd := sorted(set(answers) ^ set(others), key=str):
                raise UserError(f"{where} and the model did not answer the same items: item {odd[0]} is missing. {AGAIN}")
            yield f"{model}/{shots}", others


def references(folder: Path, language: str) -> dict[Any, str]:
    """Test sentences of one language by item number."""
    benchmark = files.read_json(folder / f"{language}.json")
    return {item["item"]: item["text"] for item in benchmark["items"] if item["split"] == "devtest"}


def score_translation(folder: Path, groups: Groups, baselines: dict[str, Groups], settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows for a benchmark of shape flores."""
    resamples = settings["resamples"]
    for key, answers in groups.items():
        direction, protocol = key
        here = {"direction": direction, "protocol": protocol}
        if isinstance(answers, str):
            yield from (here | {"metric": name, "reason": answers} for name in (*settings["metrics"], *translation.HEALTH))
            continue
        source, target = direction.split("-")
        texts = {language: references(folder, language) for language in (source, target)}
        for language, known in texts.items():
            if lost := sorted(set(answers) - set(known)):
                raise UserError(f"{folder.name} {direction}: item {lost[0]} is answered, but {language} has no such test sentence.")
        items = sorted(answers)
        hypotheses = [answers[item] for item in items]
        wanted = [texts[target][item] for item in items]
        metrics = translation.build(settings["metrics"], wanted, target)
        rows = {}
        for name, metric in metrics.items():
            found = translation.estimate(metric, hypotheses, resamples)
            rows[name] = here | vars(found) | {"metric": name, "n": len(items)}
        pairs = list(paired(key, answers, baselines, folder.name))
        for baseline, others in pairs:
            tests = translation.compare(metrics, [others[item] for item in items], hypotheses, resamples)
            for name, (delta, p_value) in tests.items():
                yield rows[name] | {"baseline": baseline, "delta": delta, "p_value": p_value}
        if not pairs:
            yield from rows.values()
        for name, (value, signature) in translation.health([texts[source][item] for item in items], hypotheses, wanted).items():
            yield here | {"metric": name, "value": value, "n": len(items), "signature": signature}


def score_choice(
    benchmark: dict[str, Any], groups: Groups, baselines: dict[str, Groups], settings: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Rows for a benchmark of shape belebele."""
    questions = {item["item"]: item for item in benchmark["items"]}
    for key, answers in groups.items():
        direction, protocol = key
        here = {"direction": direction, "protocol": protocol, "metric": "accuracy"}
        if isinstance(answers, str):
            yield here | {"reason": answers}
            continue
        if lost := sorted(set(answers) - set(questions)):
            raise UserError(f"{benchmark['benchmark']} {direction}: item {lost[0]} is answered, but there is no such question.")
        items = sorted(answers)
        right = [answers[item] == questions[item]["correct_answer_num"] for item in items]
        low, high = choice.wilson(sum(right), len(items))
        row = here | {"value": 100 * sum(right) / len(items), "low": low, "high": high, "n": len(items)}
        row["signature"] = choice.signature(protocol, settings["resamples"])
        pairs = list(paired(key, answers, baselines, benchmark["benchmark"]))
        for baseline, others in pairs:
            base_right = [others[item] == questions[item]["correct_answer_num"] for item in items]
            passages = [questions[item]["link"] for item in items]
            delta, p_value = choice.compare(passages, base_right, right, settings["resamples"])
            yield row | {"baseline": baseline, "delta": delta, "p_value": p_value}
        if not pairs:
            yield row


def score(
    model: str, folder: Path, language: str, predictions: Path, baselines: dict[str, Path], settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """All rows of one model, benchmark and language, in the form of schemas/scores.schema.json."""
    settings = {"resamples": 1000} | settings
    translation.check_names(settings["metrics"])
    benchmark = files.read_json(folder / f"{language}.json")
    groups = read_predictions(predictions)
    others = {name: read_predictions(path) for name, path in baselines.items()}
    if benchmark["shape"] == "flores":
        rows = score_translation(folder, groups, others, settings)
    else:
        rows = score_choice(benchmark, groups, others, settings)
    names = {"model": model, "benchmark": benchmark["benchmark"], "version": benchmark["version"], "language": language}
    return [names | EMPTY | row for row in rows]


def named_file(text: str) -> tuple[str, Path]:
    """Read NAME=FILE."""
    name, mark, path = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {text!r}")
    return name, Path(path)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--benchmark-folder", required=True, type=Path)
    parser.add_argument("--language", required=True)
    parser.add_argument("--predictions", required=True, type=Path)
    parser.add_argument("--baseline", action="append", default=[], type=named_file, help="NAME=FILE of its predictions; repeatable")
    parser.add_argument("--settings", required=True, type=cli.json_object)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    rows = score(args.model, args.benchmark_folder, args.language, args.predictions, dict(args.baseline), args.settings)
    for number, row in enumerate(rows, 1):
        tables.check(row, SCHEMA, f"{args.output} score {number}")
    files.write_json(args.output, {"scores": rows})


if __name__ == "__main__":
    cli.run(main)
