"""Multiple choice, where the truth is known: how often a change of the favourite letter is taken for a gain, and a real gain is found.

    python benchmarks/options.py --belebele belebele.tar.xz        # or a folder of <language>.jsonl; about two minutes of CPU

Pairs of players answer BELEBELE's 900 questions, its own key and passages. A player's score of an option is what it knows (zero, but for
the right option), plus noise of the question (half of it the same for both players, as questions are hard for all), plus noise of the
letter in this prompt, plus its liking for the letter. Pairs of null players know equally much and like different letters: each
"better" is false. Ways to ask and to judge:

    as written          the options as BELEBELE has them; the test of accuracy alone
    balanced            the same answers; the test also with each place of the key counted alike
    rotated             options moved round so that each letter is right equally often (`prompts.rotated`), the same test
    calibrated          as written, less each letter's mean log-probability over the test (`choice.calibrated`)
    ours                rotated, and the test also of the calibrated answers (`choice.test`)
    four rotations      each question asked four times, log-probabilities summed by option (Zheng et al. 2024); four times the cost
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.benchmarks import prepare  # noqa: E402
from workflow_scripts.benchmarks.material import Material  # noqa: E402
from workflow_scripts.predictions import prompts  # noqa: E402
from workflow_scripts.scores import choice  # noqa: E402

Table = NDArray[Any]
QUESTION, PROMPT = 1.0, 0.5  # standard deviations of the two kinds of noise
WAYS = ("as written", "balanced", "rotated", "calibrated", "ours", "four rotations")
RESAMPLES = 400


class Questions:
    """BELEBELE's key and passages, and the orders that `prompts.rotated` gives its options."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.passages = [row["link"] for row in items]
        self.key = np.array([int(row["correct_answer_num"]) - 1 for row in items])
        turned = prompts.rotated(items)
        self.order = np.array([[int(number) - 1 for number in row["order"]] for row in turned])
        self.turned_key = np.array([int(row["correct_answer_num"]) - 1 for row in turned])


class Player:
    """What it knows (the right option's lead), how it likes each letter, and its noise; options by their own numbers."""

    def __init__(self, questions: Questions, knows: float, likes: Table, shared: Table, dice: np.random.Generator) -> None:
        self.questions, self.likes, self.dice = questions, likes, dice
        own = dice.normal(size=shared.shape)
        self.options = QUESTION * (shared + own) / np.sqrt(2)
        self.options[np.arange(len(own)), questions.key] += knows

    def asked(self, order: Table) -> Table:
        """Scores by place, [questions, 4], of the options shown in this order."""
        noise = PROMPT * self.dice.normal(size=order.shape)
        return np.take_along_axis(self.options, order, axis=1) + noise + self.likes

    def right(self, way: str) -> tuple[Table, Table]:
        """What is right of the answers, and of the calibrated ones."""
        questions, own = self.questions, np.arange(4)[None, :].repeat(len(self.questions.key), axis=0)
        if way == "four rotations":
            sums = np.zeros(own.shape)
            for step in range(4):
                order = (own + step) % 4
                np.put_along_axis(sums, order, np.take_along_axis(sums, order, axis=1) + logprobs(self.asked(order)), axis=1)
            return sums.argmax(axis=1) == questions.key, sums.argmax(axis=1) == questions.key
        order, key = (questions.order, questions.turned_key) if way in ("rotated", "ours") else (own, questions.key)
        found = logprobs(self.asked(order))
        calibrated = np.array(choice.calibrated(found.tolist()), dtype=int) - 1 == key
        return calibrated if way == "calibrated" else found.argmax(axis=1) == key, calibrated


def logprobs(scores: Table) -> Table:
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def favour(letter: Any, strength: float) -> Table:
    return strength * np.eye(4)[letter]


def null_pairs(strength: float, knows: float) -> Callable[[np.random.Generator], tuple[Any, Any]]:
    def pair(dice: np.random.Generator) -> tuple[Any, Any]:
        one, other = dice.choice(4, 2, replace=False)
        return (knows, favour(one, strength)), (knows, favour(other, strength))

    return pair


def cases() -> Iterator[tuple[str, bool, Callable[[np.random.Generator], tuple[Any, Any]]]]:
    """Name, whether there is a gain, and how to draw (knows, likes) of base and trained."""
    yield "null: always 4, then always 2", False, lambda _: ((0, favour(3, 99)), (0, favour(1, 99)))
    yield "null: always one letter, then another", False, null_pairs(99, 0)
    yield "null: knows nothing, likes one letter (about 70 %), then another", False, null_pairs(1.9, 0)
    yield "null: knows some, likes one letter, then another", False, null_pairs(1.5, 0.7)
    yield "null: knows some, likes one letter, then none", False, lambda dice: ((0.7, favour(dice.integers(4), 2)), (0.7, np.zeros(4)))
    yield "gain: knows more, no liking", True, lambda _: ((0.7, np.zeros(4)), (0.9, np.zeros(4)))
    yield "gain: knows more, likes one letter", True, lambda dice: ((0.7, like := favour(dice.integers(4), 1.5)), (0.95, like))
    yield "gain: knows more, likes one letter, then another", True, lambda dice: (
        (0.7, favour(letter := dice.integers(4), 1.5)), (0.95, favour((letter + 1 + dice.integers(3)) % 4, 1.5)),
    )  # fmt: skip


def verdict(questions: Questions, way: str, base: Player, trained: Player) -> tuple[float, bool, bool]:
    """Accuracy of the base, and whether the trained player is called better, worse."""
    (before, base_calibrated), (after, calibrated) = base.right(way), trained.right(way)
    key = questions.turned_key if way in ("rotated", "ours") else questions.key
    places = None if way == "as written" else list(map(str, key))
    also = (list(base_calibrated), list(calibrated)) if way == "ours" else None
    delta, p_value = choice.compare(questions.passages, list(before), list(after), RESAMPLES, "bootstrap", places, also)
    sure = p_value is not None and p_value < 0.05
    return 100 * before.mean(), sure and delta > 0, sure and delta < 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--belebele", type=Path, required=True)
    parser.add_argument("--sha256", nargs="*", default=[], help="of an archive that you packed yourself")
    parser.add_argument("--pairs", type=int, default=250)
    arguments = parser.parse_args()
    material = Material(arguments.belebele, sums=arguments.sha256)
    questions = Questions(next(iter(prepare.prepare("belebele", ["eng_Latn"], material)))["items"])
    counts = " / ".join(str(int((questions.key == place).sum())) for place in range(4))
    print(f"key {counts}; shown in rotation {' / '.join(str(int((questions.turned_key == place).sum())) for place in range(4))}\n")
    print(f"% of {arguments.pairs} pairs called better or worse (base's accuracy)\n")
    print(f"| players | {' | '.join(WAYS)} |\n|{' --- |' * (len(WAYS) + 1)}")
    for name, gain, draw in cases():
        cells = []
        for way in WAYS:
            dice = np.random.default_rng(0)
            found = []
            for _ in range(arguments.pairs):
                shared = dice.normal(size=(len(questions.key), 4))
                base, trained = (Player(questions, knows, likes, shared, dice) for knows, likes in draw(dice))
                found.append(verdict(questions, way, base, trained))
            accuracy, better, worse = np.array(found, dtype=float).mean(axis=0)
            cells.append(f"{100 * (better if gain else better + worse):.1f} ({accuracy:.1f})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
