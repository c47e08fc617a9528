"""Benchmark items become requests: what is asked of the model, one request an item, direction and protocol.

Shape `flores` asks for translations (0-shot or with dev items as worked examples), shape `belebele` for one of four answers, by up
to three protocols (see `_reading`), shape `instructions` for an answer to a request. A language without text gives reasons instead of
requests, never nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..common.chat import Messages
from ..common.cli import UserError
from ..common.files import read_json, sha256_text
from ..common.prompts import few_shot
from ..common.text import alike, ngrams

LETTERS = ("A", "B", "C", "D")
Key = tuple[str, int | str]  # split and item
Texts = dict[Key, str]
NO_EXAMPLES = "n/a: no dev split to draw examples from"


@dataclass(frozen=True)
class Question:
    """One item to answer.

    `source` is the text to translate, "" in multiple choice; `examples` are the dev items shown before it; `passage` names what several
    questions share.
    """

    item: int | str
    direction: str
    protocol: str
    messages: Messages
    source: str = ""
    examples: tuple[int | str, ...] = ()
    passage: str = ""
    kind: Literal["translation", "letters", "harness", "chat"] = "translation"
    order: str = ""  # in multiple choice, the options' own numbers in the order shown, where that is not as written


@dataclass(frozen=True)
class Gap:
    """A direction and protocol without a single item, and why."""

    direction: str
    protocol: str
    reason: str


def questions(folder: Path, language: str, settings: dict[str, Any]) -> list[Question | Gap]:
    """Everything asked of one language, sorted by direction and protocol, items in the order of the file.

    `folder` holds one JSON file a language; `settings` are those of the command line. Raises `UserError` for a missing file,
    an unknown shape or an unknown direction.
    """
    data = _read(folder, language)
    if data["shape"] == "belebele":
        return _reading(data, settings)
    if data["shape"] == "flores":
        return _translations(folder, data, settings)
    if data["shape"] == "instructions":
        return _instructions(data, settings)
    raise UserError(f"{folder / language}.json has the shape {data['shape']!r}; flores, belebele and instructions can be answered.")


def directions(language: str, names: list[str], pivots: list[str]) -> list[tuple[str, str]]:
    """Source and target codes of the directions that stand under one language.

    `names` are like "X-eng". A direction between two pivots stands under the later one, so the first pivot has none.
    """
    short = {pivot.split("_")[0]: pivot for pivot in pivots}
    found = set()
    for name in names:
        ends = name.split("-")
        pivot = short.get(next((end for end in ends if end != "X"), ""))
        if len(ends) != 2 or "X" not in ends or pivot is None:
            known = ", ".join(f"X-{code}, {code}-X" for code in short)
            raise UserError(f"{name!r} is not a direction. Known are: {known}.")
        earlier = pivots[: pivots.index(language)] if language in pivots else []
        # "X-zho" asked of Chinese itself means English to Chinese, which stands under Chinese as well.
        others = [pivot] if language not in pivots or pivot in earlier else earlier if pivot == language else []
        for other in others:
            here, there = (language, other) if other == pivot else (other, language)
            found.add((here, there) if ends[0] == "X" else (there, here))
    return sorted(found)


def _read(folder: Path, language: str) -> dict[str, Any]:
    path = folder / f"{language}.json"
    if not path.exists():
        raise UserError(f"{path} is missing. Make it first: snakemake {path}")
    return read_json(path)


def _translations(folder: Path, data: dict[str, Any], settings: dict[str, Any]) -> list[Question | Gap]:
    language, pivots = data["language"], settings["pivots"]
    shots = sorted(settings["shots"])
    asked: list[Question | Gap] = []
    for source, target in directions(language, settings["directions"], pivots):
        partner = _read(folder, target if source == language else source)
        for count in shots:
            asked += _one_direction(data, partner, source, target, count, settings)
    if not asked:
        reason = f"n/a: directions of {language} stand under the other languages"
        asked = [Gap(language, f"{count}-shot", reason) for count in shots]
    return asked


def _one_direction(
    data: dict[str, Any], partner: dict[str, Any], source: str, target: str, shots: int, settings: dict[str, Any]
) -> list[Question | Gap]:
    direction, protocol = f"{source}-{target}", f"{shots}-shot"
    texts = _shared_texts(data, partner)
    known = list(texts[data["language"]])
    tests = drawn([key for key in known if key[0] == "devtest"], settings.get("limit"))
    examples = _worked_examples(texts, shots)
    terms = {
        (row["split"], row["item"]): row.get("terms", []) for side in (data, partner) if side["language"] == target for row in side["items"]
    }
    reason = data["reason"]
    if not reason and partner["reason"]:
        reason = f"n/a: {partner['language']}: {partner['reason'].removeprefix('n/a: ')}"
    if not reason and not tests:
        reason = f"n/a: no devtest sentence in common with {partner['language']}"
    if not reason and len(examples) < shots:
        few = f"n/a: {len(examples)} dev items that are like no test item, {shots} examples asked for"
        reason = few if any(key[0] == "dev" for key in known) else NO_EXAMPLES
    if reason:
        return [Gap(direction, protocol, reason)]
    shown = [(texts[source][key], texts[target][key]) for key in examples]
    items = tuple(item for _, item in examples)
    asked: list[Question | Gap] = []
    for key in tests:
        text = texts[source][key]
        prompt = few_shot(settings["template"], source, target, shown, text, terms[key])
        asked.append(Question(key[1], direction, protocol, [{"role": "user", "content": prompt}], text, items))
    return asked


def _shared_texts(data: dict[str, Any], partner: dict[str, Any]) -> dict[str, Texts]:
    """By language, the sentences that both sides have, by split and item, in the order of the file."""
    texts = {side["language"]: {(row["split"], row["item"]): row["text"] for row in side["items"]} for side in (data, partner)}
    shared = [key for key in texts[data["language"]] if key in texts[partner["language"]]]
    return {language: {key: found[key] for key in shared} for language, found in texts.items()}


def by_hash(keys: Sequence[Any]) -> list[Any]:
    """Names of items, or splits with items, in an order that has nothing to do with text or place, the same in every language."""
    return sorted(keys, key=lambda key: sha256_text(" ".join(map(str, key)) if isinstance(key, tuple) else str(key)))


def drawn(keys: Sequence[Any], limit: int | None) -> list[Any]:
    """At most `limit` of a test's items, in their order: the first ones by hash, so that no domain and no language is preferred.

    Test sets are sorted by domain, and the first hundred items of FLORES-200 are all news.
    """
    chosen = set(by_hash(keys)[:limit])
    return [key for key in keys if key in chosen]


def _worked_examples(texts: dict[str, Texts], shots: int) -> list[Key]:
    """The first `shots` dev items by hash that are like no test item on either side: who repeats one must not score by that."""
    if not shots:
        return []
    grams = {language: {key: ngrams(text) for key, text in found.items()} for language, found in texts.items()}
    keys = list(next(iter(texts.values())))
    tests = [key for key in keys if key[0] == "devtest"]
    chosen: list[Key] = []
    for key in by_hash([key for key in keys if key[0] == "dev"]):
        if not any(alike(own[key], own[test]) for own in grams.values() for test in tests):
            chosen.append(key)
        if len(chosen) == shots:
            break
    return chosen


def parallel(folder: Path, language: str, settings: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """By direction that stands under a language, all sentences of the benchmark that both sides have: source and target."""
    data = _read(folder, language)
    found = {}
    for source, target in directions(language, settings["directions"], settings["pivots"]) if data["shape"] == "flores" else ():
        texts = _shared_texts(data, _read(folder, target if source == language else source))
        found[f"{source}-{target}"] = list(zip(texts[source].values(), texts[target].values(), strict=True))
    return found


def _instructions(data: dict[str, Any], settings: dict[str, Any]) -> list[Question | Gap]:
    """Each request as the user's turn. The answer may have several lines, so it ends as a chat does and not with its first line."""
    language, protocol = data["language"], "0-shot"
    if data["reason"]:
        return [Gap(language, protocol, data["reason"])]
    names = drawn([row["item"] for row in data["items"]], settings.get("limit"))
    asked = {row["item"]: [{"role": "user", "content": row["text"]}] for row in data["items"]}
    return [Question(name, language, protocol, asked[name], kind="chat") for name in names]


