"""How fast scoring is beside sacrebleu's own command line, and whether both print the same digits.

    python benchmarks/scoring.py --flores flores200_dataset.tar.xz [--languages all] [--lines 100]
        [--workers 1 2] [--spm flores200=FILE] [--keep FOLDER]
    python benchmarks/scoring.py --data results --benchmark messages --model lifted --baseline base [--languages deu_Latn]

With --data: a folder that holds benchmarks/<benchmark>/ and predictions/<model>/<benchmark>/, such as `results`. With --flores (the
official archive, or the folder it unpacks to): the references of FLORES-200 devtest are real, but no system's output is at hand, so
three "systems" are made from them by a seeded rule (words, or characters where there are no spaces, dropped, replaced and swapped):
`lifted`, and `base` with and without worked examples, all as if from English (English as if from French).

For each language, direction and protocol sacrebleu is called once with all systems and `--paired-bs`: that is its cheapest call that gives
scores, intervals and p values, and its time is what ours is divided by. It is called once more with `--confidence`, whose interval is
the one we print. spBLEU takes calls of its own. Every score must equal the printed one in all 14 digits after the point, every end of an
interval within 5e-14, every p value in the 4 digits printed; a difference is named and ends with status 1.

--keep FOLDER keeps what sacrebleu printed, and its seconds, so that all 204 languages (an hour) can be compared again in minutes.
"""

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.common import files, languages  # noqa: E402
from workflow_scripts.common.text import FORM  # noqa: E402
from workflow_scripts.scores import inputs  # noqa: E402
from workflow_scripts.scores.translation import SPM  # noqa: E402

RATES = {"lifted 0-shot": 0.30, "base 3-shot": 0.31, "base 0-shot": 0.55}  # the first two so close that p values are not all alike
SAMPLE = ["eng_Latn", "deu_Latn", "swh_Latn", "zul_Latn", "ell_Grek", "rus_Cyrl", "arb_Arab", "hin_Deva", "ben_Beng", "amh_Ethi"]
SAMPLE += ["kor_Hang", "jpn_Jpan", "zho_Hans", "tha_Thai"]
NAMES = {"chrf": "chrF++", "bleu": "BLEU", "ter": "TER"}
PLACES = {"flores200": "flores200sacrebleuspm", "flores101": "sacrebleu_tokenizer_spm.model"}  # where sacrebleu looks for the models

Clock = tuple[float, float]  # seconds: wall, CPU


def devtest(source: Path, codes: Sequence[str], limit: int | None = None) -> dict[str, list[str]]:
    """The first lines of FLORES-200 devtest by language; all languages without `codes`."""
    texts = {}
    if source.is_dir():
        for path in sorted(source.rglob("*.devtest")):
            texts[path.stem] = path.read_text(encoding="utf-8")
    else:
        with tarfile.open(source) as archive:
            for member in archive:
                if member.name.endswith(".devtest"):
                    texts[Path(member.name).stem] = archive.extractfile(member).read().decode("utf-8")
    wanted = dict.fromkeys([*(codes or sorted(texts)), "eng_Latn", "fra_Latn"])
    return {code: texts[code].removesuffix("\n").split("\n")[:limit] for code in wanted}


def corrupted(texts: Sequence[str], rate: float, seed: str) -> list[str]:
    """Drop a quarter of `rate` of the words, replace half of it by random words of the text, and swap neighbours at an eighth."""
    draw = random.Random(seed)
    spaced = sum(text.count(" ") for text in texts) > 3 * len(texts)
    units = [text.split(" ") if spaced else list(text) for text in texts]
    pool = [unit for line in units for unit in line]
    made = []
    for line in units:
        kept = [draw.choice(pool) if draw.random() < rate / 2 else unit for unit in line if draw.random() >= rate / 4]
        for place in range(len(kept) - 1):
            if draw.random() < rate / 8:
                kept[place : place + 2] = kept[place + 1], kept[place]
        made.append((" " if spaced else "").join(kept))
    return made


