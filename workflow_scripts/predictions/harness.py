"""Let lm-evaluation-harness ask one benchmark in several languages: the model is loaded once, and only if something is left to ask.

Everything that is asked and graded is the harness's: its tasks, its prompts, its model class, its seeds. The rows come from the prepared
benchmark files instead of the hub: its tasks are laid over with Parquet files of them, so nothing is fetched here. Each language is written
as soon as it is done, under a key of what it depends on: the model's fingerprint, the rows, the settings, the harness's version. A language
whose key still holds is not asked again.

One line an item: `item, direction, protocol, key, answer, graded, passage, signature`. `graded` is what each metric says of it, 0 or 1,
in the order of the settings; `passage` names the item that it belongs together with in a paired test.

Settings: task folder `folder`, `limit` (items of each task; all if absent), `shots`, `metrics`, `cluster` and `batch_size`.

Example: python -m workflow_scripts.predictions.harness --model base --model-folder results/models/base/model
--manifest results/models/base/manifest.json --languages deu_Latn swh_Latn --benchmark-folder results/benchmarks/xnli
--settings '{...}' --work work/xnli-0 --output-folder results/predictions/base/xnli
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from ..common import cli, files, first_calls, machine, model_files

CPU_BATCH = 32  # questions at once where `batch_size` is auto
ASK_VERSION = 1  # part of every key: raise it when the same questions would be asked or graded otherwise

Row = dict[str, Any]


def key_of(prepared: dict[str, Any], fingerprint: str, settings: dict[str, Any]) -> str:
    """SHA-256 of all that a language's answers depend on but the machine. The batch size changes the time, not the answer."""
    about = {name: value for name, value in settings.items() if name != "batch_size"}
    versions = [ASK_VERSION, *(metadata.version(name) for name in ("lm_eval", "transformers"))]
    return files.sha256_json(
        {"versions": versions, "model": fingerprint, "settings": about, "source": prepared["source"], "items": prepared["items"]}
    )


def found_key(path: Path) -> str | None:
    """The key of a language's file; None where it is not there or broken."""
    with suppress(OSError, ValueError, IndexError, KeyError):
        return json.loads(path.read_bytes().split(b"\n")[0])["key"]
    return None


def lay_over(prepared: dict[str, Any], task_folder: Path, work: Path) -> list[str]:
    """Write the harness's tasks into `work` once more, with their rows from Parquet files there; give their names."""
    import yaml
    from datasets import Dataset
    from lm_eval.tasks import TaskManager

    rows: dict[str, dict[str, list[Row]]] = {}
    for item in prepared["items"]:
        rows.setdefault(item["task"], {}).setdefault(item["split"], []).append(item["doc"])
    index = TaskManager(include_path=[str(task_folder)], include_defaults=False).task_index
    for task, splits in rows.items():
        data_files = {}
        for split, docs in splits.items():
            data_files[split] = str(work / f"{task}-{split}.parquet")
            names = dict.fromkeys(name for doc in docs for name in doc)  # rows need not have all fields; from_list asks the first one
            Dataset.from_list([{name: doc.get(name) for name in names} for doc in docs]).to_parquet(data_files[split])
        task_config = index[task].cfg or {}
        absent = {
            key: None
            for key in ("training_split", "validation_split", "test_split", "fewshot_split")
            if task_config.get(key) and task_config[key] not in splits
        }
        over = {"include": str(index[task].yaml_path), "task": task, "tag": None, "dataset_path": "parquet", "dataset_name": None}
        kwargs = {"data_files": data_files, "cache_dir": str(work / "cache")}
        (work / f"{task}.yaml").write_text(yaml.safe_dump(over | absent | {"dataset_kwargs": kwargs}), encoding="utf-8")
    return list(rows)


def load_model(folder: Path, batch_size: int | str) -> Any:
    """The harness's own class for Hugging Face models: float32 on a CPU, bfloat16 on a GPU that has it. It runs no code of the folder.

    With batch size "auto" it tries what fits on a GPU. On a CPU, where that would try the machine's memory, it gets CPU_BATCH.
    """
    import torch
    from lm_eval.models.huggingface import HFLM

    first_calls.settle()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if batch_size == "auto" and device == "cpu":
        batch_size = CPU_BATCH
    dtype = "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return HFLM(str(folder), device=device, dtype=dtype, batch_size=batch_size, trust_remote_code=False, use_safetensors=True)


