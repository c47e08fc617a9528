"""What counts of an answer: the translation, without a remark before it or marks around it, in one form; and lines that were lost."""

from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.common import files
from workflow_scripts.common.cli import UserError
from workflow_scripts.predictions.thinking import MARKS, thinking_end
from workflow_scripts.scores import answers, inputs

SOURCE, REFERENCE = "The cat sits on the mat.", "Die Katze sitzt auf der Matte."


@pytest.mark.parametrize(
    ("written", "notes"),
    [
        (REFERENCE, set()),
        (f"Here is the translation:\n\n{REFERENCE}", {"preamble"}),
        (f"**German:**\n{REFERENCE}", {"preamble"}),
        (f"以下是翻译：\n{REFERENCE}", {"preamble"}),
        (f'"{REFERENCE}"', {"wrapped"}),
        (f"„{REFERENCE}“", {"wrapped"}),
        (f"**{REFERENCE}**", {"wrapped"}),
        (f'**"{REFERENCE}"**', {"wrapped"}),
        (f"```\n{REFERENCE}\n```", {"wrapped"}),
        (f"> {REFERENCE}", {"wrapped"}),
        (f'Sure! Here it is:\n"{REFERENCE}"', {"preamble", "wrapped"}),
    ],
)
def test_a_translation_is_found_in_what_stands_around_it(written: str, notes: set[str]) -> None:
    assert answers.tidy(written, SOURCE, REFERENCE) == (REFERENCE, notes)


@pytest.mark.parametrize(
    ("written", "source", "reference"),
    [
        ('"Hallo", sagte sie.', '"Hello", she said.', '"Hallo", sagte sie.'),
        ('"Hallo"', '"Hello"', "«Hallo»"),
        ("*Homo sapiens*", "*Homo sapiens*", "*Homo sapiens*"),
        ('"A" oder "B"', 'A or "B"', '"A" oder "B"'),
        ("Zutaten:\nMehl", "Ingredients:\nflour", "Zutaten:\nMehl"),
        ("Er sagte:", "He said:", "Er sagte:"),
        ("", SOURCE, REFERENCE),
        ('"', SOURCE, REFERENCE),
        ("****", SOURCE, REFERENCE),
    ],
)
def test_what_belongs_to_the_text_stays(written: str, source: str, reference: str) -> None:
    assert answers.tidy(written, source, reference) == (written, set())


def test_remarks_alone_and_further_lines_are_noted() -> None:
    assert answers.tidy("Here is the translation:", SOURCE, REFERENCE) == ("Here is the translation:", {"preamble"})
    more = f"{REFERENCE}\n\nNote: a mat is a rug."
    assert answers.tidy(more, SOURCE, REFERENCE) == (more, {"more lines"})


def test_a_colon_of_the_text_is_no_remark() -> None:
    written = "Warnung:\nDie Datei ist da."
    assert answers.tidy(written, "Warning: the file is there.", "Warnung: Die Datei ist da.") == (written, {"more lines"})


@pytest.mark.parametrize(
    ("written", "note"),
    [
        (f"German: {REFERENCE}", "preamble"),
        (f"Sure! Here is the translation: {REFERENCE}", "preamble"),
        (f"- {REFERENCE}", "wrapped"),
        (f"1. {REFERENCE}", "wrapped"),
        (f"({REFERENCE})", "wrapped"),
        (f"<translation>{REFERENCE}</translation>", "wrapped"),
    ],
)
def test_habits_on_the_same_line_are_named(written: str, note: str) -> None:
    assert answers.tidy(written, SOURCE, REFERENCE) == (written, {note})


def test_limits_thoughts_and_repeated_examples_are_noted() -> None:
    row: dict[str, Any] = {"answer": "Der Hund schläft.", "finish": "length", "thinking": 12}
    found = answers.judge(row, "deu_Latn", SOURCE, REFERENCE, ["Der Hund schläft!", "Anderes"])
    assert found == ("Der Hund schläft.", {"cut", "thinking", "copied example"})
    assert answers.judge({"answer": REFERENCE, "finish": "stop"}, "deu_Latn", SOURCE, REFERENCE, [REFERENCE]).notes == set()


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_a_thinking_block_ends_where_its_mark_does(opening: str, closing: str) -> None:
    """Characters stand for tokens here. A template may have opened the block in the prompt."""

    def decode(ids: list[int]) -> str:
        return "".join(map(chr, ids))

    block = f"{opening}hm, a cat?{closing}"
    for text, taken in ((f"{block}Die Katze", block), (f"\nhm{closing}\n\nDie Katze", f"\nhm{closing}"), ("Die Katze", "")):
        assert thinking_end(decode, list(map(ord, text))) == (len(taken), "")
    endless = f" {opening} and on and on"
    assert thinking_end(decode, list(map(ord, endless))) == (len(endless), "")
    later = f"Nutze {opening} und {closing} so."
    assert thinking_end(decode, list(map(ord, later))) == (0, ""), "a mark that an answer speaks of"


def test_a_token_that_ends_the_block_and_begins_the_answer_loses_nothing() -> None:
    """In Qwen 2.5 `</think>` is several tokens, and the last one may hold the first word."""
    tokens = ["<think>", "a</think", ">The", " cat"]

    def decode(ids: list[int]) -> str:
        return "".join(tokens[number] for number in ids)

    assert thinking_end(decode, [0, 1, 2, 3]) == (3, "The")


def test_an_evaluation_that_lost_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deu_Latn.jsonl"
    whole = [
        {"direction": "eng_Latn-deu_Latn", "protocol": protocol, "item": item, "answer": "x", "lines": 6}
        for protocol in ("0-shot", "3-shot")
        for item in range(3)
    ]
    files.write_jsonl(path, whole)
    assert sum(map(len, inputs.read_predictions(path).values())) == 6
    for lost in (whole[:-1], whole[1:], whole[3:], [*whole[:2], *whole[3:]]):
        files.write_jsonl(path, lost)
        with pytest.raises(UserError, match=f"has {len(lost)} of its 6 lines.*run the predictions again"):
            inputs.read_predictions(path)
