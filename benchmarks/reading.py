"""Multiple choice against lm-evaluation-harness: the same letter for every item, and in how much time, both in the same run.

    python benchmarks/reading.py --harness PYTHON --model FOLDER --belebele FOLDER [--languages eng_Latn zho_Hans] [--limit 60]
        [--batch-sizes 1 2 4 8] [--processes 1 2]

PYTHON is that of an environment with lm_eval 0.4.13 (`pip install lm_eval==0.4.13` beside this project's packages); BELEBELE lies in its
official layout. Both sides read the official JSON lines of the same items, in float32 on the CPU. The harness runs its own task
belebele_<language> with the data from disk, all languages in one process, without its index of other tasks (seconds of start-up) and
without bootstrap; of the batch sizes and numbers of processes that are given for it, a trial on 8 items a language takes the fastest.
This project runs `predictions.answer`, one process of one thread a core, languages dealt out as the workflow's shards do it.

Prints wall and CPU seconds of both, whole and without start-up, and what differs: prompts, letters, log-probabilities.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRIAL = 8


def harness(settings: dict[str, Any]) -> None:
    """In the harness's environment: run its belebele task on local files, write what it asked and found."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    template = Path(lm_eval.__file__).parent / "tasks/belebele/_default_template_yaml"
    folder = Path(settings["tasks"])
    for language, path in settings["languages"].items():
        (folder / f"{language}.yaml").write_text(
            f"include: {template}\ntask: belebele_{language}\ndataset_path: json\n"
            f"dataset_kwargs: {{data_files: {{test: {path}}}}}\ntest_split: test\nfewshot_split: test\n"
        )
    tasks = [f"belebele_{language}" for language in settings["languages"]]
    model = HFLM(pretrained=settings["model"], dtype="float32", device="cpu", batch_size=settings["batch_size"])
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    loaded = time.perf_counter()
    results = lm_eval.simple_evaluate(model, tasks=tasks, task_manager=manager, bootstrap_iters=0, log_samples=True)
    seconds = time.perf_counter() - loaded
    found = {
        f"{task.removeprefix('belebele_')} {sample['doc']['link']}#{sample['doc']['question_number']}": {
            "prompt": sample["arguments"][0][0],
            "logprobs": [response[0] for response in sample["filtered_resps"]],
        }
        for task, samples in results["samples"].items()
        for sample in samples
    }
    Path(settings["output"]).write_text(json.dumps({"version": lm_eval.__version__, "seconds": seconds, "found": found}))