def ask(lm: Any, prepared: dict[str, Any], settings: dict[str, Any]) -> list[Row]:
    """One language, asked and graded by the harness: the lines of its file without their key."""
    import lm_eval
    from lm_eval.defaults import DEFAULT_OTHER_SEED
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        tasks = lay_over(prepared, Path(str(lm_eval.__file__)).parent / "tasks" / settings["folder"], work)
        loaded = TaskManager(include_path=[str(work)], include_defaults=False).load(tasks)
        for task in loaded["tasks"].values():
            task.set_config("num_fewshot", settings["shots"])
            task.set_fewshot_seed(DEFAULT_OTHER_SEED)
        # As the harness's own command line calls it, but for a list of all packages, which takes a second a language.
        found = lm_eval.evaluate(lm=lm, task_dict=loaded, limit=settings.get("limit"), log_samples=True, bootstrap_iters=0)
    assert found is not None
    lines = [line for task in tasks for line in graded(task, found["samples"][task], settings)]
    prompts = files.sha256_json([line.pop("arguments") for line in lines])
    versions = "+".join(sorted({str(found["versions"][task]) for task in tasks}))
    name = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks of {settings['folder']}"
    signature = (
        f"lm-eval:{metadata.version('lm_eval')}|task:{name}|task-version:{versions}|shots:{settings['shots']}|"
        f"data:{prepared['source']}|prompts:{prompts[:12]}"
    )
    for line in lines:
        line |= {"direction": prepared["language"], "protocol": f"{settings['shots']}-shot", "signature": signature}
    return lines


def graded(task: str, samples: list[Row], settings: dict[str, Any]) -> list[Row]:
    """The harness's records of one task as our lines: it has one a filter and item."""
    lines: dict[int, Row] = {}
    passages: dict[Any, str] = {}
    for name in settings["metrics"]:
        metric, _, filtered = name.partition(",")
        for sample in samples:
            if sample["filter"] != (filtered or "none"):
                continue
            if sample[metric] not in (0, 1):
                raise cli.UserError(f"{task}: {name} gives {sample[metric]} for an item; only 0 and 1 can be compared item by item.")
            number = sample["doc_id"]
            if number not in lines:
                item = f"{task}/{number}"
                passage = passages.setdefault(sample["doc"][settings["cluster"]], item) if settings["cluster"] else item
                answer = answer_of(sample["filtered_resps"])
                lines[number] = {"item": item, "passage": passage, "answer": answer, "arguments": sample["arguments"], "graded": []}
                if isinstance(sample["target"], int):  # the number of the right choice
                    lines[number]["target"] = str(sample["target"])
            lines[number]["graded"].append([name, int(sample[metric])])
    return [lines[number] for number in sorted(lines)]


def answer_of(responses: list[Any]) -> str:
    """What the model said, or the number of the choice that it finds likeliest."""
    if isinstance(responses[0], str):
        return responses[0]
    return str(max(range(len(responses)), key=lambda choice: responses[choice][0]))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name of the model in config.yaml")
    parser.add_argument("--model-folder", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json of the model")
    parser.add_argument("--languages", nargs="+", required=True, metavar="CODE")
    parser.add_argument("--benchmark-folder", type=Path, required=True, help="holds <language>.json")
    parser.add_argument("--settings", type=cli.json_object, required=True)
    parser.add_argument("--work", type=Path, required=True, help="answers of a run that was cut off; one folder a shard")
    parser.add_argument("--output-folder", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that this job was given: where it sees none, that is an error")
    args = parser.parse_args(argv)

    manifest = files.read_json(args.manifest)
    one_by_one = manifest.get("admission", {}).get("answers") == "one by one"
    fingerprint = manifest["fingerprint"] + (" one by one" if one_by_one else "")
    start, loaded, lm, asked = time.monotonic(), 0.0, None, 0
    for language in dict.fromkeys(args.languages):
        prepared = files.read_json(args.benchmark_folder / f"{language}.json")
        name = f"{language}.jsonl"
        output, work = args.output_folder / name, args.work / name
        if prepared["reason"]:
            gap = {"direction": language, "protocol": f"{args.settings['shots']}-shot", "reason": prepared["reason"]}
            files.write_jsonl(output, [gap])
            continue
        key = key_of(prepared, fingerprint, args.settings)
        if found_key(output) == key:
            continue
        if found_key(work) != key:
            if lm is None:
                logging.getLogger("lm_eval").setLevel(logging.ERROR)
                machine.check_gpus(args.gpus)
                model_files.check_unchanged(args.model_folder, manifest)
                lm = load_model(args.model_folder, 1 if one_by_one else args.settings["batch_size"])
                loaded = time.monotonic() - start
            files.write_jsonl(work, ({"key": key} | line for line in ask(lm, prepared, args.settings)))
            asked += 1
            print(f"{args.model} {prepared['benchmark']} {language}: asked", file=sys.stderr)
        with files.whole_file(output) as part:
            shutil.copyfile(work, part)
    if lm is not None:
        # `make cost` reads this: what is neither is time in which the GPU was held and idle.
        print(f"load {loaded:.1f} s, answer {time.monotonic() - start - loaded:.1f} s", file=sys.stderr)
    shutil.rmtree(args.work, ignore_errors=True)
    print(f"{args.model} {args.benchmark_folder.name}: languages asked {asked}, of {len(set(args.languages))}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
