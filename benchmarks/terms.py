"""What terms cost and what they look like, on pairs of a run: CPU seconds of each step, then terms drawn by hash to be judged by eye.

python benchmarks/terms.py --pairs results/corpora/deu_Latn.parquet --show 50
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from workflow_scripts.common import config
from workflow_scripts.instructions import constrained, interactive, terms

Result = TypeVar("Result")


def timed(name: str, pairs: int, step: Callable[[], Result]) -> Result:
    start, wall = time.process_time(), time.perf_counter()
    result = step()
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    print(f"{name}: {seconds:.1f} s CPU, {wall:.1f} s, {1e6 * seconds / pairs:.0f} s CPU for a million pairs", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="of several languages: taken together, as one")
    parser.add_argument("--show", type=int, default=0, help="so many pairs of each pivot")
    parser.add_argument("--first", type=int, help="only so many pairs, those with the smallest ids")
    arguments = parser.parse_args()
    pairs = pl.concat([pl.read_parquet(path) for path in arguments.pairs]).sort("id").head(arguments.first or 10**9)
    with tempfile.TemporaryDirectory() as folder:
        path, found_path = Path(folder, "pairs.parquet"), Path(folder, "terms.parquet")
        pairs.write_parquet(path)
        found, counts = timed("terms", pairs.height, lambda: terms.make(path))
        print(counts)
        found.write_parquet(found_path)
        templates = config.KINDS["constrained"]["templates"]
        timed("constrained", pairs.height, lambda: constrained.make(pairs, found, "any", templates))
        table = interactive.read(path, found_path)
        print(dict(timed("interactive", pairs.height, lambda: interactive.make(table, "any", config.KINDS["interactive"]))[1]))
    for pivot, few in pairs.join(found, on="id").sort("id").group_by("source_language", maintain_order=True):
        for row in few.head(arguments.show).iter_rows(named=True):
            print(*pivot, row["source"], row["target"], *(f"{term['source']} = {term['target']}" for term in row["terms"]), sep=" | ")


if __name__ == "__main__":
    main()
