"""The reading test made of FLORES-200's passages: its passages are BELEBELE's own, letter for letter, where BELEBELE has the language."""

import json
from collections import Counter

import pytest

from tests.test_benchmarks import flores_folder, shared, write
from workflow_scripts.benchmarks import prepare
from workflow_scripts.benchmarks.belebele_flores import run_of
from workflow_scripts.benchmarks.material import Material
from workflow_scripts.common.cli import UserError
from workflow_scripts.common.text import unquoted

LANGUAGES = [f"{code}_Latn" for code in ("eng", "fra", "spa", "tur", "tgl", "zsm", "nld")]
LANGUAGES += ["zho_Hans", "arb_Arab", "jpn_Jpan", "tha_Thai", "kor_Hang"]


def both():
    flores, belebele = shared("flores200_dataset.tar.xz"), shared("belebele.tar.xz")
    return Material(flores.path, belebele.path, [*flores.sums, *belebele.sums])


def made(benchmark, languages, material):
    return {found["language"]: found for found in prepare.prepare(benchmark, languages, material)}


def test_real_passages_are_those_of_belebele_letter_for_letter():
    material = both()
    flores = made("belebele-flores", [*LANGUAGES, "zul_Latn"], material)
    official = made("belebele", LANGUAGES, Material(material.belebele, sums=material.sums))
    keys = [item["item"] for item in flores["zul_Latn"]["items"]]
    assert len(keys) == len(set(keys)) == 387
    english = {item["item"]: item for item in official["eng_Latn"]["items"]}
    equal = {}
    for language in LANGUAGES:
        theirs = {item["item"]: item["flores_passage"] for item in official[language]["items"]}
        assert [item["item"] for item in flores[language]["items"]] == keys
        equal[language] = sum(item["flores_passage"] == unquoted(theirs[item["item"]]) for item in flores[language]["items"])
        assert all(item | {"flores_passage": ""} == english[item["item"]] | {"flores_passage": ""} for item in flores[language]["items"])
    assert equal == dict.fromkeys(LANGUAGES, 387)
    assert len({item["link"] for item in flores["zul_Latn"]["items"]}) == 220


def test_with_dev_all_900_questions_rest_on_real_passages():
    material = both()
    flores = made("belebele-flores-all", ["eng_Latn", "zho_Hans", "zul_Latn"], material)
    official = made("belebele", ["eng_Latn", "zho_Hans"], Material(material.belebele, sums=material.sums))
    for language, theirs in official.items():
        passages = {item["item"]: unquoted(item["flores_passage"]) for item in theirs["items"]}
        assert {item["item"]: item["flores_passage"] for item in flores[language]["items"]} == passages
    assert flores["zul_Latn"]["reason"] == "n/a: no dev split in flores200"  # the archive beside the project has four languages' dev


