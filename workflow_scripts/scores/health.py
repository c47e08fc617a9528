"""Health of the output: is it in the language asked for, and is it a translation at all?

Every measure but the length ratio is a share of the items, in percent, with Wilson's interval. docs/methods.md tells how to read them.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl

from ..common import language_id, languages
from ..common.scripts import letters_of
from ..common.text import folded
from .choice import wilson
from .copies import SAME, is_copy

NOTED = {  # measures of what was noted of single answers (`answers.NOTES`)
    "cut rate": "cut",
    "thinking rate": "thinking",
    "preamble rate": "preamble",
    "wrapped rate": "wrapped",
    "more lines rate": "more lines",
    "copied example rate": "copied example",
}
HEALTH = (
    *("in language", "references in language", "in script", "copy rate", "loop rate", "empty rate", "same answer rate", "short rate"),
    *NOTED,
    "length ratio",
)
SHORT = 0.5  # of the reference's characters
LEAST_RECALL = 80  # percent of FLORES sentences: an identifier that finds fewer says more about itself than about the output
LOOP = re.compile(r"(.{2,100}?)\1{2,}", re.DOTALL)
LOOP_BYTES = 16

Texts = Sequence[str]


def health(target: str, sources: Texts, hypotheses: Texts, references: Texts, notes: Sequence[Collection[str]]) -> Iterator[dict[str, Any]]:
    """Rows of the measures: metric, value, interval and signature, or the reason why there is no value.

    The texts are aligned, and so are `notes`: what `answers.judge` found about each answer.
    """
    yield in_language("in language", target, hypotheses)
    yield in_language("references in language", target, references)
    script = languages.get(target).script
    yield share("in script", in_script(hypotheses, script), f"letters:{script}|v1")
    yield share("copy rate", list(map(is_copy, hypotheses, sources, references)), f"like:{SAME}|v2")
    yield share("loop rate", list(map(loops, hypotheses)), f"pieces:3|bytes:{LOOP_BYTES}|v1")
    yield share("empty rate", [not text.strip() for text in hypotheses], "v1")
    yield share("same answer rate", same_answers(hypotheses, references), "v1")
    yield share(
        "short rate", [len(text) < SHORT * len(wanted) for text, wanted in zip(hypotheses, references, strict=True)], f"under:{SHORT}|v1"
    )
    for metric, note in NOTED.items():
        yield share(metric, [note in found for found in notes], "v1")
    length = sum(map(len, hypotheses)) / max(1, sum(map(len, references)))
    yield {"metric": "length ratio", "value": length, "signature": "pivotlift|length ratio|v1"}


def share(metric: str, found: Sequence[bool], version: str) -> dict[str, Any]:
    low, high = wilson(sum(found), len(found))
    signature = f"pivotlift|{metric}|{version}|interval:wilson"
    return {"metric": metric, "value": 100 * sum(found) / len(found), "low": low, "high": high, "signature": signature}


def in_language(metric: str, language: str, texts: Texts) -> dict[str, Any]:
    """Texts that the identifier of language_id.tsv gives the language's label."""
    known = language_id.known(language)
    if known is None:
        return {"metric": metric, "reason": f"n/a: no language identifier at hand knows {language}"}
    if float(known["sentences"]) < LEAST_RECALL:
        return {"metric": metric, "reason": f"n/a: {known['identifier']} finds only {known['sentences']} % of {language} in FLORES-200"}
    found = [language_id.identify(known["identifier"], text) == known["label"] for text in texts]
    which = f"{language_id.named(known['identifier'])}|label:{known['label']}|flores:{known['sentences']}/{known['openings']}|v1"
    return share(metric, found, which)


def in_script(texts: Texts, script: str) -> list[bool]:
    """Texts with letters, more than half of which are in the script."""
    column = pl.Series(texts, dtype=pl.String).str
    return (2 * column.count_matches(letters_of(script)) > column.count_matches(r"\p{L}")).to_list()


def same_answers(hypotheses: Texts, references: Texts) -> list[bool]:
    """Answers that are given to another item too, numbered or not, more often than the reference is."""
    keys = [["".join(filter(str.isalpha, folded(text))) or text.strip() for text in texts] for texts in (hypotheses, references)]
    said, wanted = map(Counter, keys)
    return [bool(text) and said[text] > max(1, wanted[reference]) for text, reference in zip(*keys, strict=True)]


def loops(answer: str) -> bool:
    """Some piece of 2 to 100 folded characters, a letter among them, stands three times or more in a row, over at least 16 bytes.

    Bytes, since a character of a denser script says more: 16 letters of the Latin script, 6 Chinese ones.
    """
    return any(len(loop[0].encode()) >= LOOP_BYTES and any(map(str.isalpha, loop[1])) for loop in LOOP.finditer(folded(answer)))
