"""The wordings of the translation request: sound, different from one another, and harmless to what they carry."""

from collections import Counter
from pathlib import Path

import pytest

from workflow_scripts.common import languages, prompts, tables
from workflow_scripts.common.cli import UserError

TEMPLATES = tables.read("templates")
PIVOTS = {"eng_Latn", "zho_Hans"}


def test_there_are_enough_wordings_in_enough_languages() -> None:
    count = Counter(row["language"] for row in TEMPLATES.values())
    assert len(TEMPLATES) >= 30
    assert count["eng_Latn"] >= 10
    assert count["zho_Hans"] >= 8
    assert len([code for code in count if code not in PIVOTS and count[code] >= 2]) >= 10
    assert set(count) <= set(languages.registry())


def test_the_default_comes_first() -> None:
    assert next(iter(TEMPLATES)) == "en-labelled"
    asked = prompts.request("en-labelled", "deu_Latn", "eng_Latn", "Guten Tag!")
    assert asked == "Translate from German to English.\nGerman: Guten Tag!\nEnglish:"


def test_few_shot_examples_end_in_an_empty_line() -> None:
    asked = prompts.few_shot("en-02", "deu_Latn", "eng_Latn", [("Ja.", "Yes."), ("Nein.", "No.")], "Gut.")
    assert asked == "German: Ja.\nEnglish: Yes.\n\nGerman: Nein.\nEnglish: No.\n\nGerman: Gut.\nEnglish:"


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_wording_names_both_languages_and_carries_the_text_once(template: str) -> None:
    wording = TEMPLATES[template]["text"]
    assert wording.count("{text}") == 1
    assert "{source}" in wording
    assert "{target}" in wording
    asked = prompts.request(template, "ell_Grek", "ukr_Cyrl", "§§§")
    english = TEMPLATES[template]["language"] == "eng_Latn"
    assert asked.count("§§§") == 1
    assert all(name in asked for name in (("Greek", "Ukrainian") if english else ("Ελληνικά", "українська")))
    assert asked == asked.strip()
    assert "\\" not in asked


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("text", ["{text}", "say {target} and {source}", r"C:\new\1 \g<0>", "{}", "two\nlines", "  padded  "])
def test_the_text_comes_out_unchanged(template: str, text: str) -> None:
    before, after = prompts.request(template, "hau_Latn", "tam_Taml", "\0").split("\0")
    assert prompts.request(template, "hau_Latn", "tam_Taml", text) == before + text + after


def test_every_wording_asks_differently() -> None:
    asked = [prompts.request(template, "nld_Latn", "zul_Latn", "Goed.") for template in TEMPLATES]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    "text",
    [
        "{source}: {text}",  # no target
        "{target}: {text}",  # no source
        "{source} to {target}:",  # no text
        "{source} {text} {text} {target}:",
        "{source} {text} {target} {style}:",
        "{source} {text} {target}: ",
        r"{source} {text} {target}:\n",
        r"{source}\t{text} {target}:",
        "",
    ],
)
def test_unsound_wordings_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "templates.tsv").write_text(f"template\tlanguage\ttext\nen-99\teng_Latn\t{text}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"templates.tsv line 2 \(en-99\): text"):
        tables.read("templates", tmp_path)


def test_a_sound_wording_is_accepted(tmp_path: Path) -> None:
    row = "en-99\teng_Latn\t{source} “{text}”\\n{target}:\n"
    (tmp_path / "templates.tsv").write_text("template\tlanguage\ttext\n" + row, encoding="utf-8")
    assert list(tables.read("templates", tmp_path)) == ["en-99"]


def test_unknown_template_names_near_ones() -> None:
    with pytest.raises(UserError, match=r"en-label is not in .*en-labelled"):
        prompts.request("en-label", "deu_Latn", "eng_Latn", "x")
