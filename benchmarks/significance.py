"""How often the report's tests are wrong, measured where the truth is known; about two CPU minutes.

    python benchmarks/significance.py [--results results]

1. Intervals of a mean over languages: how often they hold the true mean, against the percentile bootstrap over languages.
2. Paired tests of one language, on real answers of a finished run: the answers of both models are exchanged at random, sentence by
   sentence, so that no model is better. A test at 5 % should then find a difference in 5 % of such pairs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.reports import significance  # noqa: E402
from workflow_scripts.scores import inputs, translation  # noqa: E402

SAMPLES, PAIRS = 2000, 4
SETTINGS = {"metrics": ["chrF++"], "resamples": 1000, "spm": {}}


def intervals() -> None:
    dice = np.random.default_rng(0)
    print("| differences | languages | subsets (ours) | percentile bootstrap |\n| --- | --- | --- | --- |")
    for name, draw in (("normal", dice.standard_normal), ("skewed (exponential)", lambda count: dice.exponential(size=count) - 1)):
        for count in (6, 8, 12, 30, 100):
            held = np.zeros(2)
            for _ in range(SAMPLES):
                values = draw(count)
                ours = significance.over_languages(list(values))
                low, high = np.quantile(values[dice.integers(count, size=(1000, count))].mean(axis=1), (0.025, 0.975))
                held += (ours.low <= 0 <= ours.high, low <= 0 <= high)
            print(f"| {name} | {count} | {' | '.join(f'{share:.1%}' for share in held / SAMPLES)} |")


def paired_tests(results: Path, benchmark: str, models: tuple[str, str]) -> None:
    dice = np.random.default_rng(0)
    found: dict[str, list[float]] = {"bootstrap, as printed": [], "bootstrap, doubled": [], "randomisation": []}
    sizes = set()
    for path in sorted((results / "predictions" / models[1] / benchmark).glob("*.jsonl")):
        mine, other = (inputs.read_predictions(results / "predictions" / model / benchmark / path.name) for model in models)
        for (direction, protocol), answers in mine.items():
            others = other[direction, protocol]
            if protocol != "0-shot" or isinstance(answers, str) or isinstance(others, str):
                continue
            target = direction.split("-")[1]
            items = sorted(answers)
            texts = inputs.references(results / "benchmarks" / benchmark, target)
            sizes.add(len(items))
            for _ in range(PAIRS):
                swapped = dict(zip(items, dice.integers(2, size=len(items)), strict=True))
                systems = {side: [(answers if swapped[item] == side else others)[item] for item in items] for side in (0, 1)}
                for test in translation.SIGNIFICANCE:
                    board = translation.Board(
                        translation.build("chrF++", target, SETTINGS),
                        [texts[item] for item in items],
                        systems,
                        SETTINGS | {"significance": test},
                    )
                    row = board.compare(0, 1)
                    if test == "bootstrap":
                        found["bootstrap, as printed"].append(row["p_value"])
                        found["bootstrap, doubled"].append(significance.two_sided(row["p_value"], row["signature"]))
                    else:
                        found["randomisation"].append(row["p_value"])
    count = len(found["randomisation"])
    print(f"\n{count} pairs without a difference, {min(sizes)} to {max(sizes)} sentences each\n\n| test | p < 0.05 | p < 0.01 |\n| --- | --- | --- |")
    for name, values in found.items():
        print(f"| {name} | {np.mean(np.array(values) < 0.05):.1%} | {np.mean(np.array(values) < 0.01):.1%} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--benchmark", default="messages")
    parser.add_argument("--models", nargs=2, default=["gemma-3-270m-trimmed", "gemma-3-270m-lifted"], metavar="MODEL")
    arguments = parser.parse_args()
    intervals()
    if arguments.results.exists():
        paired_tests(arguments.results, arguments.benchmark, tuple(arguments.models))
