"""Health of the output: what is wrong with an answer is found, and what is right with it is not accused."""

import tarfile
from typing import Any

import pytest

from workflow_scripts.common import language_id, languages, tables
from workflow_scripts.scores import health

FLORES = tables.ROOT.parent / "shared/data/flores200_dataset.tar.xz"
ENGLISH = ["The cat sleeps on the warm mat near the door.", "The train to Berlin is ten minutes late today.", "Copyright 2023 Example Inc."]
GERMAN = ["Die Katze schläft auf der warmen Matte an der Tür.", "Der Zug nach Berlin hat heute zehn Minuten Verspätung.", ENGLISH[2]]


def measured(target: str, sources: list[str], answers: list[str], references: list[str]) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in health.health(target, sources, answers, references, [()] * len(answers))}


def test_good_answers_are_healthy() -> None:
    rows = measured("deu_Latn", ENGLISH, GERMAN, GERMAN)
    values = {name: row["value"] for name, row in rows.items()}
    assert list(values) == list(health.HEALTH)
    assert values["in language"] == values["references in language"] == pytest.approx(200 / 3), "the name of a company is not German"
    assert (values["in script"], values["copy rate"], values["loop rate"], values["empty rate"]) == (100, 0, 0, 0)
    assert values["length ratio"] == 1
    assert rows["in language"]["low"] < 67 < rows["in language"]["high"]
    assert "label:de|flores:" in rows["in language"]["signature"]


def test_each_fault_is_counted() -> None:
    answers = ["the cat sleeps on the warm mat, near the door!", "Der Zug, der Zug, der Zug, der Zug", " \n"]
    values = {name: row["value"] for name, row in measured("deu_Latn", ENGLISH, answers, GERMAN).items()}
    third = pytest.approx(100 / 3)
    assert (values["in language"], values["copy rate"], values["loop rate"], values["empty rate"]) == (third, third, third, third)
    assert values["in script"] == pytest.approx(200 / 3)
    assert values["length ratio"] == sum(map(len, answers)) / sum(map(len, GERMAN))


def test_the_wrong_language_in_the_right_script() -> None:
    assert measured("ukr_Cyrl", ENGLISH[:1], ["Кошка спит на тёплом коврике у двери."], ["Кішка спить на теплому килимку біля дверей."])[
        "in language"
    ]["value"] == 0  # fmt: skip
    rows = measured("zho_Hans", ENGLISH[:1], ["這隻貓睡在門邊溫暖的墊子上。"], ["这只猫睡在门边温暖的垫子上。"])
    assert [rows[name]["value"] for name in ("in language", "references in language", "in script")] == [0, 100, 100]


@pytest.mark.parametrize(
    ("answer", "source", "reference", "copied"),
    [
        ("HELLO WORLD!", "Hello, world", "Hallo Welt", True),
        ("English: Hello, world. German:", "Hello, world", "Hallo Welt", True),
        ("The trian to Berlin is ten minutes late today.", ENGLISH[1], GERMAN[1], True),
        ("Hallo Welt", "Hello, world", "Hallo Welt", False),
        ("OpenStreetMap", "OpenStreetMap", "OpenStreetMap", False),
        ("", "...", "...", False),
    ],
)
def test_a_copy_is_nearly_the_source_unless_it_should_be(answer: str, source: str, reference: str, copied: bool) -> None:
    assert health.is_copy(answer, source, reference) is copied


@pytest.mark.parametrize(
    ("answer", "loop"),
    [
        ("I am not sure, I am not sure, I am not sure.", True),
        ("中国中国中国", True),
        ("มากมากมากมาก", True),
        ("aaaaaaaaaaaaaaaaaaaaaaa", True),
        ("the very, very, very best", False),
        ("1,000,000,000,000,000,000", False),
        ("No, no, no!", False),
        ("The price is fair. The price is fair to all.", False),
    ],
)
def test_loops(answer: str, loop: bool) -> None:
    assert health.loops(answer) is loop


def test_a_language_that_no_identifier_knows_has_a_reason() -> None:
    rows = measured("nus_Latn", ENGLISH, GERMAN, GERMAN)
    assert rows["in language"] == {"metric": "in language", "reason": "n/a: no language identifier at hand knows nus_Latn"}
    assert rows["in script"]["value"] == 100, "the script is always known"
    assert measured("bos_Latn", ENGLISH, GERMAN, GERMAN)["in language"]["reason"].startswith("n/a: py3langid finds only ")


def test_the_table_names_languages_and_identifiers_that_there_are() -> None:
    table = tables.read("language_id")
    assert set(table) <= set(languages.registry())
    for code, row in table.items():
        assert row["identifier"] in language_id.IDENTIFIERS
        assert not (set(row["taken_for_it"].split()) - set(languages.registry())) and code not in row["taken_for_it"]
    assert sum(float(row["sentences"]) >= health.LEAST_RECALL for row in table.values()) > 130


@pytest.mark.skipif(not FLORES.exists(), reason="FLORES-200 is not at hand")
def test_the_table_tells_what_is_measured() -> None:
    codes = ["eng_Latn", "deu_Latn", "swh_Latn", "zho_Hant", "ayr_Latn", "bos_Latn"]
    texts = {}
    with tarfile.open(FLORES) as archive:
        for member in archive:
            if (code := member.name.rpartition("/")[2].removesuffix(".devtest")) in codes:
                texts[code] = archive.extractfile(member).read().decode()
    assert len(texts) == len(codes)
    for code, text in texts.items():
        row, script = tables.row("language_id", code), languages.get(code).script
        lines = text.removesuffix("\n").split("\n")[:300]
        found = sum(language_id.identify(row["identifier"], line) == row["label"] for line in lines)
        looping, strange = sum(map(health.loops, lines)), len(lines) - sum(health.in_script(lines, script))
        assert 100 * found / 300 == pytest.approx(float(row["sentences"]), abs=6), code
        assert looping == 0 and strange <= 6, code
