"""Rows of scores.csv for one language: each metric of each direction and protocol, once for each baseline."""

from collections.abc import Iterator
from typing import Any

from ..common.cli import UserError
from . import choice, graded, health, translation
from .inputs import AGAIN, AS_WRITTEN, Answers, Inputs, Picked, paired

Row = dict[str, Any]


def rows(inputs: Inputs, settings: dict[str, Any]) -> list[Row]:
    """All rows, with the columns of schemas/scores.schema.json that are not empty."""
    names = {"model": inputs.model, "language": inputs.language}
    names |= {name: inputs.benchmark[name] for name in ("benchmark", "version")}
    of_shape = {"harness": graded.rows, "belebele": of_choice}.get(inputs.benchmark["shape"], of_text)
    scored = (row for row in of_shape(inputs.clean(), settings) if not is_health(row["metric"]))
    clean = [row | {"metric": f"{row['metric']} clean"} for row in scored]
    return [names | row for row in (*of_shape(inputs, settings), *clean)]


def is_health(metric: str) -> bool:
    """Whether a metric says how the output is, not how good."""
    return metric in health.HEALTH or metric.startswith("option ")


def of_text(inputs: Inputs, settings: dict[str, Any]) -> Iterator[Row]:
    """Rows for a benchmark whose answers are compared with a reference: translations, and answers to requests (in one language)."""
    boards: dict[tuple[Any, ...], dict[str, translation.Board | str]] = {}
    for key, answers in inputs.groups.items():
        direction, protocol = key
        here = {"direction": direction, "protocol": protocol}
        if isinstance(answers, str):
            yield from (here | {"metric": name, "reason": answers} for name in (*settings["metrics"], *health.HEALTH))
            continue
        source, target = direction.split("-")[0], direction.split("-")[-1]
        sources = inputs.requests or inputs.texts[source]
        items = sorted(answers)
        wanted = [inputs.texts[target][item] for item in items]
        if (direction, *items) not in boards:
            boards[direction, *items] = make_boards(inputs, direction, items, wanted, settings)
        baselines = [name for name, _ in paired(key, answers, inputs.baselines, inputs.benchmark["benchmark"])]
        for name, board in boards[direction, *items].items():
            row = here | {"metric": name, "n": len(items)}
            if isinstance(board, str):
                yield here | {"metric": name, "reason": board}
                continue
            row |= board.estimate(protocol)
            yield from (row | {"baseline": baseline} | board.compare(protocol, baseline) for baseline in baselines)
            if not baselines:
                yield row
        yield from (here | row for row in of_terms(inputs, key, answers, settings))
        hypotheses = [answers[item] for item in items]
        notes = [inputs.notes[key][item] for item in items]
        for row in health.health(target, [sources[item] for item in items], hypotheses, wanted, notes):
            yield here | row | ({} if "reason" in row else {"n": len(items)})


def of_terms(inputs: Inputs, key: tuple[str, str], answers: Answers, settings: dict[str, Any]) -> Iterator[Row]:
    """Constraint recall: the share of the words asked for that stand in the answers, letter for letter but for case.

    Wilson's interval takes the words as independent; the paired test draws sentences, with all their words.
    """
    terms = inputs.terms.get(key[0].split("-")[-1], {})
    asked = [(item, term.casefold()) for item in sorted(answers) for term in terms.get(item, ())]
    if not asked:
        return

    def held(found: Answers) -> list[bool]:
        return [term in found[item].casefold() for item, term in asked]

    right = held(answers)
    low, high = choice.wilson(sum(right), len(asked))
    row = {"metric": "constraint recall", "value": 100 * sum(right) / len(asked), "low": low, "high": high, "n": len(answers)}
    test = settings["resamples"], settings["significance"]
    drawn = choice.draws(*test)
    row["signature"] = f"pivotlift|constraint recall|terms:{len(asked)}|case:no|interval:wilson|paired:items|{drawn}|seed:{choice.SEED}|v1"
    pairs = list(paired(key, answers, inputs.baselines, inputs.benchmark["benchmark"]))
    for baseline, others in pairs:
        delta, p_value = choice.compare([str(item) for item, _ in asked], held(others), right, *test)
        yield row | {"baseline": baseline, "delta": delta, "p_value": p_value}
    if not pairs:
        yield row


