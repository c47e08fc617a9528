"""Rows for a benchmark that lm-evaluation-harness asked: it has graded each item; here are the interval and the paired test."""

from collections.abc import Iterator
from typing import Any

from . import choice
from .inputs import Answers, Inputs, paired


def rows(inputs: Inputs, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One row a metric and baseline. The first metric of the benchmark is called accuracy, the others as the harness calls them.

    Accuracy over the parts of a benchmark (the subjects of MMLU) is over all their items, as the harness's groups have it.
    """
    for key, answers in inputs.groups.items():
        here = {"direction": key[0], "protocol": key[1]}
        if isinstance(answers, str):
            yield here | {"metric": "accuracy", "reason": answers}
            continue
        items = sorted(answers)
        passages = [answers[item]["passage"] for item in items]
        together = "passages" if any(passage != item for passage, item in zip(passages, items, strict=True)) else "items"
        baselines = list(paired(key, answers, inputs.baselines, inputs.benchmark["benchmark"]))
        for place, (name, _) in enumerate(answers[items[0]]["graded"]):
            right = right_of(answers, items, place)
            low, high = choice.wilson(sum(right), len(items))
            row = here | {"metric": "accuracy" if place == 0 else name, "value": 100 * sum(right) / len(items), "low": low, "high": high}
            drawn = f"ar:{choice.TRIALS}" if settings["significance"] == "randomisation" else f"bs:{settings['resamples']}"
            test = f"interval:wilson|paired:{together}|{drawn}|seed:{choice.SEED}"
            row |= {"n": len(items), "signature": f"{answers[items[0]]['signature']}|metric:{name}|{test}"}
            for baseline, others in baselines:
                delta, p_value = choice.compare(
                    passages, right_of(others, items, place), right, settings["resamples"], settings["significance"]
                )
                yield row | {"baseline": baseline, "delta": delta, "p_value": p_value}
            if not baselines:
                yield row


def right_of(answers: Answers, items: list[Any], metric: int) -> list[bool]:
    return [bool(answers[item]["graded"][metric][1]) for item in items]
