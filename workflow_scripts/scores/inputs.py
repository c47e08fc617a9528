"""What the scores of one language are made of, read and checked; and the key of all that."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sacrebleu

from ..common import files, language_id, languages
from ..common.cli import UserError
from . import choice

AGAIN = "Delete the file and run the predictions again."

# By item: the text; in multiple choice the number of the option, "" where none is named; what COMET gives; of the harness the whole line.
Answers = dict[Any, Any]
Groups = dict[tuple[str, str], Answers | str]  # by direction and protocol: the answers, or the reason why there are none


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
                **({"requests": self.requests} if self.requests else {}),
                "terms": self.terms,
                "questions": self.questions,
            }
        )


def read(
    model: str, folder: Path, language: str, predictions: Path, baselines: dict[str, Path], contaminated: Sequence[Path] = ()
) -> Inputs:
    """Read one language; `UserError` where answers are not of this benchmark."""
    benchmark = files.read_json(folder / f"{language}.json")
    about = {name: benchmark[name] for name in ("benchmark", "version", "shape")}
    whole = benchmark["shape"] == "harness"
    groups = read_predictions(predictions, whole)
    others = {name: read_predictions(path, whole) for name, path in baselines.items()}
    if whole:
        known = read_contaminated(contaminated, about["benchmark"], [language], None)
        return Inputs(model, about, language, groups, others, contaminated=known)
    if benchmark["shape"] == "flores":
        texts: dict[str, dict[Any, str]] = {}
        terms: dict[str, dict[Any, list[str]]] = {}
        for (direction, _), answers in groups.items():
            for side in direction.split("-") if not isinstance(answers, str) else ():
                if side not in texts:
                    texts[side], terms[side] = references(folder, side)
                check_items(answers, texts[side], f"{folder.name} {direction}", f"{side} has no such test sentence")
        known = read_contaminated(contaminated, about["benchmark"], texts)
        return Inputs(model, about, language, groups, others, texts=texts, terms=terms, contaminated=known)
    if benchmark["shape"] == "instructions":
        wanted, requests = ({item["item"]: item[name] for item in benchmark["items"]} for name in ("answer", "text"))
        for (direction, _), answers in groups.items():
            check_items(answers, wanted, f"{about['benchmark']} {direction}", "there is no such request")
        known = read_contaminated(contaminated, about["benchmark"], [language])
        return Inputs(model, about, language, groups, others, texts={language: wanted}, requests=requests, contaminated=known)
    questions = {item["item"]: (item["link"], item["correct_answer_num"]) for item in benchmark["items"]}
    options = {item["item"]: [item.get(f"mc_answer{number}", "") for number in range(1, 5)] for item in benchmark["items"]}
    for (direction, protocol), answers in [pair for found in (groups, *others.values()) for pair in found.items()]:
        check_items(answers, questions, f"{about['benchmark']} {direction}", "there is no such question")
        if protocol == choice.CHAT and not isinstance(answers, str):
            answers |= {item: choice.chosen(answer, options[item]) for item, answer in answers.items()}
    known = read_contaminated(contaminated, about["benchmark"], [language])
    return Inputs(model, about, language, groups, others, questions=questions, contaminated=known)


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


def read_predictions(path: Path, whole: bool = False) -> Groups:
    """Answers (or `whole` lines) by direction and protocol. An item answered twice is a `UserError`, and so is a file without a line."""
    groups: Groups = {}
    for row in files.read_jsonl(path):
        key = (row["direction"], row["protocol"])
        if row.get("reason"):
            groups[key] = row["reason"]
            continue
        answers = groups.setdefault(key, {})
        if isinstance(answers, str):
            raise UserError(f"{path}: {' '.join(key)} has both a reason and answers. {AGAIN}")
        if row["item"] in answers:
            raise UserError(f"{path}: item {row['item']} of {' '.join(key)} is there twice. {AGAIN}")
        answers[row["item"]] = row if whole else row["answer"]
    if not groups:
        raise UserError(f"{path} has no line. {AGAIN}")
    return groups


def references(folder: Path, language: str) -> tuple[dict[Any, str], dict[Any, list[str]]]:
    """Test sentences of one language by item number, and the words that a translation must hold, where the benchmark has some."""
    items = {item["item"]: item for item in files.read_json(folder / f"{language}.json")["items"] if item["split"] == "devtest"}
    return {key: item["text"] for key, item in items.items()}, {key: item["terms"] for key, item in items.items() if "terms" in item}


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