def timed(commands: list[list[str]], threads: int, folder: Path) -> tuple[float, float]:
    """Run all commands at once; wall and CPU seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_DATASETS_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    start, cpu = time.perf_counter(), 0.0
    running = []
    for number, command in enumerate(commands):
        with (folder / f"log{number}").open("w") as log:
            running.append((number, subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)))
    for number, process in running:
        _, status, used = os.wait4(process.pid, 0)
        cpu += used.ru_utime + used.ru_stime
        if status:
            raise SystemExit((folder / f"log{number}").read_text())
    return time.perf_counter() - start, cpu


class Comparison:
    """Items of some languages, and both sides' ways to answer them."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        from workflow_scripts.benchmarks import prepare
        from workflow_scripts.common import files

        self.arguments, self.folder, self.cores = arguments, folder, len(os.sched_getaffinity(0))
        prepare.main(["--benchmark", "belebele", "--languages", *arguments.languages, "--material", str(arguments.belebele),
                      "--output-folder", str(folder / "belebele")])  # fmt: skip
        for name, limit in (("all", arguments.limit), ("trial", TRIAL)):
            for language in arguments.languages:
                items = [item["item"] for item in files.read_json(folder / f"belebele/{language}.json")["items"][:limit]]
                rows = files.read_jsonl(arguments.belebele / f"{language}.jsonl")
                official = {f"{row['link']}#{row['question_number']}": row for row in rows}
                files.write_jsonl(folder / f"{name}/{language}.jsonl", [official[item] for item in items])
        files.write_json(folder / "manifest.json", {"fingerprint": str(arguments.model)})

    def dealt(self, processes: int) -> list[list[str]]:
        parts = [self.arguments.languages[start::processes] for start in range(processes)]
        return [part for part in parts if part]

    def harness(self, data: str, batch_size: int, processes: int) -> dict[str, Any]:
        """Run the harness in so many processes, all cores shared among them."""
        commands, outputs = [], []
        for languages in self.dealt(processes):
            tasks = Path(tempfile.mkdtemp(dir=self.folder))
            outputs.append(tasks / "output.json")
            settings = {"tasks": str(tasks), "output": str(outputs[-1]), "batch_size": batch_size, "model": str(self.arguments.model)}
            settings["languages"] = {language: str(self.folder / f"{data}/{language}.jsonl") for language in languages}
            commands.append([str(self.arguments.harness), str(Path(__file__).resolve()), "--as-harness", json.dumps(settings)])
        wall, cpu = timed(commands, self.cores // processes, self.folder)
        made = [json.loads(output.read_text()) for output in outputs]
        found = {item: row for part in made for item, row in part["found"].items()}
        return {"wall": wall, "cpu": cpu, "answering": max(part["seconds"] for part in made), "found": found, "version": made[0]["version"]}

    def ours(self) -> dict[str, Any]:
        """Run `predictions.answer`, one process a core."""
        from workflow_scripts.common import files
        from workflow_scripts.predictions import prompts

        output = Path(tempfile.mkdtemp(dir=self.folder))
        settings = {"protocols": ["harness"], "limit": self.arguments.limit, "batch_size": self.arguments.batch_size}
        commands = [
            [sys.executable, "-m", "workflow_scripts.predictions.answer", "--model", "ours", "--model-folder", str(self.arguments.model),
             "--manifest", str(self.folder / "manifest.json"), "--benchmark", "belebele", "--languages", *languages,
             "--benchmark-folder", str(self.folder / "belebele"), "--settings", json.dumps(settings), "--work", str(output / f"w{number}"),
             "--output-folder", str(output), "--cpus", "1"]
            for number, languages in enumerate(self.dealt(self.cores))
        ]  # fmt: skip
        wall, cpu = timed(commands, 1, self.folder)
        lines = [(self.folder / f"log{number}").read_text() for number in range(len(commands))]
        answering = max(
            float(line.split("answer ")[1].split(" s")[0]) for text in lines for line in text.splitlines() if line.startswith("load ")
        )
        found = {}
        for language in self.arguments.languages:
            asked = prompts.questions(self.folder / "belebele", language, settings)
            for row, question in zip(files.read_jsonl(output / f"{language}.jsonl"), asked, strict=True):
                found[f"{language} {row['item']}"] = {
                    "prompt": question.messages[0]["content"],
                    "logprobs": row["logprobs"],
                    "answer": row["answer"],
                }
        return {"wall": wall, "cpu": cpu, "answering": answering, "found": found}


def main() -> None:
    if sys.argv[1:2] == ["--as-harness"]:
        harness(json.loads(sys.argv[2]))
        return
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", type=Path, required=True, metavar="PYTHON", help="of an environment with lm_eval")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--belebele", type=Path, required=True, help="folder of <language>.jsonl")
    parser.add_argument("--languages", nargs="+", default=["eng_Latn", "zho_Hans"])
    parser.add_argument("--limit", type=int, help="first so many items of each language")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 2, 4, 8], help="tried with the harness")
    parser.add_argument("--batch-size", type=int, default=8, help="ours")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="tried with the harness; they share the cores")
    arguments = parser.parse_args()
    arguments.model, arguments.harness = arguments.model.resolve(), arguments.harness.absolute()

    with tempfile.TemporaryDirectory() as folder:
        sides = Comparison(arguments, Path(folder))
        ways = [(size, processes) for size in arguments.batch_sizes for processes in arguments.processes]
        trials = {way: sides.harness("trial", *way)["answering"] for way in ways} if len(ways) > 1 else {}
        for (size, processes), seconds in trials.items():
            print(f"harness, trial, batch {size}, processes {processes}: {seconds:.1f} s without start-up")
        report(sides, *min(ways, key=lambda way: trials.get(way, 0)))


def show(name: str, side: dict[str, Any]) -> None:
    print(f"{name}: wall {side['wall']:.1f} s, CPU {side['cpu']:.1f} s, wall without start-up {side['answering']:.1f} s", flush=True)


def report(sides: Comparison, batch_size: int, processes: int) -> None:
    """Run both sides, the harness as it is given, and print what they took and what differs."""
    theirs = sides.harness("all", batch_size, processes)
    show(f"harness {theirs['version']}, batch {batch_size}, processes {processes}", theirs)
    own = sides.ours()
    show(f"ours, batch {sides.arguments.batch_size}, processes {len(sides.dealt(sides.cores))}", own)
    print(f"{len(own['found'])} items, {len(sides.arguments.languages)} languages, float32, {sides.cores} cores")
    ratios = [own[measure] / theirs[measure] for measure in ("wall", "cpu", "answering")]
    print("ours / harness: wall {:.2f}, CPU {:.2f}, wall without start-up {:.2f}".format(*ratios))
    if theirs["found"].keys() != own["found"].keys():
        raise SystemExit("the two sides did not answer the same items")
    pairs = [(theirs["found"][item], own["found"][item]) for item in own["found"]]
    odd = sum(their["prompt"] != our["prompt"] for their, our in pairs)
    letters = sum(str(max(range(4), key=their["logprobs"].__getitem__) + 1) != our["answer"] for their, our in pairs)
    gaps = [abs(one - other) for their, our in pairs for one, other in zip(their["logprobs"], our["logprobs"], strict=True)]
    print(f"differing of {len(pairs)}: prompts {odd}, letters {letters}; log-probabilities by at most {max(gaps):.0e}")


if __name__ == "__main__":
    main()
