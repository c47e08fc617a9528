"""Fetch the questions of one language of a benchmark that lm-evaluation-harness asks, from the hub or from a local folder.

    python -m workflow_scripts.benchmarks.harness --benchmark xnli --language deu_Latn --settings '{"shots": 0}' --output deu_Latn.json

What is asked, and on which split, is the harness's business: here its own tasks are read, and the rows they name are fetched. Asking then
needs no network. The output is JSON as from `benchmarks.prepare`, with shape "harness" and items `{item, task, split, doc}`, where `doc` is
a row as the harness's task wants it. `evidence` names those of its fields by which an item is known in training text. `source` says which
commit of the hub's data set, or which bytes of the local files, they came from.

Settings: `shots`; `path`, a local folder in the layout that resources/harness_tasks.tsv names, or a copy of the hub's own folder;
`revision` of the hub's data set.
"""

import argparse
import csv
import fnmatch
import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from ..common import cli, files, harness, hub, languages, records, tables
from ..common.cli import UserError

Doc = dict[str, Any]
LABELS = ("entailment", "neutral", "contradiction")


@cache
def tasks_of(folder: str) -> dict[str, dict[str, Any]]:
    """The harness's own settings of each task in one of its folders, by name; no task's data is touched."""
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError("lm-evaluation-harness (lm_eval) is not installed. Run `make setup`, or take evaluate.harness out of the config.")
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=[str(Path(str(lm_eval.__file__)).parent / "tasks" / folder)], include_defaults=False)
    return {name: manager.task_index[name].cfg or {} for name in manager.all_subtasks}


def task_configs(row: dict[str, str], code: str) -> dict[str, dict[str, Any]]:
    """The settings of the tasks of one language: one, or all parts of a benchmark."""
    wanted = row["task"].replace("{code}", code)
    found = {name: config for name, config in tasks_of(row["folder"]).items() if fnmatch.fnmatchcase(name, wanted)}
    if not found:
        raise UserError(f"resources/harness_tasks.tsv: {row['benchmark']}: this version of lm-evaluation-harness has no task {wanted}.")
    return found


def splits(config: dict[str, Any], shots: int) -> list[str]:
    """The split that is asked, and the one that worked examples come from, by the harness's own rule."""
    asked = config.get("test_split") or config["validation_split"]
    examples = [config.get(name) for name in ("fewshot_split", "training_split", "validation_split", "test_split")]
    return [asked, *(next(([name] for name in examples if name), []) if shots else [])]


def read_rows(path: Path, benchmark: str) -> list[Doc]:
    """The rows of a local file as the harness's task wants them."""
    try:
        if path.suffix == ".json":
            rows = records.whole_text(str(path), json.loads(path.read_bytes()))
        elif path.suffix == ".jsonl":
            with path.open("rb") as lines:
                rows = list(records.json_lines(str(path), lines))
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                if path.suffix == ".csv":
                    rows = list(csv.DictReader(file, restkey="a column too many"))
                else:
                    rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if any(row)]
        if not rows:
            raise ValueError("no row")
        if broken := [number for number, row in enumerate(rows, 1) if isinstance(row, dict) and "a column too many" in row]:
            raise ValueError(f"row {broken[0]} has a column too many")
        if benchmark == "xnli":  # XTREME's layout
            rows = [{"premise": premise, "hypothesis": hypothesis, "label": LABELS.index(label)} for premise, hypothesis, label in rows]
        elif benchmark == "mgsm":
            rows = [{"question": question, "answer": None, "answer_number": int(number.replace(",", ""))} for question, number in rows]
        elif benchmark == "m_arc":  # the fifth option stands only where there is one
            rows = [{"option_e": None} | row for row in rows]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not in the official layout ({error}).") from error
    return rows


def from_folder(row: dict[str, str], folder: Path, config: dict[str, Any], split: str) -> tuple[list[Doc], str] | None:
    """Rows of one split of a local folder and a sum of their bytes; None where it does not have them."""
    code = config.get("dataset_name") or "*"
    if path := harness.local_files(row, folder, code).get(split):
        return read_rows(path, row["benchmark"]), files.sha256_file(path)
    if (folder / "README.md").is_file():  # a copy of the hub's folder, whose card says what lies where
        rows = load(str(folder), config, split)
        return rows, files.sha256_json(rows)
    return None


