"""Whether our steps give the numbers of lm-evaluation-harness's own command line, to the last digit, and what both take.

    python benchmarks/harness.py --model results/models/gemma-3-270m-trimmed --limit 30 [--batch-size 8] \\
        xnli:swh_Latn:/data/xnli m_arc:deu_Latn:/data/m_arc xcopa:swh_Latn:/data/xcopa/data

Each set is benchmark:language:folder[:shots]. The command line cannot read the official files of all of them, so it is given the same rows
as JSON lines, laid under the harness's own task; model, prompts, examples, batches and grading are its own. Every metric that it prints
must be equal to ours as a floating-point number; a difference ends with status 1. Seconds are CPU seconds of the two programs, each with
its start and its own loading of the model.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from importlib import util
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.benchmarks import harness as benchmark_files  # noqa: E402
from workflow_scripts.common import files, harness, tables  # noqa: E402

OFFLINE = os.environ | {"HF_HUB_OFFLINE": "1"}


def run(*command: Any) -> float:
    """CPU seconds of a program that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=OFFLINE, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(work: Path, prepared: dict[str, Any], shots: int, args: argparse.Namespace) -> tuple[dict[str, float], float]:
    """Mean of each metric over the lines of our step."""
    row, language = tables.row(harness.TABLE, prepared["benchmark"]), prepared["language"]
    files.write_json(work / f"{language}.json", prepared)
    settings = {"folder": row["folder"], "cluster": row["cluster"], "metrics": row["metrics"].split(), "shots": shots}
    settings |= {"limit": args.limit, "batch_size": args.batch_size}
    places = ["--model-folder", args.model / "model", "--manifest", args.model / "manifest.json", "--benchmark-folder", work]
    places += ["--work", work / "work", "--output-folder", work / "out", "--settings", json.dumps(settings)]
    seconds = run("-m", "workflow_scripts.predictions.harness", "--model", "m", "--languages", language, *places)
    lines = files.read_jsonl(work / f"out/{language}.jsonl")
    grades = [dict(line["graded"]) for line in lines]
    return {name: sum(grade[name] for grade in grades) / len(lines) for name in grades[0]}, seconds


def directly(work: Path, prepared: dict[str, Any], shots: int, args: argparse.Namespace) -> tuple[dict[str, float], float]:
    """What the harness's command line prints for the same task and rows."""
    row = tables.row(harness.TABLE, prepared["benchmark"])
    (task,) = {item["task"] for item in prepared["items"]}
    data = {split: str(work / f"{split}.jsonl") for split in {item["split"] for item in prepared["items"]}}
    for split, path in data.items():
        files.write_jsonl(Path(path), [item["doc"] for item in prepared["items"] if item["split"] == split])
    (package,) = util.find_spec("lm_eval").submodule_search_locations  # type: ignore[union-attr,misc]
    (original,) = (path for path in Path(package, "tasks").rglob("*.yaml") if f"task: {task}\n" in path.read_text(encoding="utf-8"))
    over: dict[str, Any] = {"include": str(original), "task": "direct", "dataset_path": "json", "dataset_name": None}
    config = benchmark_files.task_configs(row, harness.codes(row)[prepared["language"]])[task]
    names = ("training_split", "validation_split", "test_split", "fewshot_split")
    over |= {name: None for name in names if config.get(name) and config[name] not in data}
    over |= {"dataset_kwargs": {"data_files": data, "cache_dir": str(work / "cache")}}
    (work / "tasks").mkdir()
    (work / "tasks/direct.yaml").write_text(yaml.safe_dump(over), encoding="utf-8")
    model = ["--model", "hf", "--model_args", f"pretrained={args.model / 'model'},dtype=float32", "--device", "cpu"]
    asked = ["--tasks", "direct", "--num_fewshot", shots, "--limit", args.limit, "--batch_size", args.batch_size]
    seconds = run("-m", "lm_eval", "run", *model, *asked, "--include_path", work / "tasks", "--output_path", work / "found")
    (path,) = (work / "found").rglob("results*.json")
    return {name.removesuffix(",none"): value for name, value in files.read_json(path)["results"]["direct"].items()}, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="BENCHMARK:LANGUAGE:FOLDER[:SHOTS]")
    parser.add_argument("--model", type=Path, required=True, help="a folder below results/models")
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    args = parser.parse_args()
    args.model = args.model.resolve()
    same = True
    for entry in args.sets:
        benchmark, language, folder, shots = (*entry.split(":"), "0")[:4]
        prepared = benchmark_files.prepare(benchmark, language, {"path": folder, "shots": int(shots)})
        with tempfile.TemporaryDirectory() as place:
            mine, seconds = ours(Path(place), prepared, int(shots), args)
            theirs, seconds_there = directly(Path(place), prepared, int(shots), args)
        for name, value in mine.items():
            same &= value == theirs[name]
            mark = "=" if value == theirs[name] else "DIFFERS FROM"
            print(f"{benchmark} {language} {shots}-shot {name}: {value!r} {mark} {theirs[name]!r}")
        print(f"  CPU seconds: {seconds:.0f}, the command line {seconds_there:.0f}", flush=True)
    sys.exit(not same)


if __name__ == "__main__":
    main()
