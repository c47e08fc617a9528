"""Score the answers of one model in several languages of one benchmark, beside its baselines; one file a language.

By hand:

    python -m workflow_scripts.scores.score --model lifted --benchmark-folder results/benchmarks/udhr --languages deu_Latn hin_Deva
        --predictions-folder results/predictions/lifted/udhr --baseline base=results/predictions/base/udhr
        --settings '{"metrics": ["chrF++", "BLEU"], "resamples": 1000}' --output-folder results/scores/lifted/udhr

Each file carries a key of what its scores depend on: settings, answers and test sentences. A language whose key still holds is not
scored again. Each finished language is written at once; with --work also there, where a run that was cut off finds it again when Snakemake
has put the old outputs back. A language that cannot be scored stops no other.

Settings: metrics, resamples of the bootstrap, significance (bootstrap or randomisation), and spm, which gives `path` and `sha256` of the
SentencePiece models flores200 and flores101 that spBLEU needs. Others are passed over.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import cli, files, tables
from ..common.cli import UserError
from . import inputs, rows, translation

SCHEMA = tables.SCHEMAS / "scores.schema.json"
SCORE_VERSION = 3  # to be raised when the same answers get other numbers: then every language is scored again
EMPTY: dict[str, Any] = {
    "value": None, "low": None, "high": None, "n": None, "signature": "",
    "baseline": "", "delta": None, "p_value": None, "reason": "",
}  # fmt: skip
DEFAULTS: dict[str, Any] = {"metrics": ["chrF++"], "resamples": 1000, "significance": "bootstrap", "spm": {}}


@dataclass(frozen=True)
class Shard:
    """What one call scores, but for the languages."""

    model: str
    benchmark_folder: Path
    predictions_folder: Path
    baselines: dict[str, Path]
    settings: dict[str, Any]
    output_folder: Path
    work: Path | None
    contaminated: tuple[Path, ...] = ()

    def score(self, language: str) -> bool:
        """Bring one language's file up to date; False if it was so already."""
        name = f"{language}.jsonl"
        others = {model: folder / name for model, folder in self.baselines.items()}
        found = inputs.read(self.model, self.benchmark_folder, language, self.predictions_folder / name, others, self.contaminated)
        known = self.settings | {"spm": translation.models_at_hand(self.settings)}
        key = found.key(SCORE_VERSION, known)
        output = self.output_folder / f"{language}.json"
        work = self.work / output.name if self.work else output
        if files.key_of(output) == key:
            return False
        if files.key_of(work) == key:
            with files.whole_file(output) as part:
                shutil.copyfile(work, part)
            return False
        made = content(found, self.settings)
        for number, row in enumerate(made["scores"], 1):
            tables.check(row, SCHEMA, f"{output} score {number}")
        for path in dict.fromkeys((work, output)):
            files.write_json(path, {"key": key} | made)
        return True


def content(found: inputs.Inputs, settings: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """`scores`: all rows, in the form of schemas/scores.schema.json; `gains`: of tests over passages, what each passage gained.

    The report needs these, since a mean over languages that share their passages is tested by passages, not by languages.
    """
    scores, gains = [], []
    for row in rows.rows(found, settings):
        if by_passage := row.pop("gains", None):
            gains.append({name: row[name] for name in ("direction", "protocol", "metric", "baseline")} | by_passage)
        scores.append(EMPTY | row)
    return {"scores": scores, "gains": gains} if gains else {"scores": scores}


def score(
    model: str, folder: Path, language: str, predictions: Path, baselines: dict[str, Path], settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """All rows of one model, benchmark and language, in the form of schemas/scores.schema.json."""
    return content(inputs.read(model, folder, language, predictions, baselines), checked(settings))["scores"]


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    settings = {name: settings.get(name, default) for name, default in DEFAULTS.items()}
    translation.check_settings(settings)
    return settings


def score_all(shard: Shard, languages: list[str], workers: int) -> Iterator[tuple[str, bool | BaseException]]:
    """Score each language, `workers` at a time: gives its name and whether it had to be scored, or its error, as each is ready."""
    if min(workers, len(languages)) <= 1:
        for language in languages:
            try:
                yield language, shard.score(language)
            except Exception as error:
                yield language, error
        return
    # New processes, not copies of this one: copies of a process with threads can hang.
    with ProcessPoolExecutor(min(workers, len(languages)), mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(shard.score, language): language for language in languages}
        for job in as_completed(jobs):
            failure = job.exception()
            yield jobs[job], job.result() if failure is None else failure


def named_folder(text: str) -> tuple[str, Path]:
    """Read NAME=FOLDER."""
    name, mark, path = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, got {text!r}")
    return name, Path(path)


def main(argv: list[str] | None = None) -> None:
    from tqdm import tqdm

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--benchmark-folder", required=True, type=Path, help="holds <language>.json")
    parser.add_argument("--languages", required=True, nargs="+", metavar="CODE")
    parser.add_argument("--predictions-folder", required=True, type=Path, help="holds <language>.jsonl")
    parser.add_argument("--baseline", action="append", default=[], type=named_folder, help="NAME=FOLDER of its predictions; repeatable")
    parser.add_argument("--settings", required=True, type=cli.json_object)
    parser.add_argument("--output-folder", required=True, type=Path)
    parser.add_argument("--contaminated", type=Path, nargs="*", default=[], help="what audits found in the mixtures the model learnt from")
    parser.add_argument("--work", type=Path, help="scores of a run that was cut off; one folder a shard")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes; by default one a usable CPU")
    args = parser.parse_args(argv)

    shard = Shard(
        args.model,
        args.benchmark_folder,
        args.predictions_folder,
        dict(args.baseline),
        checked(args.settings),
        args.output_folder,
        args.work,
        tuple(args.contaminated),
    )
    languages = list(dict.fromkeys(args.languages))
    errors: dict[str, BaseException] = {}
    scored = 0
    title = f"{args.model} {args.benchmark_folder.name}"
    with tqdm(total=len(languages), desc=title, unit="language", file=sys.stderr, mininterval=0) as progress:
        for language, found in score_all(shard, languages, args.workers):
            if isinstance(found, BaseException):
                errors[language] = found
                if not isinstance(found, (UserError, OSError)):
                    traceback.print_exception(found)
            else:
                scored += found
            progress.set_postfix_str(language, refresh=False)
            progress.update()
    print(f"{title}: scored {scored}, reused {len(languages) - scored - len(errors)}, failed {len(errors)}", file=sys.stderr)
    if errors:
        first, *others = sorted(errors)
        more = f" (and {len(others)} more: {', '.join(others)})" if others else ""
        raise UserError(f"{first} could not be scored{more}: {errors[first]} The scores of the other languages are kept.")
    if args.work:
        for language in languages:
            (args.work / f"{language}.json").unlink(missing_ok=True)
        with suppress(OSError):  # another shard may be at work in the same folder
            args.work.rmdir()


if __name__ == "__main__":
    cli.run(main)