def load(path: str, config: dict[str, Any], split: str, revision: str | None = None) -> list[Doc]:
    """Rows of one split, by the hub's own library; a data set that brings code is refused by it."""
    from datasets import load_dataset

    try:
        rows = load_dataset(path, config.get("dataset_name"), split=split, revision=revision, token=hub.token() or None)
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        raise UserError(
            f"{path} could not be read as a data set ({' '.join(str(error).split())[:200]}). Give its files as `path` in evaluate.harness, "
            "in the layout that resources/harness_tasks.tsv names."
        ) from error
    return list(rows)


def commit(row: dict[str, str], revision: str) -> str:
    """The commit that a revision of the hub's data set stands for."""
    from huggingface_hub import HfApi

    try:
        with hub.troubles_named(row["hub"], revision):
            return str(HfApi().dataset_info(row["hub"], revision=revision, token=hub.token()).sha)
    except UserError as error:
        raise UserError(f"{error} Or name a folder with its files: evaluate.harness.{row['benchmark']}.path.") from error


def items(row: dict[str, str], code: str, settings: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The questions of all tasks of one language, with the rows that examples come from, and their source."""
    found: list[dict[str, Any]] = []
    sums = hashlib.sha256()
    folder = Path(settings["path"]).expanduser() if "path" in settings else None
    revision = "" if folder else commit(row, settings.get("revision", row["revision"]))
    for task, config in task_configs(row, code).items():
        asked = splits(config, 0)[0]
        for split in dict.fromkeys(splits(config, settings["shots"])):
            if folder is None:
                rows = load(row["hub"], config, split, revision)
            elif (local := from_folder(row, folder, config, split)) is not None:
                rows = local[0]
                sums.update(local[1].encode())
            elif split != asked:
                raise UserError(
                    f"evaluate.harness.{row['benchmark']}: {folder} has no split {split}, which worked examples come from. Set `shots: 0`."
                )
            else:
                return [], ""
            name = task if split == asked else f"{task}/{split}"
            found += [{"item": f"{name}/{number}", "task": task, "split": split, "doc": doc} for number, doc in enumerate(rows)]
    return found, f"{row['hub']}@{revision[:12]}" if revision else f"local:{sums.hexdigest()[:12]}"


def prepare(benchmark: str, language: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The content of one language's file."""
    row = tables.row(harness.TABLE, benchmark)
    found: list[dict[str, Any]] = []
    source, reason = "", harness.lack(row, language)
    if not reason:
        found, source = items(row, harness.codes(row)[language], settings)
        if not found:
            if not any(harness.inputs(benchmark, Path(settings["path"]).expanduser(), other) for other in harness.codes(row)):
                raise UserError(f"evaluate.harness.{benchmark}.path: {settings['path']} has no file of {row['name']} in a known layout.")
            reason = f"n/a: the local folder of {row['name']} has no {languages.get(language).name}"
    facts: dict[str, Any] = {field: row[field] for field in ("benchmark", "version", "domain", "licence")} | {
        "chance": float(row["chance"])
    }
    facts["evidence"] = row["evidence"].split()
    fields = dict.fromkeys(field.split(".")[0] for entry in facts["evidence"] for field in entry.split("+"))
    if found and (lost := [field for field in fields if not any(field in item["doc"] for item in found)]):
        raise UserError(f"{row['name']} has no field {', '.join(lost)}: correct the column evidence in resources/harness_tasks.tsv.")
    return facts | {"shape": "harness", "language": language, "source": source, "reason": reason, "items": found}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", required=True, help="a row of resources/harness_tasks.tsv")
    parser.add_argument("--language", required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    prepared = prepare(arguments.benchmark, arguments.language, arguments.settings)
    files.write_json(arguments.output, prepared)
    print(f"{arguments.benchmark} {arguments.language}: {len(prepared['items'])} items {prepared['reason']}")


if __name__ == "__main__":
    cli.run(main, online=True)
