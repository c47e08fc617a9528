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
        shared = in_all_languages(passages)
        baselines = list(paired(key, answers, inputs.baselines, inputs.benchmark["benchmark"]))
        places = [answers[item].get("target", "") for item in items]
        balanced = "" if "" in places else "|also:key-balanced"
        for place, (name, _) in enumerate(answers[items[0]]["graded"]):
            right = right_of(answers, items, place)
            low, high = choice.wilson(sum(right), len(items))
            row = here | {"metric": "accuracy" if place == 0 else name, "value": 100 * sum(right) / len(items), "low": low, "high": high}
            drawn = choice.draws(settings["resamples"], settings["significance"])
            test = f"interval:wilson|paired:{together}{balanced}|{drawn}|seed:{choice.SEED}"
            row |= {"n": len(items), "signature": f"{answers[items[0]]['signature']}|metric:{name}|{test}"}
            for baseline, others in baselines:
                systems = right_of(others, items, place), right
                weighed = places if balanced else None
                gains = choice.gains(shared, *systems, weighed)
                delta, p_value = choice.test(gains, settings["resamples"], settings["significance"])
                yield row | {"baseline": baseline, "delta": delta, "p_value": p_value, "gains": gains.table()}
            if not baselines:
                yield row
        if answers[items[0]]["graded"][0][0].startswith("acc"):  # chosen, not written
            picked = [str(int(answers[item]["answer"]) + 1) for item in items]
            options = [str(number + 1) for number in range(max(map(int, picked)))]
            yield from (
                here | row
                for row in choice.option_shares(picked, options, f"{answers[items[0]]['signature']}|option share|interval:wilson")
            )


def in_all_languages(passages: list[str]) -> list[str]:
    """The same passages without the name of their task, which differs between languages: "xnli_de/12" is "0/12" in every language."""
    tasks = sorted({passage.rpartition("/")[0] for passage in passages})
    return [f"{tasks.index(task)}/{number}" for task, _, number in (passage.rpartition("/") for passage in passages)]


def right_of(answers: Answers, items: list[Any], metric: int) -> list[bool]:
    return [bool(answers[item]["graded"][metric][1]) for item in items]
