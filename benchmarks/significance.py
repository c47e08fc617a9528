"""How often the tests of the report are wrong, measured where the truth is known; about a minute of CPU.

    python benchmarks/significance.py [--results results]

1. Intervals of a mean over languages: how often they hold the true mean, beside the percentile bootstrap over languages.
2. Paired tests of one language, on real answers of a finished run (translations into English, all languages together): sentences are
   drawn, and the answers of two systems exchanged at random, so that neither is better. A test at 5 % should find a difference in
   5 % of such pairs, at 0.5 % (what Holm's correction asks of the first of ten languages) in 0.5 %.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.reports import significance  # noqa: E402
from workflow_scripts.scores import inputs, translation  # noqa: E402

SAMPLES, PAIRS = 2000, 400
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


def pool(results: Path, benchmark: str, systems: list[str]) -> list[tuple[str, ...]]:
    """The reference and the answer of each system, for every sentence into English that both answered."""
    references = inputs.references(results / "benchmarks" / benchmark, "eng_Latn")
    folders = [results / "predictions" / system.split("/")[0] / benchmark for system in systems]
    found = []
    for path in sorted(folders[0].glob("*.jsonl")):
        groups = [inputs.read_predictions(folder / path.name) for folder in folders]
        way = f"{path.stem}-eng_Latn"
        one, two = (group.get((way, system.split("/")[1]), "") for group, system in zip(groups, systems, strict=True))
        if not isinstance(one, str) and not isinstance(two, str):
            found += [(references[item], one[item], two[item]) for item in sorted(one)]
    return found


def paired_tests(sentences: list[tuple[str, ...]]) -> None:
    dice = np.random.default_rng(0)
    print("\n| sentences | test | p < 0.05 | p < 0.005 |\n| --- | --- | --- | --- |")
    for count in (8, 20, 100):
        found: dict[str, list[float]] = {"bootstrap, as sacrebleu prints it": [], "bootstrap": [], "randomisation": []}
        for _ in range(PAIRS):
            drawn = [sentences[place] for place in dice.choice(len(sentences), count, replace=False)]
            swapped = dice.integers(2, size=count)
            systems = {side: [row[1 + (side ^ swap)] for row, swap in zip(drawn, swapped.tolist(), strict=True)] for side in (0, 1)}
            for test in translation.SIGNIFICANCE:
                metric = translation.build("chrF++", "eng_Latn", SETTINGS)
                board = translation.Board(metric, [row[0] for row in drawn], systems, SETTINGS | {"significance": test})
                row = board.compare(0, 1)
                found[test].append(significance.two_sided(row["p_value"], row["signature"], count))
                if test == "bootstrap":
                    found["bootstrap, as sacrebleu prints it"].append(row["p_value"])
        for name, values in found.items():
            print(f"| {count} | {name} | {' | '.join(f'{np.mean(np.array(values) < level):.1%}' for level in (0.05, 0.005))} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--benchmark", default="messages")
    systems = ["gemma-3-270m-trimmed/0-shot", "gemma-3-270m-trimmed/3-shot"]
    parser.add_argument("--systems", nargs=2, default=systems, metavar="MODEL/PROTOCOL")
    arguments = parser.parse_args()
    intervals()
    paired_tests(pool(arguments.results, arguments.benchmark, arguments.systems))
