"""How long `near_duplicates` takes, how much memory it needs, and which part of the planted near-duplicates it finds.

    python benchmarks/near_duplicates.py --pairs 100000 1000000

Two kinds of made-up pairs of 18 words a side, drawn by Zipf's law from 20,000 words. "unrelated": every hundredth
pair is an earlier one with one word changed on each side. "repeated": all pairs are made of 6,193 sentences, as many
as NLLB-Seed has, with up to 60 % of their words changed, so that many nearly reach the threshold. A planted pair
counts if its exact similarity with its origin reaches the threshold. Prints one line of JSON a run; each runs in a
process of its own, whose peak of memory is that of the run and the pairs.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workflow_scripts.corpora import near_duplicates

WORDS, LENGTH, BASES = 20_000, 18, 6_193
SIMILARITY = 0.8


def made_up(kind: str, count: int, seed: int = 1) -> tuple[list[tuple[str, str]], dict[int, int]]:
    """Pairs, and for each planted one the earlier pair that it is made of."""
    draw = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    lexicons = [["".join(draw.choice(letters, draw.integers(2, 9))) for _ in range(WORDS)] for _ in range(2)]
    odds = 1 / np.arange(1, WORDS + 1)
    odds /= odds.sum()
    drawn = draw.choice(WORDS, (count, 2, LENGTH), p=odds)
    origins: dict[int, int] = {}
    for row in range(1, count):
        if kind == "repeated" and row >= BASES:
            origin = row % BASES
            changed = draw.random((2, LENGTH)) < draw.random() * 0.6
        elif kind == "unrelated" and row % 100 == 0:
            origin = int(draw.integers(0, row))
            changed = np.arange(LENGTH) == draw.integers(0, LENGTH, (2, 1))
        else:
            continue
        origins[row] = origin
        drawn[row] = np.where(changed, drawn[row], drawn[origin])
    texts = [["".join(lexicon[word] for word in words) for words in drawn[:, side]] for side, lexicon in enumerate(lexicons)]
    return list(zip(*texts, strict=True)), origins


def jaccard(one: tuple[str, str], other: tuple[str, str]) -> float:
    """The exact similarity, from the definition."""
    size = near_duplicates.SIZE
    first, second = (
        {(side, text[start : start + size]) for side, text in enumerate(pair) for start in range(max(1, len(text) - size + 1))}
        for pair in (one, other)
    )
    return len(first & second) / len(first | second)


def run(kind: str, count: int) -> None:
    pairs, origins = made_up(kind, count)
    start, cpu = time.perf_counter(), time.process_time()
    kept = near_duplicates.first_of_similar(pairs, SIMILARITY)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    # An origin that is itself dropped says nothing: the pair it is like need not be like this one.
    planted = [row for row, origin in origins.items() if kept[origin] and jaccard(pairs[row], pairs[origin]) >= SIMILARITY]
    found = sum(not kept[row] for row in planted)
    facts = {"kind": kind, "pairs": count, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), "dropped": kept.count(False)}
    facts |= {"planted": len(planted), "found": found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    print(json.dumps(facts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000])
    arguments = parser.parse_args()
    for kind in ("unrelated", "repeated"):
        for count in arguments.pairs:
            process = multiprocessing.get_context("spawn").Process(target=run, args=(kind, count))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
