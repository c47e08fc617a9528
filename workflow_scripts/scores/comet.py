"""COMET of every answer of a model, language by language; COMET is loaded once, and only if something is left to judge.

Runs in COMET's own environment (envs/comet.txt), so what it imports must need nothing of the main one. Each language's file carries a
content key of what its scores depend on: the COMET model, the version of unbabel-comet, sources, answers and references. Where a side is
a language that COMET's encoder never saw, there is a reason and no score.
"""

import argparse
import inspect
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from ..common import cli, files, first_calls, machine
from ..common.cli import UserError
from . import inputs

JUDGE_VERSION = 1  # to be raised when the same answers get other numbers: then every language is judged again
DECIMALS = 6
SET_UP = (
    "COMET is not installed here: run `make setup-comet` (it makes .venv-comet), or set PIVOTLIFT_COMET_PYTHON to the Python of an "
    "environment with the pins of envs/comet.txt."
)

Group = dict[str, Any]  # direction, protocol, and reason or items and samples (later scores)
Judge = Callable[[list[dict[str, str]]], list[float]]


def version() -> str:
    try:
        return metadata.version("unbabel-comet")
    except metadata.PackageNotFoundError:
        raise UserError(SET_UP) from None


def groups(found: inputs.Inputs, uncovered: dict[str, str], references: bool) -> list[Group]:
    """What there is to judge in one language, by direction and protocol; `uncovered` names the languages that COMET cannot judge."""
    result: list[Group] = []
    for (direction, protocol), answers in found.groups.items():
        group: Group = {"direction": direction, "protocol": protocol}
        sides = direction.split("-")
        if isinstance(answers, str):
            group["reason"] = answers
        elif unseen := [uncovered[side] for side in sides if side in uncovered]:
            group["reason"] = f"n/a: COMET's encoder was not trained on {' and '.join(unseen)}"
        else:
            source, target = sides
            group["items"] = sorted(answers)
            group["samples"] = [
                {"src": found.texts[source][item], "mt": answers[item]} | ({"ref": found.texts[target][item]} if references else {})
                for item in group["items"]
            ]
        result.append(group)
    return result


def judged(todo: list[Group], judge: Judge) -> list[Group]:
    """The groups with scores in place of samples; equal samples are judged once."""
    distinct = list(dict.fromkeys(tuple(sample.items()) for group in todo for sample in group.get("samples", ())))
    scores = dict(zip(distinct, judge([dict(sample) for sample in distinct]), strict=True)) if distinct else {}
    return [
        {name: value for name, value in group.items() if name != "samples"}
        | ({"scores": [round(scores[tuple(sample.items())], DECIMALS) for sample in group["samples"]]} if "samples" in group else {})
        for group in todo
    ]


def load(folder: Path, batch_size: int) -> Judge:
    """COMET from the folder that `comet_model` made, as its own loader would build it, but without a pickle and without a network."""
    try:
        import torch
        from comet.models import str2model
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{SET_UP} ({error})") from error
    first_calls.settle()
    hparams = files.read_json(folder / "hparams.json")
    kind = str2model[hparams["class_identifier"]]
    known = {name: value for name, value in hparams.items() if name in inspect.signature(kind).parameters}
    model = kind(**known | {"pretrained_model": str(folder / "encoder"), "load_pretrained_weights": False, "local_files_only": True})
    lost = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False).missing_keys
    # What is no parameter, such as the weights of a training loss, may be missing from a checkpoint of another version.
    if lost := [name for name, _ in model.named_parameters() if name in lost]:
        raise UserError(f"{folder} lacks weights of a {kind.__name__}, {lost[0]} among them: it is a checkpoint of another COMET.")

    def judge(samples: list[dict[str, str]]) -> list[float]:
        try:
            return model.predict(samples, batch_size, gpus=int(torch.cuda.is_available()), progress_bar=False).scores
        except torch.cuda.OutOfMemoryError as error:
            raise UserError("the GPU has too little memory: lower evaluate.comet.<name>.batch_size.") from error

    return judge


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comet-folder", required=True, type=Path, help="made by workflow_scripts.scores.comet_model")
    parser.add_argument("--manifest", required=True, type=Path, help="manifest.json of that folder")
    parser.add_argument("--model", required=True, help="the model that answered")
    parser.add_argument("--benchmark-folder", required=True, type=Path, help="holds <language>.json")
    parser.add_argument("--languages", required=True, nargs="+", metavar="CODE")
    parser.add_argument("--predictions-folder", required=True, type=Path, help="holds <language>.jsonl")
    parser.add_argument("--uncovered", required=True, type=cli.json_object, help="languages that COMET cannot judge: code to name")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--output-folder", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path, help="scores of a run that was cut off")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that this job was given: where it sees none, that is an error")
    args = parser.parse_args(argv)

    about = files.read_json(args.manifest)
    comet = {"model": about["fingerprint"], "version": version(), "judge": JUDGE_VERSION}
    judge: Judge | None = None
    fresh = 0
    for language in args.languages:
        found = inputs.read(args.model, args.benchmark_folder, language, args.predictions_folder / f"{language}.jsonl", {})
        todo = groups(found, args.uncovered, about["references"])
        of = found.benchmark | {"model": args.model, "language": language}
        key = files.sha256_json({"comet": comet, "of": of, "groups": todo})
        output, work = args.output_folder / f"{language}.json", args.work / f"{language}.json"
        if files.key_of(output) == key:
            continue
        if files.key_of(work) == key:
            with files.whole_file(output) as part:
                shutil.copyfile(work, part)
            continue
        if judge is None and any("samples" in group for group in todo):
            machine.check_gpus(args.gpus)
            judge = load(args.comet_folder, args.batch_size)
        result = judged(todo, judge or (lambda _: []))
        for path in (work, output):
            files.write_json(path, {"key": key, "comet": comet, "groups": result} | of)
        fresh += 1
        print(f"{args.model} {args.benchmark_folder.name}: {language} judged", file=sys.stderr)
    print(f"{args.model} {args.benchmark_folder.name}: judged {fresh}, reused {len(args.languages) - fresh}", file=sys.stderr)
    for language in args.languages:
        (args.work / f"{language}.json").unlink(missing_ok=True)
    with suppress(OSError):
        args.work.rmdir()


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # tokenizers warns of its threads at every language otherwise
    cli.run(main)