def belebele_of(tmp_path, folder, questions=900):
    """English questions on runs of two lines of devtest (387) and three of dev (513); one passage as an export to CSV leaves it."""
    lines = {split: (folder / f"{split}/eng_Latn.{split}").read_text(encoding="utf-8").splitlines() for split in ("dev", "devtest")}
    rows = []
    for number in range(questions):
        passage, rest = divmod(number, 2)
        split, size, first = ("devtest", 2, 0) if passage < 194 else ("dev", 3, 194)
        start = size * (passage - first)
        text = " ".join(line.strip() for line in lines[split][start : start + size])
        text = '"' + text.replace('"', '""') + '"' if '"' in text else text
        row = {"link": f"https://x/{split}/{passage}", "question_number": rest + 1, "flores_passage": text, "question": f"q{number}"}
        rows.append(row | {"correct_answer_num": "3"} | {f"mc_answer{choice}": f"{choice}" for choice in range(1, 5)})
    del rows[387]  # the 194th passage of devtest has one question
    rows.append(rows[-1] | {"question_number": 3})
    write(tmp_path / "Belebele/eng_Latn.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "Belebele"


def own_sentences(tmp_path):
    folder = flores_folder(tmp_path, ("eng_Latn", "tha_Thai", "aka_Latn"))
    (folder / "dev/aka_Latn.dev").unlink()
    for code, said in (("eng_Latn", 'He said "yes".'), ("tha_Thai", "ใช่ ")):
        path = folder / f"devtest/{code}.devtest"
        path.write_text(path.read_text(encoding="utf-8").replace(f"{code} devtest line 4\n", f"{said}\n"), encoding="utf-8")
    return folder


def test_the_same_lines_make_the_passage_in_every_language(tmp_path):
    folder = own_sentences(tmp_path)
    material = Material(folder, belebele_of(tmp_path, folder))
    found = made("belebele-flores", ["tha_Thai", "aka_Latn", "zul_Latn"], material)
    items = {item["item"]: item for item in found["tha_Thai"]["items"]}
    assert len(items) == len(found["aka_Latn"]["items"]) == 387
    assert items["https://x/devtest/2#2"]["flores_passage"] == "ใช่ tha_Thai devtest line 5"
    assert items["https://x/devtest/2#2"]["question"] == "q5" and items["https://x/devtest/2#2"]["link"] == "https://x/devtest/2"
    assert found["zul_Latn"]["reason"] == "n/a: not in flores200"


def test_questions_on_dev_need_dev(tmp_path):
    folder = own_sentences(tmp_path)
    found = made("belebele-flores-all", ["tha_Thai", "aka_Latn"], Material(folder, belebele_of(tmp_path, folder)))
    passages = Counter(item["flores_passage"] for item in found["tha_Thai"]["items"])
    assert sum(passages.values()) == 900 and passages["tha_Thai dev line 3 tha_Thai dev line 4 tha_Thai dev line 5"] == 2
    assert found["aka_Latn"]["reason"] == "n/a: no dev split in flores200"


def test_questions_that_do_not_rest_on_these_passages_are_refused(tmp_path):
    folder = own_sentences(tmp_path)
    belebele = belebele_of(tmp_path, folder)
    path = folder / "devtest/eng_Latn.devtest"
    path.write_text(path.read_text(encoding="utf-8").replace("line 9\n", "line nine\n"), encoding="utf-8")
    with pytest.raises(UserError, match=r"385 English questions of .*Belebele rest on passages of .*, but belebele-flores has 387"):
        made("belebele-flores", ["tha_Thai"], Material(folder, belebele))


def test_both_test_sets_are_needed(tmp_path):
    folder = own_sentences(tmp_path)
    with pytest.raises(UserError, match="set `belebele` in the config"):
        made("belebele-flores", ["tha_Thai"], Material(folder))
    belebele = belebele_of(tmp_path, folder)
    (belebele / "eng_Latn.jsonl").rename(belebele / "deu_Latn.jsonl")
    with pytest.raises(UserError, match="needs English in both"):
        made("belebele-flores", ["tha_Thai"], Material(folder, belebele))


def test_a_run_starts_and_ends_with_a_line():
    lines = {"dev": ["A b.", "C d.", "E f."], "devtest": ["A b. C", "A b.", "C d. E"]}
    assert run_of("C d. E f.", lines) == ("dev", 1, 3)
    assert run_of("A b. C d. E", lines) == ("devtest", 1, 3)
    assert run_of("b. C d.", lines) is None and run_of("A b. C d. E f", lines) is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ('"He said ""yes""."', 'He said "yes".'),
        ('"""Yes,"" he said." ', '"Yes," he said.'),
        ('"All of it."', '"All of it."'),
        ('"Yes," he said, "no"', '"Yes," he said, "no"'),
        ("plain", "plain"),
        ('"', '"'),
    ],
)
def test_only_quotation_marks_of_an_export_are_taken_away(text, plain):
    assert unquoted(text) == plain
