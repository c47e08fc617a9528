"""What the scores of one language are made of, read and checked; and the key of all that."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import sacrebleu

from ..common import files, language_id, languages
from ..common.cli import UserError
from ..common.text import normal_form, script_of
from . import choice
from .answers import judge, limits_and_thoughts

AGAIN = "Delete the file and run the predictions again."
AS_WRITTEN = "1234"  # the options of a question in their own order


class Side(NamedTuple):
    """One language of a translation test as it is published: test sentences and dev sentences by item, and words that a translation into
    this language must hold.
    """

    texts: dict[Any, str]
    dev: dict[Any, str]
    terms: dict[Any, list[str]]


# By item: the text; in multiple choice a `Picked`; what COMET gives; of the harness the whole line.
Answers = dict[Any, Any]
Groups = dict[tuple[str, str], Answers | str]  # by direction and protocol: the answers, or the reason why there are none


class Picked(NamedTuple):
    """An answer in multiple choice. Options are known by their places as shown, "1" to "4", or "" for none.

    `order` holds the options' own numbers in the order shown: "1234" where that is as written. `calibrated` is the answer without
    the model's liking for a letter, "" where there are no log-probabilities.
    """

    place: str
    right: str
    order: str = AS_WRITTEN
    calibrated: str = ""


@dataclass(frozen=True)
class Inputs:
    """One language of one benchmark, as one model and its baselines answered it."""

    model: str
    benchmark: dict[str, Any]  # benchmark, version and shape
    language: str
    groups: Groups
    baselines: dict[str, Groups]
    texts: dict[str, dict[Any, str]] = field(default_factory=dict)  # shapes flores, instructions: references by language and item
    requests: dict[Any, str] = field(default_factory=dict)  # shape instructions: what was asked, by item
    terms: dict[str, dict[Any, list[str]]] = field(default_factory=dict)  # words that a translation must hold, likewise
    questions: dict[Any, tuple[str, str]] = field(default_factory=dict)  # shape belebele: passage and right answer by item
    notes: Groups = field(default_factory=dict)  # shape flores: what `answers.judge` found about each answer
    contaminated: dict[str, set[str]] = field(default_factory=dict)  # test items whose text was trained on, by language

    def clean(self) -> "Inputs":
        """Without the items whose text, on either side of a direction, the model was trained on; directions without such items left out."""

        def lost(direction: str) -> set[str]:
            sides = [self.language, *(direction.split("-") if self.texts else ())]
            return set().union(*(self.contaminated.get(side, ()) for side in sides))

        def left(groups: Groups) -> Groups:
            found: Groups = {}
            for key, answers in groups.items():
                if not isinstance(answers, str) and (out := lost(key[0])) & set(map(str, answers)):
                    kept = {item: answer for item, answer in answers.items() if str(item) not in out}
                    found[key] = kept or "n/a: the model was trained on text of every item"
            return found

        return replace(self, groups=left(self.groups), baselines={name: left(groups) for name, groups in self.baselines.items()})

    def key(self, version: int, settings: dict[str, Any]) -> str:
        """SHA-256 of everything the scores depend on; `settings` name files by their content."""

        def plain(groups: Groups) -> list[Any]:
            return [[*key, found] for key, found in groups.items()]

        found = {language: sorted(items) for language, items in self.contaminated.items()}
        return files.sha256_json(
            ({"contaminated": found} if found else {})
            | {
                "version": [version, sacrebleu.__version__, *map(language_id.named, language_id.IDENTIFIERS)],
                "settings": settings,
                "tokenizers": {language: languages.get(language).bleu_tokenizer for language in self.texts},
                "identifiers": {language: language_id.known(language) for language in self.texts},
                "of": [self.model, self.benchmark, self.language],
                "answers": plain(self.groups),
                "baselines": {name: plain(groups) for name, groups in self.baselines.items()},
                "texts": self.texts,
                "notes": plain(_each(self.notes, sorted)),
                **({"requests": self.requests} if self.requests else {}),
                "terms": self.terms,
                "questions": self.questions,
            }
        )


def read(
    model: str, folder: Path, language: str, predictions: Path, baselines: dict[str, Path], contaminated: Sequence[Path] = ()
) -> Inputs:
    """Read one language; `UserError` where answers are not of this benchmark, or lines were lost."""
    benchmark = files.read_json(folder / f"{language}.json")
    about = {name: benchmark[name] for name in ("benchmark", "version", "shape")}
    own = read_predictions(predictions)
    others = {name: read_predictions(path) for name, path in baselines.items()}
    if benchmark["shape"] == "harness":
        known = read_contaminated(contaminated, about["benchmark"], [language], None)
        return Inputs(model, about, language, own, others, contaminated=known)
    if benchmark["shape"] == "flores":
        return _translations(Inputs(model, about, language, own, others), folder, contaminated)
    if benchmark["shape"] == "instructions":
        return _requests(Inputs(model, about, language, own, others), benchmark["items"], contaminated)
    questions = {item["item"]: (item["link"], item["correct_answer_num"]) for item in benchmark["items"]}
    options = {item["item"]: [item.get(f"mc_answer{number}", "") for number in range(1, 5)] for item in benchmark["items"]}
    for (direction, protocol), answers in [pair for found in (own, *others.values()) for pair in found.items()]:
        check_items(answers, questions, f"{about['benchmark']} {direction}", "there is no such question")
        if not isinstance(answers, str):
            lines = dict(answers)
            answers |= {item: picked(row, protocol, options[item], questions[item][1]) for item, row in lines.items()}
            if all("logprobs" in row for row in lines.values()):
                places = choice.calibrated([row["logprobs"] for row in lines.values()])
                answers |= {item: answers[item]._replace(calibrated=place) for item, place in zip(lines, places, strict=True)}
    known = read_contaminated(contaminated, about["benchmark"], [language])
    return Inputs(model, about, language, own, others, questions=questions, contaminated=known)


def _translations(read: Inputs, folder: Path, contaminated: Sequence[Path]) -> Inputs:
    """Shape flores: from whole lines to what counts of the answers, with all texts in `text.normal_form`."""
    sides: dict[str, Side] = {}
    for (direction, _), lines in read.groups.items():
        for code in direction.split("-") if not isinstance(lines, str) else ():
            if code not in sides:
                sides[code] = read_side(folder, code)
            check_items(lines, sides[code].texts, f"{folder.name} {direction}", f"{code} has no such test sentence")
    own = _judged(read.groups, sides)
    return replace(
        read,
        groups=_each(own, lambda answer: answer.text),
        baselines={name: _each(_judged(lines, sides), lambda answer: answer.text) for name, lines in read.baselines.items()},
        texts={code: {item: normal_form(text, script_of(code)) for item, text in side.texts.items()} for code, side in sides.items()},
        terms={
            code: {item: [normal_form(term, script_of(code)) for term in terms] for item, terms in side.terms.items()}
            for code, side in sides.items()
        },
        notes=_each(own, lambda answer: answer.notes),
        contaminated=read_contaminated(contaminated, read.benchmark["benchmark"], sides),
    )


def _requests(read: Inputs, items: Sequence[dict[str, Any]], contaminated: Sequence[Path]) -> Inputs:
    """Shape instructions: as translations in one language, but an answer may have lines and marks of its own."""
    language, where = read.language, f"{read.benchmark['benchmark']} {read.language}"
    script = script_of(language)
    wanted, requests = ({item["item"]: normal_form(item[name], script) for item in items} for name in ("answer", "text"))
    for lines in read.groups.values():
        check_items(lines, wanted, where, "there is no such request")

    def text(row: dict[str, Any]) -> str:
        return normal_form(row["answer"], script)

    return replace(
        read,
        groups=_each(read.groups, text),
        baselines={name: _each(lines, text) for name, lines in read.baselines.items()},
        texts={language: wanted},
        requests=requests,
        notes=_each(read.groups, limits_and_thoughts),
        contaminated=read_contaminated(contaminated, read.benchmark["benchmark"], [language]),
    )


def _judged(groups: Groups, sides: dict[str, Side]) -> Groups:
    """What counts of each line of translations."""
    found: Groups = {}
    for key, lines in groups.items():
        source, target = key[0].split("-")[0], key[0].split("-")[-1]
        if isinstance(lines, str) or not {source, target} <= sides.keys():
            found[key] = lines if isinstance(lines, str) else "n/a: not asked of the model that is scored"
            continue
        texts, references = sides[source].texts, sides[target]
        found[key] = {
            item: judge(row, target, texts[item], references.texts[item], [references.dev[one] for one in row.get("examples", ())])
            for item, row in lines.items()
            if item in references.texts
        }
    return found


def _each(groups: Groups, part: Callable[[Any], Any]) -> Groups:
    return {key: found if isinstance(found, str) else {item: part(one) for item, one in found.items()} for key, found in groups.items()}


def picked(row: dict[str, Any], protocol: str, options: Sequence[str], solution: str) -> Picked:
    """Which option a line of predictions names, and which is right, both by the place in which they were shown."""
    order, answer = row.get("order", AS_WRITTEN), row["answer"]
    if sorted(order) != sorted(AS_WRITTEN):
        raise UserError(f"item {row['item']}: the order {order!r} does not name each of four options once. {AGAIN}")
    if protocol == choice.CHAT:
        answer = choice.chosen(answer, [options[int(number) - 1] for number in order])
    return Picked(answer, str(order.index(solution) + 1), order)


def read_contaminated(
    paths: Sequence[Path], benchmark: str, languages: Iterable[str], split: str | None = "devtest"
) -> dict[str, set[str]]:
    """Items of a split in these languages whose text stands in a mixture, as the mixtures' audits found it.

    Without a split, of all: what the harness asks has a name of its own in each.
    """
    found: dict[str, set[str]] = {}
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if (row["benchmark"], row["split"]) == (benchmark, split or row["split"]) and row["benchmark_language"] in languages:
                    found.setdefault(row["benchmark_language"], set()).add(row["item"])
    return found


def read_predictions(path: Path) -> Groups:
    """Lines by direction and protocol, then item.

    Raises `UserError` for a file that has lost lines or has none, and for an item that is answered twice.
    """
    groups: Groups = {}
    rows = files.read_jsonl(path)
    if lost := [row["lines"] for row in rows if row.get("lines", len(rows)) != len(rows)]:
        raise UserError(f"{path} has {len(rows)} of its {lost[0]} lines, so answers were lost. {AGAIN}")
    for row in rows:
        key = (row["direction"], row["protocol"])
        if row.get("reason"):
            groups[key] = row["reason"]
            continue
        lines = groups.setdefault(key, {})
        if isinstance(lines, str):
            raise UserError(f"{path}: {' '.join(key)} has both a reason and answers. {AGAIN}")
        if row["item"] in lines:
            raise UserError(f"{path}: item {row['item']} of {' '.join(key)} is there twice. {AGAIN}")
        if any("\ud800" <= char <= "\udfff" for char in str(row["answer"])):
            raise UserError(
                f"{path}: the answer to item {row['item']} of {' '.join(key)} holds half a character (a lone surrogate). {AGAIN}"
            )
        lines[row["item"]] = row
    if not groups:
        raise UserError(f"{path} has no line. {AGAIN}")
    return groups


def read_side(folder: Path, language: str) -> Side:
    items = files.read_json(folder / f"{language}.json")["items"]
    by_split: dict[str, dict[Any, str]] = {"dev": {}, "devtest": {}}
    for item in items:
        by_split[item["split"]][item["item"]] = item["text"]
    terms = {item["item"]: item["terms"] for item in items if "terms" in item and item["split"] == "devtest"}
    return Side(by_split["devtest"], by_split["dev"], terms)


def check_items(answers: Answers | str, known: dict[Any, Any], where: str, lack: str) -> None:
    if not isinstance(answers, str) and (lost := sorted(set(answers) - set(known))):
        raise UserError(f"{where}: item {lost[0]} is answered, but {lack}.")


def paired(key: tuple[str, str], answers: Answers, baselines: dict[str, Groups], benchmark: str) -> Iterator[tuple[str, Answers]]:
    """The answers each baseline is compared by, named "<model>/<protocol>".

    That is the baseline under the same protocol, and with worked examples (few-shot) where those predictions exist: without
    them a base model cannot know what it is asked for. Raises `UserError` where one side lacks predictions or single items.
    """
    direction, protocol = key
    for model, groups in baselines.items():
        offered = {shots for (way, shots), found in groups.items() if way == direction and not isinstance(found, str)}
        few_shot = sorted(shots for shots in offered if re.fullmatch(r"[1-9]\d*-shot", shots) and shots != protocol)
        for shots in (protocol, *few_shot):
            where = f"{benchmark} {direction}: the baseline {model}/{shots}"
            others = groups.get((direction, shots), "no such predictions")
            if isinstance(others, str):
                raise UserError(f"{where} has nothing to compare with ({others}). {AGAIN}")
            if odd := sorted(set(answers) ^ set(others), key=str):
                raise UserError(f"{where} and the model did not answer the same items: item {odd[0]} is missing. {AGAIN}")
            yield f"{model}/{shots}", others
