"""Synthesising and mixing at the paper's scale: minutes and memory of ours, of a plain `datasets.map`, and of a copy of the same Parquet.

    python benchmarks/mixing.py 100000 3200000 [--ways ours datasets floor] [--folder FOLDER]

For each size N the text is made up, the same at every call: 100 languages (FLORES-200 codes, six scripts, words with a long tail, lengths
as in real corpora), N / 2 pairs with English and Chinese, skewed as corpora are, and 0.8 N general instructions in these two. From the
pairs N translation instructions are synthesised; the mixture draws N rows with BayLing 2's shares.

- ours: `workflow_scripts.instructions.translation` for every language, then `workflow_scripts.mixtures.mix`, in one process.
- datasets: the same with `datasets`: `map` (batched, two processes) for synthesis and for the hashes, `select` and `to_parquet` for the
  draw. It uses our plan and must end with the same rows in the same order, which is checked.
- floor: all Parquet that ours has made (instructions and mixture), read and written once with nothing done to it.

Each way runs in a process of its own. Seconds are wall and CPU (children included); memory is the highest sum of resident memory of the
process and its children, sampled ten times a second. The text is made before the clock starts; the folder is deleted unless it was named.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.common import files, languages, prompts  # noqa: E402
from workflow_scripts.instructions.table import COLUMNS, single_turn  # noqa: E402

PIVOTS = ("eng_Latn", "zho_Hans")
LANGUAGES = 100
TEMPLATES = ["en-labelled", "en-01", "en-03", "en-04", "en-08", "zh-01", "zh-02"]
LETTERS = {"Latn": (97, 122), "Cyrl": (0x430, 0x44F), "Arab": (0x627, 0x64A), "Deva": (0x905, 0x939), "Thai": (0xE01, 0xE2E)}
LETTERS |= {"Hans": (0x4E00, 0x5E00)}
VOCABULARY = 30_000
CHUNK = 50_000


def settings(examples: int) -> dict[str, Any]:
    """The mixture of the benchmark: BayLing 2's shares, half of the languages capped."""
    return {
        "examples": examples,
        "shares": {"zho_Hans": 0.432, "eng_Latn": 0.262, "cross-lingual": 0.306},
        "temperature": 3,
        "cap": max(1, examples // 150),
        "repeats": 1,
        "corpus_caps": {"lexicon": 0.2},
        "seed": 1,
    }


class Text:
    """Made-up text of one script: words of random letters, drawn with a long tail."""

    def __init__(self, script: str, draw: np.random.Generator) -> None:
        first, last = LETTERS.get(script, LETTERS["Latn"])
        self.space = "" if script in ("Hans", "Thai") else " "
        lengths = 1 + draw.poisson(0.6 if script == "Hans" else 4.5, VOCABULARY)
        letters = draw.integers(first, last + 1, lengths.sum())
        ends = np.cumsum(lengths)
        self.words = pa.array(["".join(map(chr, letters[end - n : end])) for end, n in zip(ends, lengths, strict=True)])
        self.draw = draw

    def lines(self, count: int, mean: float) -> pl.Series:
        """`count` texts of about `mean` words: log-normal, as lengths of sentences and answers are."""
        lengths = np.maximum(1, self.draw.lognormal(np.log(mean) - 0.25, 0.7, count)).astype(np.int64)
        ranks = (VOCABULARY ** self.draw.random(lengths.sum()) - 1).astype(np.int64)  # density ~ 1 / rank
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        return pl.Series(pc.binary_join(pa.ListArray.from_arrays(offsets, self.words.take(pa.array(ranks))), self.space))


def make(folder: Path, examples: int) -> None:
    """Pairs and general instructions for a mixture of `examples` rows, below corpora/ and instructions/general/."""
    codes = list(PIVOTS) + [code for code in languages.registry() if code not in PIVOTS][: 2 * LANGUAGES : 2][: LANGUAGES - 2]
    share = 1 / np.arange(1, len(codes)) ** 0.8
    counts = (share / share.sum() * examples / 2).astype(int)
    texts = {script: Text(script, np.random.default_rng(number)) for number, script in enumerate(LETTERS)}
    (folder / "corpora").mkdir(parents=True)
    (folder / "instructions/general").mkdir(parents=True)
    for code, count in zip(codes[1:], counts, strict=True):
        own = texts.get(languages.get(code).script, texts["Latn"])
        partners = ["eng_Latn"] if code == "zho_Hans" else list(PIVOTS)
        parts = []
        for partner in partners:
            size = count // len(partners)
            number = pl.int_range(size, eager=True)
            ids = [files.sha256_text(f"{code} {partner} {place}")[:16] for place in range(size)]
            parts.append(
                pl.DataFrame(
                    {
                        "id": pl.Series(ids, dtype=pl.String),
                        "corpus": pl.select(pl.when(number % 3 == 0).then(pl.lit("lexicon")).otherwise(pl.lit("bitext")))["literal"],
                        "key": number.cast(pl.String),
                        "source_language": [partner] * size,
                        "target_language": [code] * size,
                        "source": texts[languages.get(partner).script].lines(size, 16),
                        "target": own.lines(size, 16),
                        "licence": ["CC0-1.0"] * size,
                    }
                )
            )
        pl.concat(parts).write_parquet(folder / f"corpora/{code}.parquet")
    for code, size in (("zho_Hans", int(examples * 0.5)), ("eng_Latn", int(examples * 0.3))):
        path, text, writer = folder / f"instructions/general/{code}.parquet", texts[languages.get(code).script], None
        for start in range(0, size, CHUNK):
            few = min(CHUNK, size - start)
            fixed = {"kind": "general", "corpus": "chat", "licence": "CC0-1.0", "template": ""}
            fixed |= dict.fromkeys(("language", "source_language", "target_language"), code)
            own_ids = [files.sha256_text(f"general {code} {place}")[:16] for place in range(start, start + few)]
            rows = pl.DataFrame({"id": own_ids, "request": text.lines(few, 20), "answer": text.lines(few, 70)})
            rows = rows.with_columns(**{name: pl.lit(value) for name, value in fixed.items()})
            table = single_turn(rows).to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
        writer.close()


def ours(folder: Path, examples: int) -> None:
    from workflow_scripts.instructions import translation
    from workflow_scripts.mixtures import mix

    made = folder / "ours"
    for path in sorted((folder / "corpora").glob("*.parquet")):
        out = made / f"translation/{path.name}"
        options = ["--language", path.stem, "--settings", json.dumps({"templates": TEMPLATES})]
        translation.main(["--pairs", str(path), *options, "--output", str(out), "--ledger", str(out.with_suffix(".ledger.csv"))])
    print("seconds after synthesis:", round(time.monotonic() - START, 1), flush=True)
    inputs = [*(made / "translation").glob("*.parquet"), *(folder / "instructions/general").glob("*.parquet")]
    options = ["--mixture", "ours", "--settings", json.dumps(settings(examples)), "--output", str(made / "mixture.parquet")]
    mix.main([*options, "--ledger", str(made / "mixture.ledger.csv"), "--instructions", *map(str, inputs)])


def with_datasets(folder: Path, examples: int) -> None:
    """The same, written the plain way; our plan and our order of drawing, so that the result can be compared row by row."""
    import datasets

    from workflow_scripts.mixtures.draw import choose
    from workflow_scripts.mixtures.plan import Group, plan

    datasets.disable_progress_bars()
    own, cache = settings(examples), str(folder / "datasets/cache")

    def load(paths: list[Path]) -> Any:
        return datasets.load_dataset("parquet", data_files=[str(path) for path in sorted(paths)], split="train", cache_dir=cache)

    def synthesise(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        made: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for place, identity in enumerate(batch["id"]):
            pair = {name: column[place] for name, column in batch.items()}
            for source, target in (("source", "target"), ("target", "source")):
                key = files.sha256_text(f"translation {identity} {source}")
                template = TEMPLATES[int(key[:8], 16) % len(TEMPLATES)]
                codes = pair[f"{source}_language"], pair[f"{target}_language"]
                turns = (("user", prompts.request(template, *codes, pair[source])), ("assistant", pair[target]))
                messages = [{"role": role, "content": content} for role, content in turns]
                row = (key[:16], "translation", *codes, pair["target_language"], messages, pair["corpus"], pair["licence"], template)
                for name, value in zip(COLUMNS, row, strict=True):
                    made[name].append(value)
        return made

    def key(batch: dict[str, list[str]], prefix: str) -> dict[str, list[str]]:
        return {"key": [files.sha256_text(f"{prefix} {identity}") for identity in batch["id"]]}

    pairs = load(list((folder / "corpora").glob("*.parquet")))
    general = load(list((folder / "instructions/general").glob("*.parquet")))
    made = pairs.map(synthesise, batched=True, num_proc=2, remove_columns=pairs.column_names, features=general.features)
    print("seconds after synthesis:", round(time.monotonic() - START, 1), flush=True)
    rows = datasets.concatenate_datasets([made, general])
    keyed = rows.select_columns("id").map(key, batched=True, num_proc=2, fn_kwargs={"prefix": str(own["seed"])})
    small = rows.select_columns([*Group._fields, "corpus"]).to_polars().with_columns(key=keyed.to_polars()["key"].str.head(16))
    small = small.with_columns(pl.col("key").str.to_integer(base=16, dtype=pl.UInt64)).with_row_index("row")
    groups = {Group(*map(str, name)): group for name, group in small.group_by(Group._fields, maintain_order=True)}
    counts, _ = plan({name: group.height for name, group in groups.items()}, own)
    drawn = []
    for name, group in groups.items():
        chosen, _ = choose(group["key"].to_numpy(), group["corpus"].to_numpy(), sum(counts[name]), own)
        drawn.append(group["row"].to_numpy()[chosen])
    chosen = rows.select(np.concatenate(drawn))
    order = chosen.select_columns("id").map(key, batched=True, num_proc=2, fn_kwargs={"prefix": f"{own['seed']} order"})
    chosen.select(np.argsort(order.to_polars()["key"].to_numpy())).to_parquet(folder / "datasets/mixture.parquet")


def copy(paths: list[Path], folder: Path) -> None:
    """Read and write every file once, row group by row group."""
    folder.mkdir(exist_ok=True)
    for path in paths:
        with pq.ParquetFile(path) as file, pq.ParquetWriter(folder / path.name, file.schema_arrow, compression="zstd") as target:
            for number in range(file.num_row_groups):
                target.write_table(file.read_row_group(number))


def floor(folder: Path, _: int) -> None:
    copy([*sorted((folder / "ours/translation").glob("*.parquet")), folder / "ours/mixture.parquet"], folder / "copy")


WAYS: dict[str, Callable[[Path, int], None]] = {"ours": ours, "datasets": with_datasets, "floor": floor}


def resident(process: psutil.Process) -> int:
    """Bytes in memory of a process and all its children."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total


def measured(way: str, folder: Path, examples: int) -> tuple[float, float, float]:
    """Run one way in a process of its own: wall seconds, CPU seconds, peak memory in GB. Ends the benchmark if it fails."""
    before, start, peak = os.times(), time.monotonic(), 0
    child = subprocess.Popen([sys.executable, __file__, str(examples), "--ways", way, "--folder", str(folder), "--child"])
    try:
        while child.poll() is None:
            with suppress(psutil.NoSuchProcess):
                peak = max(peak, resident(psutil.Process(child.pid)))
            time.sleep(0.1)
    finally:
        child.kill()
    if child.wait():
        sys.exit(f"{way} failed")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - start, cpu, peak / 1e9


def ids(path: Path) -> pl.Series:
    return pl.read_parquet(path, columns=["id"])["id"]


def compare(folder: Path, examples: int, ways: list[str]) -> None:
    """Make the text, run the ways, print a line for each."""
    if not (folder / "corpora").is_dir():
        start = time.monotonic()
        make(folder, examples)
        print(f"{examples:,}: text made in {time.monotonic() - start:.0f} s", flush=True)
    for way in ways:
        for old in [folder / way, *([folder / "copy"] if way == "floor" else [])]:
            shutil.rmtree(old, ignore_errors=True)
        wall, cpu, peak = measured(way, folder, examples)
        print(f"{examples:,} {way}: {wall:.1f} s, {cpu:.1f} s of CPU, {peak:.2f} GB", flush=True)
    if {"ours", "datasets"} <= set(ways):
        same = ids(folder / "ours/mixture.parquet").equals(ids(folder / "datasets/mixture.parquet"))
        print("ours and datasets:", "the same rows in the same order" if same else "DIFFERENT ROWS")
        if not same:
            sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=int, nargs="+")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--folder", type=Path, help="kept, with the text of one size below it; made again only where it is missing")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        WAYS[arguments.ways[0]](arguments.folder, arguments.examples[0])
        return
    with tempfile.TemporaryDirectory() as temporary:
        for examples in arguments.examples:
            compare((arguments.folder or Path(temporary)) / str(examples), examples, arguments.ways)


START = time.monotonic()

if __name__ == "__main__":
    main()
