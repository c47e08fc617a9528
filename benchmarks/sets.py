"""How well the items of the harness's sets are known in training text: which can be known, planted ones found, other text accused, memory.

    python benchmarks/sets.py --other alpaca_demo.tar.xz xnli:xnli_dev m_arc:m_arc xcopa:xcopa/data mgsm:mgsm

Each set is benchmark:folder. All its languages are prepared from the folder and audited by a step of its own, one thread, in a mixture of
the other instructions (`--other`: an archive of alpaca's JSON lists) and every fiftieth item of each language, asked in capitals with its
options listed.

"known": items with a text that is long enough to be searched for. "accused": other instructions in which the audit finds the set.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import polars as pl  # noqa: E402

from workflow_scripts.benchmarks import harness as benchmark_files  # noqa: E402
from workflow_scripts.common import archives, contamination, files, harness, tables  # noqa: E402


def asked(doc: dict[str, object], evidence: str) -> str:
    """A question with its options, as an instruction would ask it."""
    fields = max(evidence.split(), key=lambda entry: entry.count("+")).split("+")
    first, *options = (str(doc[field]) for field in fields if doc.get(field))
    return "\n".join([first.upper(), *(f"{letter}) {option.upper()}" for letter, option in zip("ABCDE", options, strict=False))])


def audit(folder: Path, benchmark: str, languages: list[str]) -> tuple[pl.DataFrame, float, float]:
    """What the audit finds, its CPU seconds and its peak megabytes."""
    settings = {"languages": languages, "kept_out": [], "benchmarks": [benchmark], "decontamination": {"ngram": 4, "similarity": 0.6}}
    arguments = ["--mixture", str(folder / "mixture.parquet"), "--benchmarks-folder", str(folder), "--settings", json.dumps(settings)]
    arguments += ["--ledger", str(folder / "audit.csv"), "--contaminated", str(folder / "found.csv")]
    one_thread = os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "workflow_scripts.mixtures.audit", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=one_thread, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("the audit failed")
    return pl.read_csv(folder / "found.csv", infer_schema=False), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="BENCHMARK:FOLDER")
    parser.add_argument("--other", type=Path, required=True)
    arguments = parser.parse_args()
    listed = [row for _, content in archives.members(arguments.other, ["*.json"]) for row in json.loads(content)]
    other = [("other", f"{row['instruction']}\n{row.get('input', '')}", row["output"]) for row in listed]
    print(
        "| set | languages | items | known, % | planted | found, % | other instructions | accused | files, MB | audit, CPU s | peak, MB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for benchmark, _, path in (entry.partition(":") for entry in arguments.sets):
        row = tables.row(harness.TABLE, benchmark)
        with tempfile.TemporaryDirectory() as temporary:
            folder, planted, items, known = Path(temporary), [], 0, 0
            written = []
            for language in harness.codes(row):
                prepared = benchmark_files.prepare(benchmark, language, {"shots": 0, "path": path})
                written.append(folder / benchmark / f"{language}.json")
                files.write_json(written[-1], prepared)
                items += len(prepared["items"])
                known += len({line.item for line in contamination.benchmark_lines(written[-1:])})
                planted += [(item["item"], asked(item["doc"], row["evidence"]), "A") for item in prepared["items"][::50]]
            rows = [*other, *planted]
            messages = [[{"role": "user", "content": text}, {"role": "assistant", "content": answer}] for _, text, answer in rows]
            ids = [f"{number} {item}" for number, (item, _, _) in enumerate(rows)]
            pl.DataFrame({"id": ids, "language": "eng_Latn", "messages": messages}).write_parquet(folder / "mixture.parquet")
            table, cpu, peak = audit(folder, benchmark, list(harness.codes(row)))
            pairs = set(table.select("row", "item").iter_rows())
            found = sum((name, name.split(" ", 1)[1]) in pairs for name in ids[len(other) :])
            accused = len(set(table["row"]) & set(ids[: len(other)]))
            size = f"{sum(file.stat().st_size for file in written) / (1 << 20):.1f}"
            count = len(written)
            shares = f"{100 * known / items:.1f} | {len(planted):,} | {100 * found / len(planted):.1f}"
            print(
                f"| {row['name']} | {count} | {items:,} | {shares} | {len(other):,} | {accused} | {size} | {cpu:.1f} | {peak:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