def make_boards(
    inputs: Inputs, direction: str, items: list[Any], references: list[str], settings: dict[str, Any]
) -> dict[str, translation.Board | str]:
    """For each metric, all systems that answered the same items: the model by its protocols, the baselines as `paired` names them."""
    systems: dict[str, Answers] = {}
    for key, answers in inputs.groups.items():
        if key[0] == direction and not isinstance(answers, str) and sorted(answers) == items:
            systems[key[1]] = answers
            systems |= paired(key, answers, inputs.baselines, inputs.benchmark["benchmark"])
    texts = {name: [answers[item] for item in items] for name, answers in systems.items()}
    found: dict[str, translation.Board | str] = {}
    for name in settings["metrics"]:
        metric = translation.build(name, direction.split("-")[-1], settings)
        found[name] = metric if isinstance(metric, str) else translation.Board(metric, references, texts, settings)
    return found


def of_choice(inputs: Inputs, settings: dict[str, Any]) -> Iterator[Row]:
    """Rows for a benchmark of shape belebele. Those with a baseline carry `gains`, by passage."""
    test = settings["resamples"], settings["significance"]
    for key, answers in inputs.groups.items():
        direction, protocol = key
        here = {"direction": direction, "protocol": protocol, "metric": "accuracy"}
        if isinstance(answers, str):
            yield here | {"reason": answers}
            if protocol == choice.CHAT:
                yield here | {"metric": choice.UNPARSEABLE, "reason": answers}
            continue
        items = sorted(answers)
        found: list[Picked] = [answers[item] for item in items]
        passages, places = [inputs.questions[item][0] for item in items], [one.right for one in found]
        right = [one.place == one.right for one in found]
        low, high = choice.wilson(sum(right), len(items))
        row = here | {"value": 100 * sum(right) / len(items), "low": low, "high": high, "n": len(items)}
        options = "as-written" if all(one.order == AS_WRITTEN for one in found) else "rotated"
        ways = "key-balanced,calibrated" if all(one.calibrated for one in found) else "key-balanced"
        row["signature"] = choice.signature(protocol, *test, options, ways)
        pairs = list(paired(key, answers, inputs.baselines, inputs.benchmark["benchmark"]))
        for baseline, others in pairs:
            check_orders(f"{inputs.benchmark['benchmark']} {' '.join(key)}", baseline, answers, others)
            base = [others[item] for item in items]
            known = all(one.calibrated for one in (*base, *found))
            before, after = ([one.calibrated == one.right for one in side] for side in (base, found))
            base_right = [one.place == one.right for one in base]
            gains = choice.gains(passages, base_right, right, places, (before, after) if known else None)
            delta, p_value = choice.test(gains, *test)
            yield row | {"baseline": baseline, "delta": delta, "p_value": p_value, "gains": gains.table()}
        if not pairs:
            yield row
        shown = f"pivotlift|option share|protocol:{protocol}|options:{options}|interval:wilson|v1"
        for share in choice.option_shares([one.place for one in found], sorted(AS_WRITTEN), shown):
            yield here | share
        if protocol == choice.CHAT:
            yield here | {
                "metric": choice.UNPARSEABLE,
                "value": sum(not one.place for one in found),
                "n": len(items),
                "signature": "pivotlift|unparseable|count|parser:v1",
            }


def check_orders(where: str, baseline: str, answers: Answers, others: Answers) -> None:
    """Raise `UserError` where two systems were shown the options of a question in different orders."""
    if odd := [item for item in sorted(answers) if answers[item].order != others[item].order]:
        raise UserError(
            f"{where}: the model and the baseline {baseline} were shown the options of item {odd[0]} in different orders. {AGAIN}"
        )
