"""BELEBELE's questions on FLORES-200's own passages: a reading test in every FLORES-200 language, also those that BELEBELE lacks.

Every BELEBELE passage is a run of consecutive lines of one split of FLORES-200: 387 questions rest on 220 runs of devtest, the other 513
on 268 runs of dev. The passage in a language is made of the same lines of that language; question and answers stay English, which is one
of BELEBELE's own cross-lingual settings. The row of benchmarks.tsv says which splits are used.

How they are joined: lines are stripped and joined by one space, in every script, also those without spaces between words. An English
passage is compared without its export's quotation marks (`text.unquoted`), nothing else is normalised. Found so are exactly 387
questions in devtest and the other 513 in dev. Proved on 12 of BELEBELE's languages (eng, zho_Hans, fra, spa, arb, jpn, tha, tur, tgl,
zsm, kor, nld): the made passage equals BELEBELE's letter for letter for 387 of 387 questions in each; with dev, 900 of 900 in English
and Simplified Chinese. The passages made have no quotation marks of an export, so English and others differ from BELEBELE's in these.
"""

from collections.abc import Sequence

from ..common import tables
from ..common.cli import UserError
from ..common.text import unquoted
from .belebele import belebele
from .flores import flores
from .material import SPLITS, Found, Items, Material, Row

ENGLISH = "eng_Latn"


def belebele_flores(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """Made of the rows `flores200` (`material.path`) and `belebele` (`material.belebele`)."""
    if material.belebele is None:
        raise UserError(
            f"{row['benchmark']} is made of two test sets: set `belebele` in the config to the folder or archive of BELEBELE too."
        )
    ((_, questions),) = belebele(Material(material.belebele, sums=material.sums), tables.row("benchmarks", "belebele"), [ENGLISH])
    sentences = flores(material, tables.row("benchmarks", "flores200"), [ENGLISH, *wanted])
    _, english = next(sentences)
    if isinstance(questions, str) or isinstance(english, str):
        raise UserError(f"{row['benchmark']} needs English in both {material.path} and {material.belebele}: it names the passages.")
    splits = [split for split, column in SPLITS.items() if row[column]]
    lines = {split: _lines(english, split) for split in splits}
    runs = {item["item"]: run for item in questions if (run := run_of(unquoted(item["flores_passage"]), lines)) is not None}
    if len(runs) != int(row["test_items"]):
        raise UserError(
            f"{len(runs)} English questions of {material.belebele} rest on passages of {material.path}, but {row['benchmark']} has "
            f"{row['test_items']}. Fetch both again."
        )
    for language, found in sentences:
        if isinstance(found, str):
            yield language, found
            continue
        own = {split: _lines(found, split) for split in splits}
        if lacking := [split for split in splits if len(own[split]) != len(lines[split])]:
            yield language, f"no {lacking[0]} split in flores200"
            continue
        passages = {key: " ".join(own[split][start:end]) for key, (split, start, end) in runs.items()}
        yield language, [item | {"flores_passage": passages[item["item"]]} for item in questions if item["item"] in passages]


def run_of(passage: str, lines: dict[str, list[str]]) -> tuple[str, int, int] | None:
    """Split, first and past-the-last number of the lines that make up the passage; None if none do."""
    for split, sentences in lines.items():
        for start, sentence in enumerate(sentences):
            if not passage.startswith(sentence):
                continue
            text, end = sentence, start + 1
            while len(text) < len(passage) and end < len(sentences):
                text, end = f"{text} {sentences[end]}", end + 1
            if text == passage:
                return split, start, end
    return None


def _lines(items: Items, split: str) -> list[str]:
    return [item["text"] for item in items if item["split"] == split]
