"""Translation against lm-evaluation-harness and a plain loop over `generate`: how much time each takes, and how many answers differ.

    python benchmarks/answering.py --flores ARCHIVE --model FOLDER [--languages deu_Latn zho_Hans] [--lines 16] [--max-new-tokens 128]
        [--batch-sizes 8 16 32] [--processes 1 2] [--batch-size 32] [--harness PYTHON]

The first lines of FLORES-200's devtest, both directions with English, 0-shot, greedy, float32, on all CPUs this process may use; no text is
printed. All sides get the same prompts, stop at a line break, and may write equally many tokens: the shorter limit that this project has
for short sources is off. The harness (lm_eval 0.4.13) runs a generate_until task on local data, without bootstrap; the plain loop sorts by
length and pads. Both are run with every batch size and number of processes that is given (processes share the CPUs), and their best is
compared. This project runs `predictions.answer` with all CPUs, before and after them.

Every run is a program of its own; seconds include its start.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CPUS = len(os.sched_getaffinity(0))
TASK = """task: translations
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: ""
target_delimiter: ""
generation_kwargs: {{until: ["\\n"], max_gen_toks: {limit}, do_sample: false}}
metric_list: [{{metric: bypass}}]
"""


def harness(settings: dict[str, Any]) -> list[str]:
    """Answers of the harness to settings["prompts"], in their order; refuses prompts that become other tokens there."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "test.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in settings["prompts"]))
        (Path(folder) / "translations.yaml").write_text(TASK.format(data=data, limit=settings["limit"]))
        model = HFLM(pretrained=settings["model"], dtype="float32", device="cpu", batch_size=settings["batch_size"])
        if any(model.tok_encode(row["prompt"]) != row["ids"] for row in settings["prompts"]):
            raise SystemExit("the harness makes other tokens of these prompts")
        manager = TaskManager(include_path=folder, include_defaults=False)
        results = lm_eval.simple_evaluate(model, tasks=["translations"], task_manager=manager, bootstrap_iters=0, log_samples=True)
    samples = sorted(results["samples"]["translations"], key=lambda sample: sample["doc_id"])
    return [sample["filtered_resps"][0].strip() for sample in samples]


def plain(settings: dict[str, Any]) -> list[str]:
    """The same by `model.generate`, prompts sorted by length, left-padded."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    newline = [piece for piece in tokenizer.get_vocab().values() if "\n" in tokenizer.decode([piece])]
    ends = model.generation_config.eos_token_id
    ends = [tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends]), *newline]
    asked = [row["ids"] for row in settings["prompts"]]
    answers, order = [""] * len(asked), sorted(range(len(asked)), key=lambda index: len(asked[index]))
    for start in range(0, len(order), settings["batch_size"]):
        chunk = order[start : start + settings["batch_size"]]
        width = max(len(asked[index]) for index in chunk)
        ids = torch.tensor([[0] * (width - len(asked[index])) + asked[index] for index in chunk])
        mask = torch.tensor([[0] * (width - len(asked[index])) + [1] * len(asked[index]) for index in chunk])
        with torch.inference_mode():
            made = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=settings["limit"],
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=0,
            )
        for index, row in zip(chunk, made[:, width:].tolist(), strict=True):
            end = next((place for place, token in enumerate(row) if token in ends), None)
            answers[index] = tokenizer.decode(row[:end], skip_special_tokens=True).split("\n")[0].strip()
    return answers


@dataclass(frozen=True)
class Result:
    name: str
    cost: tuple[float, float, float]
    answers: list[str]


def held(pid: int) -> float:
    """Megabytes of a process and its children; a page that several hold is counted once in all (PSS)."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in rollup.splitlines() if line.startswith("Pss:")) + sum(
        map(held, map(int, children))
    )


