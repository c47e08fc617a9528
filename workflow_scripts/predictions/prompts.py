"""Benchmark items become requests: what is asked of the model, one request an item, direction and protocol.

Shape `flores` asks for translations (0-shot or with the first dev items as examples), shape `belebele` for the letter of one
of four answers. A language without text gives reasons instead of requests, never nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.chat import Messages
from ..common.cli import UserError
from ..common.files import read_json
from ..common.prompts import few_shot

LETTERS = ("A", "B", "C", "D")
NO_EXAMPLES = "n/a: no dev split to draw examples from"


@dataclass(frozen=True)
class Question:
    """One item to answer. `source` is the text to translate, "" where the answer is a letter (protocol "letters")."""

    item: int | str
    direction: str
    protocol: str
    messages: Messages
    source: str = ""


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
        return _letters(data, settings.get("limit"))
    if data["shape"] == "flores":
        return _translations(folder, data, settings)
    raise UserError(f"{folder / language}.json has the shape {data['shape']!r}, but only flores and belebele can be answered.")


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
    texts = {side["language"]: {(row["split"], row["item"]): row["text"] for row in side["items"]} for side in (data, partner)}
    shared = [key for key in texts[data["language"]] if key in texts[partner["language"]]]
    examples = [(texts[source][key], texts[target][key]) for key in shared if key[0] == "dev"][:shots]
    tests = [key for key in shared if key[0] == "devtest"][: settings.get("limit")]
    reason = data["reason"]
    if not reason and partner["reason"]:
        reason = f"n/a: {partner['language']}: {partner['reason'].removeprefix('n/a: ')}"
    if not reason and not tests:
        reason = f"n/a: no devtest sentence in common with {partner['language']}"
    if not reason and len(examples) < shots:
        reason = NO_EXAMPLES if not examples else f"n/a: {len(examples)} dev items, {shots} examples asked for"
    if reason:
        return [Gap(direction, protocol, reason)]
    asked: list[Question | Gap] = []
    for key in tests:
        text = texts[source][key]
        prompt = few_shot(settings["template"], source, target, examples, text)
        asked.append(Question(key[1], direction, protocol, [{"role": "user", "content": prompt}], text))
    return asked


def _letters(data: dict[str, Any], limit: int | None) -> list[Question | Gap]:
    """The letter prompt of lm-evaluation-harness's belebele task: passage, question, four options, then the letter."""
    language = data["language"]
    if data["reason"]:
        return [Gap(language, "letters", data["reason"])]
    asked: list[Question | Gap] = []
    for row in data["items"][:limit]:
        options = "\n".join(f"{letter}: {row[f'mc_answer{number}']}" for number, letter in enumerate(LETTERS, 1))
        prompt = f"P: {row['flores_passage']}\nQ: {row['question']}\n{options}\nAnswer:"
        asked.append(Question(row["item"], language, "letters", [{"role": "user", "content": prompt}]))
    return asked
