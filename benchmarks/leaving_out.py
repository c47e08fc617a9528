"""What it costs a mixture that no row may hold text of FLORES-200 in any language: CPU seconds and memory of `mix`, and of the audit.

    python benchmarks/leaving_out.py --flores flores200_dataset.tar.xz --texts nllb_seed.tar.xz --rows 10000 100000

--texts: an archive of aligned lines, one file named by its code for each language, English among them. Translation instructions are made
of them, and of FLORES' devtest lines in 204 languages, some planted in each language as if it were their own (`--planted` in all). Each
size is drawn without a search and with one in all languages of the archive, each in a process of its own, one thread. "index" is a mixture
of ten rows: what remains is start-up and the index.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import polars as pl  # noqa: E402

from workflow_scripts.common import archives, files, ledger  # noqa: E402
from workflow_scripts.instructions import translation  # noqa: E402

ENGLISH = "eng_Latn"
TEMPLATES = ["en-labelled", "en-01"]
SETTINGS = {"shares": {"cross-lingual": 1.0}, "temperature": 1, "cap": 1 << 40, "repeats": 1, "corpus_caps": {}, "seed": 1}


def flores(archive: Path, folder: Path) -> list[tuple[str, str, int, str]]:
    """The benchmark files, as the rule `benchmark` makes them; language, split, number and text of every line."""
    lines = []
    for name, content in archives.members(archive, ["*/dev/*.dev", "*/devtest/*.devtest"]):
        language, split = Path(name).name.split(".")
        lines += [(language, split, number, text) for number, text in enumerate(content.decode("utf-8").splitlines())]
    for language, own in itertools.groupby(sorted(lines), key=lambda line: line[0]):
        items = [{"split": split, "item": number, "text": text} for _, split, number, text in own]
        files.write_json(folder / f"flores200/{language}.json", {"benchmark": "flores200", "language": language, "items": items})
    return sorted(lines)


def pairs(texts: dict[str, list[str]], planted: list[str]) -> dict[str, pl.DataFrame]:
    """Pairs of English and each language; `planted` lines stand as translations of English lines, some in each language."""
    languages = sorted(set(texts) - {ENGLISH})
    found = {}
    for place, language in enumerate(languages):
        own = [*zip(texts[ENGLISH], texts[language], strict=True)]
        own += zip(texts[ENGLISH], planted[place :: len(languages)], strict=False)
        rows = [(f"{language}{number}", "seed", "", ENGLISH, language, *row, "CC-BY-SA-4.0") for number, row in enumerate(own)]
        names = ["id", "corpus", "key", "source_language", "target_language", "source", "target", "licence"]
        found[language] = pl.DataFrame(rows, schema=names, orient="row")
    return found


def step(module: str, *arguments: str) -> tuple[float, float]:
    """CPU seconds and peak megabytes of a step in a process of its own, with one thread."""
    one_thread = os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"workflow_scripts.mixtures.{module}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=one_thread, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{module} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--planted", type=int, default=1_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lines = flores(arguments.flores, folder / "benchmarks")
        languages = sorted({line[0] for line in lines})
        planted = [text for language, split, number, text in lines if split == "devtest"]
        planted = planted[:: max(1, len(planted) // arguments.planted)][: arguments.planted]
        members = archives.members(arguments.texts, ["*/*_*"])
        texts = {Path(member).name: content.decode("utf-8").splitlines() for member, content in members}
        instructions = []
        for language, table in pairs(texts, planted).items():
            table.write_parquet(folder / "pairs.parquet")
            instructions.append(str(folder / f"{language}.parquet"))
            options = ["--pairs", str(folder / "pairs.parquet"), "--language", language, "--settings", json.dumps({"templates": TEMPLATES})]
            translation.main([*options, "--output", instructions[-1], "--ledger", str(folder / "made.csv")])
        against = {"against": ["flores200"], "ngram": 4, "similarity": 0.6, "languages": languages}
        mixture, mixed, found = folder / "mixture.parquet", folder / "m.csv", folder / "found.csv"
        common = ["--benchmarks-folder", str(folder / "benchmarks"), "--settings"]
        print(f"{len(lines):,} lines of {len(languages)} languages, {len(planted)} of them planted in both directions")
        print("| rows | step | CPU s | peak MB | rows left out or found |\n| --- | --- | --- | --- | --- |")
        for rows in [10, *arguments.rows]:
            title = "index" if rows == 10 else f"{rows:,}"
            for name, more in (("mix, no search", {}), ("mix", {"decontamination": against})):
                options = ["--mixture", "m", "--instructions", *instructions, *common, json.dumps(SETTINGS | {"examples": rows} | more)]
                cpu, peak = step("mix", *options, "--output", str(mixture), "--ledger", str(mixed))
                left = sum(int(fact.value or 0) for fact in ledger.read(mixed) if fact.measure == "contaminated:flores200")
                print(f"| {title} | {name} | {cpu:.1f} | {peak:,.0f} | {left if more else ''} |", flush=True)
            settings = {"decontamination": against, "languages": languages, "kept_out": [], "benchmarks": ["flores200"]}
            options = ["--mixture", str(mixture), *common, json.dumps(settings), "--contaminated", str(found)]
            cpu, peak = step("audit", *options, "--ledger", str(folder / "audit.csv"))
            count = pl.read_csv(found, infer_schema=False)["row"].n_unique()
            print(f"| {title} | audit | {cpu:.1f} | {peak:,.0f} | {count} |", flush=True)


if __name__ == "__main__":
    main()
