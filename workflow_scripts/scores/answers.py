"""What counts of an answer, and what is to be said of it: a remark before the translation, marks around it, a limit it ran into.

Scores judge translations. A chat model that begins with "Here is the translation:" has translated all the same, and a change of that
habit is no gain. So it is taken off for every model alike, and counted among the health measures.
"""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from ..common.text import normal_form, script_of
from .copies import is_copy

FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)
REMARK = re.compile(r"\A[^\n]*[:：][*_ ]*\n\s*(?=\S)")  # a first line that ends with a colon, and more behind it
COLON = re.compile("[:：]")  # where the text itself has one, a line that ends with it may be its beginning
LABEL = re.compile(r"\A[^\n:：]{1,60}[:：]\s*\S")
ODD_BEGINNING = re.compile(r"\A(?:[-*•] |\d{1,2}\. |[\[(<{\\`~])")  # a list, a bracket, a tag, code
AROUND = (
    ("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"), ("`", "`"), ('"', '"'), ("“", "”"), ("„", "“"), ("„", "”"), ("«", "»"),
    ("»", "«"), ("'", "'"), ("‘", "’"), ("「", "」"), ("『", "』"), ("《", "》"), ("‹", "›"),
)  # fmt: skip
BEFORE = re.compile(r"\A(?:#{1,6} |> )")  # a heading, a quotation


class Answer(NamedTuple):
    """The text that is scored, and what was found about the answer: some of `NOTES`."""

    text: str
    notes: frozenset[str]


NOTES = ("cut", "thinking", "preamble", "wrapped", "more lines", "copied example")


def tidy(text: str, source: str, reference: str) -> tuple[str, set[str]]:
    """An answer without a remark before it and marks around it, and which of them it had.

    What source or reference have too stays: it belongs to the text.
    """
    notes = set()
    plain = text.strip()
    if "\n" not in source and (fenced := FENCE.match(plain)):
        plain, notes = fenced[1].strip(), {"wrapped"}
    if "\n" not in source and "\n" not in reference and not COLON.search(source + reference) and (remark := REMARK.match(plain)):
        plain = plain[remark.end() :].strip()
        notes.add("preamble")
    if plain.endswith((":", "：")) and not source.strip().endswith((":", "：")) and not reference.strip().endswith((":", "：")):
        notes.add("preamble")  # and nothing behind it
    for _ in range(2):  # quotation marks in bold
        inner = unwrapped(plain)
        if inner == plain or unwrapped(source.strip()) != source.strip() or unwrapped(reference.strip()) != reference.strip():
            break
        plain = inner
        notes.add("wrapped")
    if not COLON.search(source + reference) and LABEL.match(plain):
        notes.add("preamble")  # "German: ..." on the same line: where it ends is a guess, so it is only named
    if ODD_BEGINNING.match(plain) and not ODD_BEGINNING.match(source.strip()) and not ODD_BEGINNING.match(reference.strip()):
        notes.add("wrapped")
    if plain.count("\n") > source.strip().count("\n"):
        notes.add("more lines")
    return plain, notes


def unwrapped(text: str) -> str:
    """A text without one pair of marks around the whole of it; the same text where there is none."""
    if heading := BEFORE.match(text):
        return text[heading.end() :].strip()
    for opening, closing in AROUND:
        inner = text[len(opening) : len(text) - len(closing)]
        whole = len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing)
        if whole and opening not in inner and closing not in inner and inner.strip():
            return inner.strip()
    return text


def judge(row: dict[str, Any], target: str, source: str, reference: str, examples: Collection[str]) -> Answer:
    """What counts of one line of a predictions file; `examples` are the answers of its worked examples, all texts as published."""
    text, notes = tidy(row["answer"], source, reference)
    if any(is_copy(text, example, reference) for example in examples):
        notes.add("copied example")
    return Answer(normal_form(text, script_of(target)), limits_and_thoughts(row) | notes)


def limits_and_thoughts(row: dict[str, Any]) -> frozenset[str]:
    """What was noted when the answer was written."""
    found = {"cut": row.get("finish") == "length", "thinking": bool(row.get("thinking"))}
    return frozenset(note for note, noted in found.items() if noted)