def sacrebleu(arguments: Sequence[str], texts: Sequence[Sequence[str]], keep: Path, spm: dict[str, Path]) -> tuple[str, Clock]:
    """What sacrebleu's command line prints for references and systems, and its time; read from `keep` if it is there."""
    kept = keep / f"{files.sha256_json([arguments, texts, {name: files.sha256_file(path) for name, path in spm.items()}])}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            names = ["references", *(f"system{number}" for number in range(1, len(texts)))]
            for name, lines in zip(names, texts, strict=True):
                (Path(folder) / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
            (Path(folder) / "models").mkdir()
            for name, path in spm.items():
                (Path(folder) / "models" / PLACES[name]).symlink_to(path.resolve())
            command = [sys.executable, "-m", "sacrebleu", names[0], "-i", *names[1:], *arguments, "--width", "14", "--no-color"]
            printed, clock = timed(command, cwd=folder, env=os.environ | {"SACREBLEU": folder})
        files.write_json(kept, {"printed": printed, "clock": clock})
    found = files.read_json(kept)
    return found["printed"], tuple(found["clock"])


def timed(command: Sequence[str], **how: Any) -> tuple[str, Clock]:
    """What a command prints, and its seconds (wall, CPU with its children)."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8", **how)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return done.stdout, (wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def make(source: Path, codes: Sequence[str], data: Path, limit: int | None = None) -> list[str]:
    """Write benchmark and predictions of FLORES-200 to `data` as the workflow would; gives the languages."""
    texts = devtest(source, codes, limit)
    facts = {"benchmark": "flores200", "version": "1", "shape": "flores"}
    for code, lines in texts.items():
        items = [{"split": "devtest", "item": number, "text": line} for number, line in enumerate(lines)]
        files.write_json(data / f"benchmarks/flores200/{code}.json", facts | {"language": code, "items": items})
        direction = f"{'fra_Latn' if code == 'eng_Latn' else 'eng_Latn'}-{code}"
        answers: dict[str, list[dict[str, Any]]] = {"lifted": [], "base": []}
        for name, rate in RATES.items():
            model, protocol = name.split()
            made = enumerate(corrupted(lines, rate, f"{code} {name}"))
            answers[model] += [{"direction": direction, "protocol": protocol, "item": item, "answer": text} for item, text in made]
        for model, rows in answers.items():
            files.write_jsonl(data / f"predictions/{model}/flores200/{code}.jsonl", rows)
    return codes or sorted(texts)


def ours(args: argparse.Namespace, codes: Sequence[str], workers: int, output: Path) -> Clock:
    """Seconds to score all languages with `workers` processes."""
    spm = {name: {"path": str(path), "sha256": files.sha256_file(path)} for name, path in args.spm.items()}
    metrics = ["chrF++", "BLEU", "TER", *(name for name, model in SPM.items() if model in args.spm)]
    command = [sys.executable, "-m", "workflow_scripts.scores.score", "--model", args.model, "--languages", *codes]
    command += ["--benchmark-folder", f"{args.data}/benchmarks/{args.benchmark}"]
    command += ["--predictions-folder", f"{args.data}/predictions/{args.model}/{args.benchmark}"]
    for baseline in args.baseline:
        command += ["--baseline", f"{baseline}={args.data}/predictions/{baseline}/{args.benchmark}"]
    command += ["--settings", json.dumps({"metrics": metrics, "resamples": 1000, "spm": spm})]
    return timed([*command, "--workers", str(workers), "--output-folder", str(output)], cwd=ROOT)[1]


def calls(rows: Sequence[dict[str, Any]], target: str) -> list[tuple[list[str], list[str]]]:
    """The calls of sacrebleu that give what `rows` hold: our names of the metrics, in the order it prints them, and its options."""
    tokenizer = languages.get(target).bleu_tokenizer
    scored = {row["metric"] for row in rows if row["value"] is not None}
    names = [name for name, ours in NAMES.items() if ours in scored]
    options = ["-m", *names, "--chrf-word-order", "2", "--tokenize", tokenizer]
    if "ter" in names and tokenizer == "zh":
        options += ["--ter-normalized", "--ter-asian-support"]
    own = [([name], ["-m", "bleu", "--tokenize", model]) for name, model in SPM.items() if name in scored]
    return [([NAMES[name] for name in names], options), *own]


def compare(rows: Sequence[dict[str, Any]], texts: Sequence[list[str]], args: argparse.Namespace, totals: Counter[str]) -> None:
    """Ask sacrebleu for the scores in `rows` (one direction and protocol), and print what differs. `texts`: references and systems."""
    where = f"{rows[0]['direction']} {rows[0]['protocol']}"

    def same(what: str, right: bool) -> None:
        totals[what] += 1
        if not right:
            totals["differences"] += 1
            print(f"{where}: {what} differs")

    baselines = list(dict.fromkeys(row["baseline"] for row in rows if row["baseline"]))
    by_name = {(row["metric"], row["baseline"]): row for row in rows}
    for metrics, options in calls(rows, rows[0]["direction"].split("-")[1]):
        printed, clock = sacrebleu([*options, "--confidence"], texts[:2], args.keep, args.spm)
        totals.update({"alone, wall": clock[0], "alone, CPU": clock[1]})
        found = json.loads(printed)
        by_metric = {{"chrF2++": "chrF++"}.get(one["name"], one["name"]): one for one in (found if isinstance(found, list) else [found])}
        for metric in metrics:
            one, row = by_metric[metric if metric in by_metric else "BLEU"], by_name[metric, (baselines or [""])[0]]
            same("score", f"{row['value']:.14f}" == f"{one['score']:.14f}")
            same("signature", row["signature"] == f"{one['signature']}|form:{FORM}")
            if "confidence_mean" not in one:  # sacrebleu prints no interval around zero
                continue
            mean, half = one["confidence_mean"], one["confidence_var"]
            top = 100.0 if metric != "TER" else float("inf")
            for end, expected in (("low", max(0.0, mean - half)), ("high", min(top, mean + half))):
                same("interval", abs(row[end] - expected) < 5e-14)
        if not baselines:
            continue
        printed, clock = sacrebleu([*options, "--paired-bs", "-f", "text"], texts, args.keep, args.spm)
        totals.update({"paired, wall": clock[0], "paired, CPU": clock[1]})
        scores = [float(score) for score in re.findall(r"([\d.]+) \([\d.]+ ±", printed)]
        p_values = re.findall(r"\(p = ([\d.]+)\)", printed)
        for number, (baseline, metric) in enumerate(product(baselines, metrics)):
            row = by_name[metric, baseline]
            same("baseline's score", abs(row["value"] - row["delta"] - scores[len(metrics) + number]) < 5e-14)
            if row["delta"]:  # of equal scores sacrebleu prints its smallest p value
                same("p value", f"{row['p_value']:.4f}" == p_values[number])


def compare_language(code: str, output: Path, args: argparse.Namespace, totals: Counter[str]) -> None:
    """All directions and protocols of one language of shape flores; sacrebleu gets texts in the form that signatures name."""
    folders = {name: args.data / f"predictions/{name}/{args.benchmark}/{code}.jsonl" for name in args.baseline}
    predictions = args.data / f"predictions/{args.model}/{args.benchmark}/{code}.jsonl"
    read = inputs.read(args.model, args.data / f"benchmarks/{args.benchmark}", code, predictions, folders)
    rows = [row for row in files.read_json(output / f"{code}.json")["scores"] if row["metric"] in (*NAMES.values(), *SPM)]
    for (direction, protocol), answers in read.groups.items():
        here = [row for row in rows if (row["direction"], row["protocol"]) == (direction, protocol)]
        if isinstance(answers, str) or not here:
            continue
        compared = [tuple(row["baseline"].split("/")) for row in here if row["baseline"]]
        others = [read.baselines[name][direction, shots] for name, shots in dict.fromkeys(compared)]
        sides = (read.texts[direction.split("-")[1]], answers, *others)
        compare(here, [[side[item] for item in sorted(answers)] for side in sides], args, totals)


def named_file(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path).resolve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--flores", type=Path, help="official archive of FLORES-200, or its folder")
    source.add_argument("--data", type=Path, help="folder with benchmarks/ and predictions/")
    parser.add_argument("--benchmark", default="flores200")
    parser.add_argument("--model", default="lifted")
    parser.add_argument("--baseline", nargs="*", default=["base"])
    parser.add_argument("--languages", nargs="+", default=SAMPLE, help="codes, or all")
    parser.add_argument("--lines", type=int, help="of FLORES, so many; all if not given")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--spm", nargs="*", default=[], type=named_file, help="flores200=FILE, flores101=FILE: SentencePiece models")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    args.spm = dict(args.spm)
    with tempfile.TemporaryDirectory() as scratch:
        args.keep = args.keep or Path(scratch) / "printed"
        codes = [] if args.languages == ["all"] else args.languages
        if args.flores:
            args.data = Path(scratch)
            codes = make(args.flores, codes, args.data, args.lines)
        args.data = args.data.resolve()  # the step runs in the project's folder
        codes = codes or sorted(path.stem for path in (args.data / f"predictions/{args.model}/{args.benchmark}").glob("*.jsonl"))
        outputs = {workers: Path(scratch) / f"scores-{workers}" for workers in args.workers}
        clocks = {workers: ours(args, codes, workers, output) for workers, output in outputs.items()}
        totals: Counter[str] = Counter()
        for code in codes:
            first, *others = [(output / f"{code}.json").read_bytes() for output in outputs.values()]
            totals["differences"] += sum(other != first for other in others)
            compare_language(code, outputs[args.workers[0]], args, totals)
        print(
            f"{len(codes)} languages, {os.cpu_count()} CPUs",
            *(f"{what}: {count}" for what, count in totals.items() if "," not in what),
            sep="\n",
        )
        way = "paired" if totals["paired, wall"] else "alone"
        for name in ("alone", "paired"):
            print(f"sacrebleu, {name:<9} {totals[f'{name}, wall']:8.1f} s wall {totals[f'{name}, CPU']:8.1f} s CPU")
        for workers, (wall, cpu) in clocks.items():
            print(f"ours, {workers} workers     {wall:8.1f} s wall {cpu:8.1f} s CPU", end="; ")
            print(f"sacrebleu takes {totals[f'{way}, wall'] / wall:.1f} times as long, {totals[f'{way}, CPU'] / cpu:.1f} times the CPU")
    if totals["differences"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