def _reading(data: dict[str, Any], settings: dict[str, Any]) -> list[Question | Gap]:
    """Multiple choice by each protocol of `settings`.

    letters: the prompt of BELEBELE's paper (arXiv 2308.16884, section 4) in the model's chat template; the most probable of four letters.
    With examples it is called letters-<n>-shot, see `_examples`.
    harness: lm-evaluation-harness's task belebele_<language> (version 0.0), 0-shot: the same prompt, but the bare text, byte for byte,
    spaces at the end of answers included. With examples that task takes its first test items, so there is no such protocol here.
    chat: the paper's instruction for chat models; the model writes, and the stage scores reads the answer out of that.

    By each protocol but the harness's, options are shown in rotation (`rotated`), unless `options` of `settings` is "as-written".
    """
    language, found = data["language"], list[Question | Gap]()
    written = data["items"]
    turned = written if settings.get("options") == "as-written" else rotated(written)
    first = drawn([row["item"] for row in written], settings.get("limit"))
    for protocol in sorted(settings.get("protocols", ["letters"])):
        rows = written if protocol == "harness" else turned
        for shots in sorted(settings.get("shots", [0])) if protocol == "letters" else [0]:
            name = f"letters-{shots}-shot" if shots else protocol
            examples = _examples(rows, shots)
            own = {example["link"] for example in examples}
            tests = [row for row in rows if row["item"] in first and row["link"] not in own]
            reason = data["reason"]
            if not reason and not (tests and len(examples) == shots):
                reason = f"n/a: too few passages to keep {shots} out of the test as examples, and BELEBELE has no other split"
            if reason:
                found.append(Gap(language, name, reason))
                continue
            shown = "".join(f"{letter_prompt(_plain(row))} {LETTERS[int(row['correct_answer_num']) - 1]}\n\n" for row in examples)
            for row in tests:
                text = {"harness": harness_prompt(row), "chat": chat_prompt(_plain(row))}.get(protocol, shown + letter_prompt(_plain(row)))
                message = {"role": "user", "content": text}
                order = row.get("order", "")
                found.append(Question(row["item"], language, name, [message], passage=row["link"], kind=protocol, order=order))
    return found


