"""Constrained translation: the words asked for are in the prompt, and counted in the answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.benchmarks import prepare
from workflow_scripts.common import files, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.predictions import prompts
from workflow_scripts.scores import score

PUBLISHED = tables.ROOT.parent / "shared/data/bayling80.tar.xz"
INTO_CHINESE, INTO_ENGLISH = "bayling-constrained-en-zh", "bayling-constrained-zh-en"
SETTINGS = {"metrics": ["chrF++"], "resamples": 1000, "significance": "randomisation"}


def prepared(benchmark: str, material: Path, folder: Path, *languages: str) -> Path:
    arguments = ["--benchmark", benchmark, "--languages", *languages, "--material", str(material), "--output-folder", str(folder)]
    prepare.main(arguments)
    return folder


def scored(folder: Path, direction: str, answers: list[str], base: list[str] | None = None) -> dict[str, Any]:
    for name, texts in {"lifted": answers, "base": base or []}.items():
        rows = [{"item": number, "direction": direction, "protocol": "0-shot", "answer": text} for number, text in enumerate(texts)]
        files.write_jsonl(folder / f"{name}.jsonl", rows)
    baselines = {"base": folder / "base.jsonl"} if base else {}
    rows = score.score("lifted", folder, "zho_Hans", folder / "lifted.jsonl", baselines, SETTINGS)
    (row,) = (row for row in rows if row["metric"] == "constraint recall")
    tables.check(row, score.SCHEMA, "row")
    return row


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three sentences in the layout of the published set."""
    lines = [
        {"src": "这只猫睡着了。", "tgt": "The cat is asleep.", "constraint": ["The cat", "asleep"]},
        {"src": "今天下雨。", "tgt": "It rains today.", "constraint": ["today"]},
        {"src": "火车晚点了。", "tgt": "The train is late.", "constraint": ["train"]},
    ]
    source = tmp_path / "set"
    source.mkdir()
    (source / "constraints.zh-en.en.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    monkeypatch.setitem(tables.row("benchmarks", INTO_ENGLISH), "test_items", "3")
    return source


def test_the_words_are_in_the_prompt_and_the_other_language_says_it_has_none(made_up: Path, tmp_path: Path) -> None:
    folder = prepared(INTO_ENGLISH, made_up, tmp_path / "made", "eng_Latn", "zho_Hans", "deu_Latn")
    settings = {"template": "en-constrained", "pivots": ["eng_Latn", "zho_Hans"], "directions": ["X-eng"], "shots": [0]}
    asked = prompts.questions(folder, "zho_Hans", settings)
    assert [question.direction for question in asked] == ["zho_Hans-eng_Latn"] * 3
    assert asked[0].messages[0]["content"] == (  # type: ignore[union-attr]
        "Translate from Chinese (Simplified) to English. Make sure that the translation contains these words: The cat, asleep\n"
        "Chinese (Simplified): 这只猫睡着了。\nEnglish:"
    )
    (gap,) = prompts.questions(folder, "deu_Latn", settings)
    assert gap.reason == f"n/a: not in {INTO_ENGLISH}"  # type: ignore[union-attr]


def test_recall_counts_words_and_the_test_draws_sentences(made_up: Path, tmp_path: Path) -> None:
    folder = prepared(INTO_ENGLISH, made_up, tmp_path / "made", "eng_Latn", "zho_Hans")
    answers = ["the CAT sleeps", "It rains.", "Trains are late"]
    row = scored(folder, "zho_Hans-eng_Latn", answers, ["", "", "train"])
    assert (row["value"], row["delta"], row["n"]) == (50, 25, 3)
    assert row["low"] < 50 < row["high"]
    assert "terms:4|case:no|interval:wilson|paired:items|ar:10000" in row["signature"]
    assert scored(folder, "zho_Hans-eng_Latn", answers, answers)["p_value"] == 1


def test_a_line_without_words_is_refused(made_up: Path, tmp_path: Path) -> None:
    with (made_up / "constraints.zh-en.en.jsonl").open("a") as file:
        file.write(json.dumps({"src": "好", "tgt": "Good", "constraint": []}) + "\n")
    with pytest.raises(UserError, match="line 4 lacks"):
        prepared(INTO_ENGLISH, made_up, tmp_path / "made", "eng_Latn")


@pytest.mark.skipif(not PUBLISHED.exists(), reason="BayLing's test sets are not at hand")
@pytest.mark.parametrize(
    ("name", "direction", "terms"), [(INTO_CHINESE, "eng_Latn-zho_Hans", 4651), (INTO_ENGLISH, "zho_Hans-eng_Latn", 3886)]
)
def test_the_published_sets_load_and_their_references_hold_every_word(name: str, direction: str, terms: int, tmp_path: Path) -> None:
    folder = prepared(name, PUBLISHED, tmp_path, "eng_Latn", "zho_Hans")
    source, target = (files.read_json(folder / f"{code}.json")["items"] for code in direction.split("-"))
    assert sum(len(item["terms"]) for item in target) == terms
    assert not any("terms" in item for item in source)
    assert scored(folder, direction, [item["text"] for item in target[:200]])["value"] == 100
