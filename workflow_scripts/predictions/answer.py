"""Answer one benchmark in several languages with one model: loaded once, and only if something is left to answer.

Every answer carries a content key of what made it: the model's fingerprint, the messages, the decoding settings and the
engine's version. A key that already stands in the output, or in the work folder of a run that was cut off, is not computed
again. The batch size is not part of the key: it changes the time, not the answer.

Example: python -m workflow_scripts.predictions.answer --model gemma-3-270m --model-folder results/models/gemma-3-270m/model
--manifest results/models/gemma-3-270m/manifest.json --benchmark udhr --languages deu_Latn hin_Deva --benchmark-folder
results/benchmarks/udhr --settings '{...}' --work work/udhr-0 --output-folder results/predictions/gemma-3-270m/udhr
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..common import chat, cli, files, machine, model_files
from . import choices, limits, processes, prompts, vllm_engine
from .engine import ENGINE_VERSION, Engine, Request, Writer, queue

ANSWER_FIELDS = {"answer", "finish", "tokens", "thinking", "logprobs"}
CHOOSING = ("letters", "harness")
PROCESS_MB = 1000  # beside the weights, which processes share; cluster.needs asks for as much
HARNESS_CHOICES = tuple(f" {letter}" for letter in prompts.LETTERS)

Todo = list[tuple[str, prompts.Question]]  # language and question
Parallel = Mapping[str, list[tuple[str, str]]]  # by direction, the benchmark's sentences: source and target
Found = tuple[int, dict[str, Any]]  # place in it, and the fields of the answer


def content_key(fingerprint: str, question: prompts.Question, settings: dict[str, Any], lengths: str = "") -> str:
    """SHA-256 of all that an answer depends on but the machine.

    The fingerprint covers tokenizer and chat template, so messages stand for tokens; `lengths` is a hash of the sentences that the limit
    of a translation follows.
    """
    asking = settings["asking"]
    decoding: dict[str, Any] = {"choices": prompts.LETTERS if question.kind == "letters" else HARNESS_CHOICES}
    if question.kind in ("translation", "chat"):
        decoding = {name: found for name, found in asking.items() if name == "thinking_tokens" and found}
        decoding |= {"max_new_tokens": settings["max_new_tokens"], "stop": stop_of(question.kind, settings)}
        if question.kind == "translation":
            decoding["lengths"] = lengths
        if (beams := settings.get("beams", 1)) > 1:
            decoding |= {"beams": beams, "transformers": metadata.version("transformers")}  # whose search it is
        if settings.get("engine") == "vllm":
            decoding["vllm"] = vllm_engine.version()
    if question.kind != "harness":
        decoding |= {name: asking[name] for name in ("system", "template_arguments") if asking[name]}
    return files.sha256_json(
        {"engine": ENGINE_VERSION, "model": fingerprint, "messages": question.messages, "source": question.source} | decoding
    )


def stop_of(kind: str, settings: dict[str, Any]) -> str:
    """What ends an answer beside an end mark: of a translation the model's stop string, in chat nothing."""
    return settings["asking"]["stop"] if kind == "translation" else ""


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Answers of a JSONL file by key; none if the file is absent. A line that a crash cut off is passed over."""
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "key" in row:
            found[row["key"]] = {name: value for name, value in row.items() if name in ANSWER_FIELDS}
    return found


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one line and flush it, on a line of its own even after a line that a crash cut off."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell() and (file.seek(-1, 2), file.read(1))[1] != b"\n":
                file.write(b"\n")
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    except OSError as error:
        if error.errno in files.DISK_FULL:
            raise files.disk_full(path) from error
        raise


def letter_choices(tokenizer: Any, asking: chat.Asking) -> tuple[list[int], list[list[int]]]:
    """What the model's own chat template writes before every letter (a thinking block, say), and the tokens of each letter behind it.

    Of letters that begin with different tokens, these count. Raises `UserError` where one letter's tokens begin another's.
    """
    question = {"role": "user", "content": "Answer:"}
    answers = [
        chat.encode_example(tokenizer, [question, {"role": "assistant", "content": letter}], asking)[1] for letter in prompts.LETTERS
    ]
    shared = sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*answers, strict=False)))
    rest = [ids[shared:] for ids in answers]
    if not all(rest) or len({ids[0] for ids in rest}) < 2:
        raise cli.UserError("this model's chat template writes the letters A to D alike: take benchmarks of shape belebele out.")
    first = [ids[:1] for ids in rest]
    if len(set(map(tuple, first))) == len(first):
        return answers[0][:shared], first
    return answers[0][:shared], rest


def as_choices(engine: Engine, questions: list[prompts.Question], asking: chat.Asking) -> list[choices.Choice]:
    """Prompts and letters as token ids, of protocol harness as lm-evaluation-harness 0.4.13 makes them (HFLM, `_encode_pair`).

    There the tokenizer adds its special tokens (BOS) as it does by itself, a continuation is what prompt and letter together have beyond
    the prompt's tokens, and what is too long loses its beginning.
    """
    if questions[0].kind == "letters":
        before, letters = letter_choices(engine.tokenizer, asking)
        asked = [(row, chat.encode_prompt(engine.tokenizer, row.messages, asking)) for row in questions]
        return [choices.Choice(ids + before, letters, row.passage) for row, ids in asked]
    texts = [row.messages[0]["content"] for row in questions]
    room = engine.positions or engine.tokenizer.model_max_length
    ids = engine.tokenizer(texts)["input_ids"]
    whole = [engine.tokenizer([text + choice for text in texts])["input_ids"] for choice in HARNESS_CHOICES]
    made = []
    for index, row in enumerate(questions):
        letters = [tokens[index][len(ids[index]) :] for tokens in whole]
        excess = len(ids[index]) + max(map(len, letters)) - room - 1
        made.append(choices.Choice(ids[index][max(excess, 0) :], letters, row.passage))
    return made


def requests_of(engine: Writer, asked: Todo, settings: dict[str, Any], parallel: Parallel) -> list[Request]:
    """Prompts to write after, each with its limit: of a translation by `limits`, in chat `max_new_tokens`."""
    asking, most = settings["asking"], settings["max_new_tokens"]
    translated = {question.direction for _, question in asked if question.kind == "translation"}
    sentences = dict.fromkeys(text for direction in sorted(translated) for pair in parallel[direction] for text in pair)
    tokens = dict(zip(sentences, map(len, _encoded(engine.tokenizer, list(sentences))), strict=True))
    lengths = {direction: _lengths(parallel[direction], tokens) for direction in translated}
    made = []
    for language, question in asked:
        limit = lengths[question.direction].limit(tokens[question.source], most) if question.kind == "translation" else most
        ids = chat.encode_prompt(engine.tokenizer, question.messages, asking)
        group = f"{language} {question.protocol} {question.direction}"
        made.append(Request(ids, limit + asking["thinking_tokens"], group))
    return made


def _lengths(pairs: list[tuple[str, str]], tokens: Mapping[str, int]) -> limits.Lengths:
    sources, targets = zip(*pairs, strict=True)
    return limits.measure([tokens[text] for text in sources], [tokens[text] + 1 for text in targets])  # and an end mark


def _encoded(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


@dataclass(frozen=True)
class Task:
    """Questions answered together, as places in the list of all; where the model writes, what it is asked for each."""

    kind: str
    places: list[int]
    requests: list[Request]


def tasks_of(engine: Writer, todo: Todo, settings: dict[str, Any], parallel: Parallel, processes: int = 1) -> list[Task]:
    """All of `todo`, in parts for so many processes.

    Choices of one language and protocol share their worked examples, and are never parted. What is written is batched over languages, and
    dealt out like cards, so that each process keeps full batches to the end and who is faster changes no batch.
    """
    kinds: dict[tuple[str, str], list[int]] = {}
    for index, (language, question) in enumerate(todo):
        shared = f"{language} {question.protocol}" if question.kind in CHOOSING else ""
        kinds.setdefault((question.kind, shared), []).append(index)
    found = []
    for (kind, _), places in kinds.items():
        if kind in CHOOSING:
            found.append(Task(kind, places, []))
            continue
        requests = requests_of(engine, [todo[index] for index in places], settings, parallel)
        order = queue(requests)
        for part in (order[start::processes] for start in range(processes)):
            found.append(Task(kind, [places[index] for index in part], [requests[index] for index in part]))
    return found


def perform(engine: Engine, todo: Todo, settings: dict[str, Any], task: Task) -> Iterator[Found]:
    """Answer the questions of one task: gives (place in `todo`, fields of the answer) as each one is ready.

    Where memory runs out, what is left is tried with half the batch. Raises `UserError` where one row is too much.
    """
    left: dict[int, Request | None] = dict.fromkeys(task.places) | dict(zip(task.places, task.requests, strict=False))
    while left:
        try:
            for place, answer in _attempt(engine, todo, settings, task.kind, left):
                yield place, answer
                del left[place]
        except RuntimeError as error:
            from accelerate.utils.memory import should_reduce_batch_size

            if not should_reduce_batch_size(error):
                raise
            if engine.batch_size == 1:
                raise cli.UserError(
                    "one question alone does not fit into memory: use a smaller model, or a GPU or job with more."
                ) from error
            engine.batch_size //= 2
            print(f"memory is short: batch size now {engine.batch_size}", file=sys.stderr)
        engine.free()  # not before here, where the error no longer holds the tensors


def _attempt(
    engine: Writer, todo: Todo, settings: dict[str, Any], kind: str, left: dict[int, Request | None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    places = list(left)
    if kind in CHOOSING:
        assert isinstance(engine, Engine), "vLLM is asked only for what is written (settings.engine)"
        for place, logprobs in choices.choose(engine, as_choices(engine, [todo[place][1] for place in places], settings["asking"])):
            best = max(range(len(logprobs)), key=lambda choice: logprobs[choice])
            yield places[place], {"answer": str(best + 1), "logprobs": [round(value, 6) for value in logprobs]}
    else:
        requests = [request for request in left.values() if request]
        for place, answer in engine.generate(requests, stop_of(kind, settings)):
            thinking = {"thinking": answer.thinking} if answer.thinking else {}
            yield places[place], {"answer": answer.text, "finish": answer.finish, "tokens": answer.tokens} | thinking


def load(folder: Path, todo: Todo, settings: dict[str, Any], cpus: int, one_by_one: bool = False) -> Writer:
    """The model, in the engine of `settings`; transformers' with their batch size, or where that is "auto", what memory should hold."""
    if settings.get("engine") == "vllm":
        return vllm_engine.VllmEngine(folder, cpus)
    engine = Engine(folder, beams=settings.get("beams", 1), one_by_one=one_by_one)
    if one_by_one:
        print("answered one by one: in a batch this model answers otherwise (`admission` in its manifest)", file=sys.stderr)
    elif settings["batch_size"] == "auto":
        longest = max((question.messages for _, question in todo), key=lambda messages: len(json.dumps(messages)))
        tokens = len(chat.encode_prompt(engine.tokenizer, longest, settings["asking"])) + settings.get("max_new_tokens", 0)
        engine.batch_size = engine.rows_that_fit(tokens, engine.free_mb() / (cpus if engine.device == "cpu" else 1))
        print(f"batch size {engine.batch_size}", file=sys.stderr)
    else:
        engine.batch_size = settings["batch_size"]
    return engine