def rotated(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same questions with their options moved round, so that each letter is right equally often.

    Their order stays, but for where it begins: that is chosen so that the right ones stand at A, B, C, D, A ... in the order of
    `by_hash`. So whoever always says one letter has 25 %, of the first n by hash as well, and another letter is no gain. `order` holds the
    options' own numbers in the order shown.
    """
    rank = {item: place for place, item in enumerate(by_hash([row["item"] for row in items]))}
    found = []
    for row in items:
        place = rank[row["item"]] % len(LETTERS)
        begin = int(row["correct_answer_num"]) - 1 - place
        order = [(begin + step) % len(LETTERS) + 1 for step in range(len(LETTERS))]
        options = {f"mc_answer{shown}": row[f"mc_answer{number}"] for shown, number in enumerate(order, 1)}
        found.append(row | options | {"correct_answer_num": str(place + 1), "order": "".join(map(str, order))})
    return found


def _examples(items: list[dict[str, Any]], shots: int) -> list[dict[str, Any]]:
    """One question from each of `shots` passages, the same in every language; their passages are left out of that test.

    BELEBELE is a test set only. Its paper draws examples from an English training collection under another licence, and
    lm-evaluation-harness from the test itself.
    """
    first = {row["link"]: row for row in reversed(items)}
    return [first[link] for link in sorted(first, key=sha256_text)[:shots]]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row without spaces around its texts."""
    return {name: value.strip() if isinstance(value, str) else value for name, value in row.items()}


def letter_prompt(row: dict[str, Any]) -> str:
    """Passage, question, four options, then the letter."""
    options = "\n".join(f"{letter}: {row[f'mc_answer{number}']}" for number, letter in enumerate(LETTERS, 1))
    return f"P: {row['flores_passage']}\nQ: {row['question']}\n{options}\nAnswer:"


def harness_prompt(row: dict[str, Any]) -> str:
    """The same as the harness writes it: of all texts, only the question loses the spaces around it."""
    return letter_prompt(row | {"question": row["question"].strip()})


def chat_prompt(row: dict[str, Any]) -> str:
    """The paper's instruction in English, its parts set apart by `###`."""
    options = "\n".join(f"({letter}) {row[f'mc_answer{number}']}" for number, letter in enumerate(LETTERS, 1))
    instruction = "Given the following passage, query, and answer choices, output the letter corresponding to the correct answer."
    parts = ("", f"Passage:\n{row['flores_passage']}", f"Query:\n{row['question']}", f"Choices:\n{options}", "Answer:\n")
    return instruction + "\n###\n".join(parts)
