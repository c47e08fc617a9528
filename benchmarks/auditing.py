"""The audit of tokens at size: rows a second and memory, beside counting the same tokens row by row.

    python benchmarks/auditing.py --model results/models/gemma-3-270m-trimmed/model --mixture results/mixtures/laptop.parquet \\
        --rows 100000 200000 [--ways audit rows]

The mixture's rows are repeated until there are so many.

- audit: `workflow_scripts.models.audit`.
- rows: each row through `apply_chat_template` twice (prompt and whole) and through the tokenizer twice, and nothing counted but rows,
  tokens and tokens of answers of each language, which must be the audit's.

Each way runs in a process of its own, start and loading included. Seconds are wall and CPU; memory is the most that was resident.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MAX_LENGTH = 256
MEASURES = ("rows", "tokens", "completion_tokens")


def repeated(mixture: Path, rows: int, output: Path) -> None:
    table = pq.read_table(mixture)
    with pq.ParquetWriter(output, table.schema, compression="zstd") as file:
        while rows > 0:
            file.write_table(table.slice(0, rows))
            rows -= table.num_rows


def row_by_row(model: Path, mixture: Path, output: Path) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for batch in pq.ParquetFile(mixture).iter_batches(1000, columns=["language", "messages"]):
        for row in batch.to_pylist():
            turns = row["messages"]
            prompt = tokenizer.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
            whole = tokenizer.apply_chat_template(turns, tokenize=False)
            asked, ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, whole))
            if ids[: len(asked)] != asked:  # a token across the seam
                ids = asked + tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
            kept = max(0, min(MAX_LENGTH, len(ids)) - len(asked))
            counts[row["language"]].update({"rows": 1, "tokens": kept and len(asked) + kept, "completion_tokens": kept})
    output.write_text(json.dumps(counts, sort_keys=True))


def of_audit(path: Path) -> dict[str, dict[str, int]]:
    from workflow_scripts.common import ledger

    found: dict[str, dict[str, int]] = defaultdict(dict)
    for fact in ledger.read(path):
        if fact.measure in MEASURES:
            found[fact.language][fact.measure] = int(fact.value or 0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--mixture", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", required=True)
    parser.add_argument("--ways", nargs="+", choices=("audit", "rows"), default=["audit", "rows"])
    parser.add_argument("--count", type=Path, help=argparse.SUPPRESS)  # a process of the way `rows`: where it writes its counts
    args = parser.parse_args()
    if args.count:
        row_by_row(args.model, args.mixture, args.count)
        return
    print("| way | rows | wall s | CPU s | rows a second | MB |\n| --- | --- | --- | --- | --- | --- |")
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as name:
            mixture, outputs = Path(name) / "mixture.parquet", {way: Path(name) / way for way in args.ways}
            repeated(args.mixture, rows, mixture)
            both = ["--mixture", str(mixture)]
            calls = {
                "audit": ["-m", "workflow_scripts.models.audit", "--model", "m", "--base-model", str(args.model), *both,
                          "--max-length", str(MAX_LENGTH), "--answers", "last", "--output"],
                "rows": [__file__, "--model", str(args.model), *both, "--rows", "0", "--count"],
            }  # fmt: skip
            for way, output in outputs.items():
                start = time.monotonic()
                process = subprocess.Popen([sys.executable, *calls[way], str(output)], stdout=subprocess.DEVNULL, cwd=ROOT)
                _, status, usage = os.wait4(process.pid, 0)
                wall, cpu = time.monotonic() - start, usage.ru_utime + usage.ru_stime
                if status:
                    raise SystemExit(f"{way} failed")
                print(f"| {way} | {rows:,} | {wall:.1f} | {cpu:.1f} | {rows / wall:,.0f} | {usage.ru_maxrss / 1000:,.0f} |", flush=True)
            if len(outputs) == 2:
                counted, plain = of_audit(outputs["audit"]), json.loads(outputs["rows"].read_text())
                for code, measure in itertools.product(plain, MEASURES):
                    if counted[code][measure] != plain[code][measure]:
                        raise SystemExit(f"{code}: {measure} {counted[code][measure]} by the audit, {plain[code][measure]} row by row")


if __name__ == "__main__":
    main()