def compute(engine: Writer, todo: Todo, settings: dict[str, Any], parallel: Parallel, cpus: int = 1) -> Iterator[Found]:
    """Answer `todo`, on the GPU or on so many CPUs if there is memory for their processes: gives each answer as it is ready."""
    if not isinstance(engine, Engine):  # vLLM sees to batches and memory itself
        for task in tasks_of(engine, todo, settings, parallel):
            yield from _attempt(engine, todo, settings, task.kind, dict(zip(task.places, task.requests, strict=True)))
        return
    import torch

    most = 1
    if engine.device == "cpu":
        torch.set_num_threads(1)  # also where one process is enough; and forks with more would hang
        most = max(1, min(cpus, math.ceil(len(todo) / engine.batch_size), int(engine.free_mb() / PROCESS_MB)))
    tasks = [task for task in tasks_of(engine, todo, settings, parallel, most) if task.places]
    yield from processes.share(partial(perform, engine, todo, settings), tasks, min(most, len(tasks)))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name of the model in config.yaml")
    parser.add_argument("--model-folder", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json of the model")
    parser.add_argument("--benchmark", required=True)
    parser.add_argument("--languages", nargs="+", required=True, metavar="CODE")
    parser.add_argument("--benchmark-folder", type=Path, required=True, help="holds <language>.json")
    parser.add_argument("--settings", type=cli.json_object, required=True)
    parser.add_argument("--work", type=Path, required=True, help="answers of a run that was cut off; one folder a shard")
    parser.add_argument("--output-folder", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that this job was given: where it sees none, that is an error")
    parser.add_argument("--cpus", type=int, default=machine.cpus(), help="processes where there is no GPU; by default all that may be used")
    args = parser.parse_args(argv)
    if args.settings.get("engine") == "vllm":
        vllm_engine.enter(sys.argv[1:] if argv is None else argv)

    manifest = files.read_json(args.manifest)
    one_by_one = manifest.get("admission", {}).get("answers") == "one by one"
    fingerprint = manifest["fingerprint"] + (" one by one" if one_by_one else "")
    asked = {language: prompts.questions(args.benchmark_folder, language, args.settings) for language in args.languages}
    output = {language: args.output_folder / f"{language}.jsonl" for language in args.languages}
    work = {language: args.work / f"{language}.jsonl" for language in args.languages}
    answers: dict[str, dict[str, Any]] = {}
    for path in (*output.values(), *work.values()):
        answers |= read_answers(path)

    parallel: dict[str, list[tuple[str, str]]] = {}
    for language in args.languages:
        parallel |= prompts.parallel(args.benchmark_folder, language, args.settings)
    lengths = {direction: files.sha256_json(pairs) for direction, pairs in parallel.items()}
    keys = {
        language: [
            content_key(fingerprint, row, args.settings, lengths.get(row.direction, "")) if isinstance(row, prompts.Question) else ""
            for row in rows
        ]
        for language, rows in asked.items()
    }
    todo: dict[str, tuple[str, prompts.Question]] = {}
    for language, rows in asked.items():
        for key, row in zip(keys[language], rows, strict=True):
            if isinstance(row, prompts.Question) and key not in answers:
                todo.setdefault(key, (language, row))
    total = sum(isinstance(row, prompts.Question) for rows in asked.values() for row in rows)
    if todo:
        from tqdm import tqdm

        start = time.monotonic()
        machine.check_gpus(args.gpus)
        model_files.check_unchanged(args.model_folder, manifest)
        engine = load(args.model_folder, list(todo.values()), args.settings, args.cpus, one_by_one)
        loaded = time.monotonic()
        names, tokens = list(todo), 0
        with tqdm(total=len(todo), desc=f"{args.model} {args.benchmark}", unit="item", file=sys.stderr) as progress:
            for index, answer in compute(engine, list(todo.values()), args.settings, parallel, args.cpus):
                key = names[index]
                append(work[todo[key][0]], {"key": key} | answer)
                answers[key] = answer
                progress.update()
                if tokens := tokens + answer.get("tokens", 0):
                    progress.set_postfix_str(f"{tokens / progress.format_dict['elapsed']:.0f} tokens/s", refresh=False)
        # `make cost` reads this: what is neither is time in which the GPU was held and idle.
        print(f"load {loaded - start:.1f} s, answer {time.monotonic() - loaded:.1f} s", file=sys.stderr)

    for language, rows in asked.items():
        lines = (record(row, key, answers) for row, key in zip(rows, keys[language], strict=True))
        files.write_jsonl(output[language], (line | {"lines": len(rows)} for line in lines))
    for path in work.values():
        path.unlink(missing_ok=True)
    with suppress(OSError):  # another shard may be at work in the same folder
        args.work.rmdir()
    print(f"{args.model} {args.benchmark}: answered {len(todo)}, reused {total - len(todo)}", file=sys.stderr)


def record(row: prompts.Question | prompts.Gap, key: str, answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One line of the output, but for the number of its lines, by which a lost one is noticed."""
    if isinstance(row, prompts.Gap):
        return {"direction": row.direction, "protocol": row.protocol, "reason": row.reason}
    shown = {"examples": list(row.examples)} if row.examples else {"order": row.order} if row.order else {}
    return {"item": row.item, "direction": row.direction, "protocol": row.protocol, "key": key} | shown | answers[key]


if __name__ == "__main__":
    cli.run(main)