def timed(name: str, commands: list[list[str]], folder: Path) -> tuple[float, float, float]:
    """Run all commands at once; wall and CPU seconds, those of their children included, and the most megabytes that they held."""
    environment = os.environ | {"OMP_NUM_THREADS": str(CPUS // len(commands)), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_CACHE": str(folder / "cache")}
    start, cpu, peak, running = time.perf_counter(), 0.0, 0.0, {}
    for number, command in enumerate(commands):
        with (folder / f"log{number}").open("w") as log:
            running[subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log).pid] = log.name
    while running:
        peak = max(peak, sum(map(held, running)))
        time.sleep(0.1)
        for pid in list(running):
            ended, status, used = os.wait4(pid, os.WNOHANG)
            if not ended:
                continue
            cpu += used.ru_utime + used.ru_stime
            log_name = running.pop(pid)
            if status:
                raise SystemExit(f"{name} failed:\n{Path(log_name).read_text()[-3000:]}")
    return time.perf_counter() - start, cpu, peak


def theirs(way: str, python: Path, settings: dict[str, Any], processes: int, folder: Path) -> Result:
    """One of the functions above on all prompts, dealt out to so many processes."""
    name = f"{way}, batch {settings['batch_size']}, {processes} x {CPUS // processes} threads"
    commands, prompts = [], settings["prompts"]
    for start in range(processes):
        place = folder / f"{start}.json"
        place.write_text(json.dumps(settings | {"prompts": prompts[start::processes], "output": f"{place}.out"}))
        commands.append([str(python), str(Path(__file__).resolve()), "--as", way, str(place)])
    cost = timed(name, commands, folder)
    answers = [""] * len(prompts)
    for start in range(processes):
        answers[start::processes] = json.loads((folder / f"{start}.json.out").read_text())
    return Result(name, cost, answers)


class Own:
    """The prompts, and `predictions.answer` on them."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        from workflow_scripts.benchmarks import prepare
        from workflow_scripts.common import chat, files
        from workflow_scripts.predictions import engine, prompts

        self.arguments, self.folder = arguments, folder
        prepare.main(["--benchmark", "flores200", "--languages", "eng_Latn", *arguments.languages, "--material", str(arguments.flores),
                      "--sha256", files.sha256_file(arguments.flores), "--output-folder", str(folder / "flores200")])  # fmt: skip
        files.write_json(folder / "manifest.json", {"fingerprint": str(arguments.model)})
        self.settings = {"template": "en-labelled", "pivots": ["eng_Latn"], "directions": ["X-eng", "eng-X"], "shots": [0]}
        self.settings["asking"] = {"stop": "\n", "system": "", "template_arguments": {}, "thinking_tokens": 0}
        self.settings |= {"limit": arguments.lines, "max_new_tokens": arguments.max_new_tokens, "batch_size": arguments.batch_size}
        tokenizer = engine.load_tokenizer(arguments.model)
        self.prompts = []
        for language in arguments.languages:
            for question in prompts.questions(folder / "flores200", language, self.settings):
                assert isinstance(question, prompts.Question)
                text = chat.prompt_text(tokenizer, question.messages).removeprefix(tokenizer.bos_token)
                self.prompts.append({"prompt": text, "ids": chat.encode_prompt(tokenizer, question.messages)})

    def run(self, name: str) -> Result:
        from workflow_scripts.common import files

        output = Path(tempfile.mkdtemp(dir=self.folder))
        command = [
            sys.executable, str(Path(__file__).resolve()), "--as", "ours", "--model", "ours", "--model-folder", str(self.arguments.model),
            "--manifest", str(self.folder / "manifest.json"), "--benchmark", "flores200", "--languages", *self.arguments.languages,
            "--benchmark-folder", str(self.folder / "flores200"), "--settings", json.dumps(self.settings), "--work", str(output / "work"),
            "--output-folder", str(output), "--cpus", str(CPUS),
        ]  # fmt: skip
        cost = timed(name, [command], self.folder)
        rows = [row for language in self.arguments.languages for row in files.read_jsonl(output / f"{language}.jsonl")]
        return Result(name, cost, [row["answer"] for row in rows])


def without_short_limits(arguments: list[str]) -> None:
    """`predictions.answer` with one limit for all, as the others have it."""
    from workflow_scripts.predictions import answer, limits

    def equal_limit(_lengths: limits.Lengths, _tokens: int, max_new_tokens: int) -> int:
        return max_new_tokens

    limits.Lengths.limit = equal_limit
    answer.main(arguments)


def main() -> None:
    if sys.argv[1:3] == ["--as", "ours"]:
        without_short_limits(sys.argv[3:])
        return
    if sys.argv[1:2] == ["--as"]:
        settings = json.loads(Path(sys.argv[3]).read_text())
        Path(settings["output"]).write_text(json.dumps({"harness": harness, "plain": plain}[sys.argv[2]](settings)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flores", type=Path, required=True, help="archive of FLORES-200 in its own layout")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--harness", type=Path, default=Path(sys.executable), metavar="PYTHON", help="of an environment with lm_eval")
    parser.add_argument("--languages", nargs="+", default=["deu_Latn", "zho_Hans"])
    parser.add_argument("--lines", type=int, default=16)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 16, 32], help="tried with the others")
    parser.add_argument("--batch-size", type=int, default=32, help="ours, in each process")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, CPUS], help="tried with the others")
    arguments = parser.parse_args()
    arguments.model, arguments.harness = arguments.model.resolve(), arguments.harness.absolute()

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        own = Own(arguments, folder)
        print(f"{len(own.prompts)} prompts, at most {arguments.max_new_tokens} new tokens; {CPUS} CPUs; our batch {arguments.batch_size}")
        first = own.run(f"ours, {CPUS} x 1 threads")
        show(first, first)
        found: dict[str, list[Result]] = {"harness": [], "plain": []}
        for processes in dict.fromkeys(arguments.processes):
            for size in arguments.batch_sizes:
                settings = {"prompts": own.prompts, "limit": arguments.max_new_tokens, "batch_size": size, "model": str(arguments.model)}
                for way, python in (("harness", arguments.harness), ("plain", Path(sys.executable))):
                    found[way].append(theirs(way, python, settings, processes, folder))
                    show(found[way][-1], first)
        last = own.run(f"ours again, {CPUS} x 1 threads")
        show(last, first)
        for way, results in found.items():
            ratios = [2 * min(result.cost[what] for result in results) / (first.cost[what] + last.cost[what]) for what in (0, 1)]
            print(f"{way} at its best / ours (mean of both): wall {ratios[0]:.2f}, CPU {ratios[1]:.2f}")


def show(result: Result, own: Result) -> None:
    """One line: seconds, and how many answers are not ours."""
    differing = sum(their != our for their, our in zip(result.answers, own.answers, strict=True))
    wall, cpu, peak = result.cost
    print(f"{result.name:36} wall {wall:6.1f} s, CPU {cpu:6.1f} s, memory {peak:5.0f} MB, answers differ {differing}", flush=True)


if __name__ == "__main__":
    main()
