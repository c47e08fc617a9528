"""How often the tests of the report are wrong, measured where the truth is known; three quarters of a minute of CPU.

    snakemake results/benchmarks/messages/eng_Latn.json results/benchmarks/udhr/eng_Latn.json
    python benchmarks/significance.py

1. Intervals of a mean over languages: how often they hold the true mean, beside the percentile bootstrap over languages.
2. Paired tests of one language: two systems that are equally good, made of the sentences of two test sets by one rule (words are
   replaced, in each sentence at a rate drawn anew). A test at 5 % should find a difference between them in 5 % of cases, at 0.5 %
   (what Holm's correction asks of the first of ten languages) in 0.5 %.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.reports import significance  # noqa: E402
from workflow_scripts.scores import inputs, translation  # noqa: E402

SAMPLES, PAIRS = 2000, 500
RATES = (0.1, 0.3, 0.6, 0.9)
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


def damaged(text: str, dice: np.random.Generator) -> str:
    rate = dice.choice(RATES)
    return " ".join("xq" if dice.random() < rate else word for word in text.split())


def paired_tests(sentences: list[str]) -> None:
    dice = np.random.default_rng(0)
    print("\n| sentences | test | p < 0.05 | p < 0.005 |\n| --- | --- | --- | --- |")
    for count in (8, 20, 80):
        found: dict[str, list[float]] = {"bootstrap, as sacrebleu prints it": [], "bootstrap": [], "randomisation": []}
        for _ in range(PAIRS):
            references = dice.choice(sentences, count, replace=False).tolist()
            systems = {name: [damaged(text, dice) for text in references] for name in ("one", "two")}
            for test in translation.SIGNIFICANCE:
                metric = translation.build("chrF++", "eng_Latn", SETTINGS)
                row = translation.Board(metric, references, systems, SETTINGS | {"significance": test}).compare("one", "two")
                found[test].append(significance.two_sided(row["p_value"], row["signature"], count))
                if test == "bootstrap":
                    found["bootstrap, as sacrebleu prints it"].append(row["p_value"])
        for name, values in found.items():
            print(f"| {count} | {name} | {' | '.join(f'{np.mean(np.array(values) < level):.1%}' for level in (0.05, 0.005))} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", type=Path, default=ROOT / "results/benchmarks")
    folder = parser.parse_args().benchmarks
    intervals()
    paired_tests([text for name in ("messages", "udhr") for text in inputs.references(folder / name, "eng_Latn").values()])
