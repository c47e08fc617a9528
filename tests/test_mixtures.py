"""Mixtures: whole numbers that add up, shares kept, draws that depend on nothing but seed and rows."""

import random
from collections import Counter

import polars as pl
import pytest

from workflow_scripts.common import files
from workflow_scripts.common.cli import UserError
from workflow_scripts.instructions.table import SCHEMA, single_turn
from workflow_scripts.mixtures import gate
from workflow_scripts.mixtures.audit import CONTAMINATED, audit
from workflow_scripts.mixtures.mix import mix
from workflow_scripts.mixtures.plan import apportion, temperature_weights


def test_apportion_adds_up_and_respects_limits():
    generator = random.Random(0)
    for _ in range(200):
        names = [f"l{number}" for number in range(generator.randint(1, 12))]
        weights = {name: generator.random() for name in names}
        limits = {name: generator.randint(0, 30) for name in names}
        total = generator.randint(0, 150)
        given = apportion(total, weights, limits)
        assert sum(given.values()) == min(total, sum(limits.values()))
        assert all(0 <= given[name] <= limits[name] for name in names)


def test_what_a_full_group_cannot_take_goes_to_the_others():
    assert apportion(100, {"a": 1, "b": 1, "c": 2}, {"a": 10, "b": 100, "c": 100}) == {"a": 10, "b": 30, "c": 60}


def test_temperature():
    natural = temperature_weights({"big": 10_000, "small": 100}, 1)
    flat = temperature_weights({"big": 10_000, "small": 100}, 100)
    assert natural["big"] / natural["small"] == 100
    assert flat["big"] / flat["small"] == pytest.approx(1.047, abs=0.001)


def instructions(language, count, kind="translation", corpus="a"):
    other = "eng_Latn" if kind == "translation" else language
    rows = []
    for number in range(count):
        ends = (language, other) if number % 2 else (other, language)
        rows.append((f"{language}{kind}{corpus}{number}", kind, *ends, language, f"q{number}", f"a{number}", corpus, "CC0", "t"))
    names = [
        "id",
        "kind",
        "source_language",
        "target_language",
        "language",
        "request",
        "answer",
        "corpus",
        "licence",
        "template",
    ]
    return single_turn(pl.DataFrame(rows, schema=names, orient="row"))


SETTINGS = {
    "examples": 400,
    "shares": {"eng_Latn": 0.25, "zho_Hans": 0.25, "cross-lingual": 0.5},
    "temperature": 5,
    "cap": 150,
    "repeats": 1,
    "corpus_caps": {"lexicon": 0.1},
    "seed": 1,
}
TABLES = [
    instructions("deu_Latn", 900),
    instructions("deu_Latn", 900, corpus="lexicon"),
    instructions("swh_Latn", 80),
    instructions("eng_Latn", 300, "general"),
    instructions("zho_Hans", 300, "general"),
]


def test_mixture_holds_its_shares_and_the_ledger_adds_up():
    mixture, facts = mix(TABLES, "m", SETTINGS)
    assert mixture.height == 400 and mixture["id"].n_unique() == 400
    assert mixture.schema == SCHEMA
    assert Counter(mixture["kind"]) == {"general": 200, "translation": 200}
    values = {(fact.language, fact.measure): fact.value for fact in facts}
    assert sum(value for (_, measure), value in values.items() if measure == "rows_drawn" and value) == 400
    assert sum(value for (_, measure), value in values.items() if measure == "share_realised") == pytest.approx(1)
    german = mixture.filter(pl.col("language") == "deu_Latn")
    assert german.height <= 150
    assert german.filter(pl.col("corpus") == "lexicon").height <= 0.1 * german.height
    directions = Counter(german["source_language"])
    assert abs(directions["deu_Latn"] - directions["eng_Latn"]) <= 1


def test_order_of_input_and_other_languages_do_not_change_the_draw():
    mixture, _ = mix(TABLES, "m", SETTINGS)
    shuffled, _ = mix([table.sample(fraction=1, shuffle=True, seed=3) for table in reversed(TABLES)], "m", SETTINGS)
    assert mixture.equals(shuffled)
    other_seed, _ = mix(TABLES, "m", SETTINGS | {"seed": 2})
    assert not mixture.equals(other_seed)
    with_one_more, _ = mix([*TABLES, instructions("hau_Latn", 50)], "m", SETTINGS)
    swahili = [set(table.filter(pl.col("language") == "swh_Latn")["id"]) for table in (with_one_more, mixture)]
    assert swahili[0] <= swahili[1]


def test_repeats_fill_up_a_small_list():
    settings = SETTINGS | {"shares": {"eng_Latn": 1.0}, "examples": 700, "repeats": 3}
    mixture, _ = mix([instructions("eng_Latn", 300, "general")], "m", settings)
    assert mixture.height == 700 and mixture["id"].n_unique() == 700
    assert set(Counter(row[0]["content"] for row in mixture["messages"]).values()) == {2, 3}


def test_nothing_to_draw_is_an_error():
    with pytest.raises(UserError, match="nothing to draw from"):
        mix([instructions("nld_Latn", 10)], "m", SETTINGS | {"shares": {"eng_Latn": 1.0}})


def benchmark(folder, language, *texts):
    items = [{"split": "devtest", "item": number, "text": text} for number, text in enumerate(texts)]
    files.write_json(folder / f"test/{language}.json", {"benchmark": "test", "language": language, "items": items})


def test_audit_counts_rows_with_benchmark_text_and_explains_languages_without_rows(tmp_path):
    mixture, _ = mix([instructions("zho_Hans", 4)], "m", SETTINGS | {"examples": 4})
    turns = [{"role": "user", "content": "Translate.\nChinese: 打开文件夹\nEnglish:"}, {"role": "assistant", "content": "Open the folder"}]
    planted = mixture.head(1).with_columns(id=pl.lit("planted"), messages=pl.Series([turns], dtype=mixture.schema["messages"]))
    for language, text in {"zho_Hans": "打开文件夹", "eng_Latn": "Open the folder", "deu_Latn": "Etwas ganz anderes"}.items():
        benchmark(tmp_path, language, text)
    settings = {"languages": ["eng_Latn", "zho_Hans", "deu_Latn"], "kept_out": ["deu_Latn"], "benchmarks": ["test"]}
    settings["decontamination"] = {"ngram": 4, "similarity": 0.6}
    facts, table = audit(pl.concat([mixture, planted]), "m", tmp_path, settings)
    # Both sides, the short Chinese one known by itself only; a row's own languages do not limit the search.
    assert table.rows() == [
        ("planted", "zho_Hans", "test", "eng_Latn", "devtest", "0"),
        ("planted", "zho_Hans", "test", "zho_Hans", "devtest", "0"),
    ]
    counts = {fact.language: fact.value for fact in facts if fact.measure == "rows_contaminated:test"}
    assert counts == {"eng_Latn": 0, "zho_Hans": 1, "deu_Latn": 0}
    assert {fact.language: fact.reason for fact in facts if fact.reason} == {
        "eng_Latn": "n/a: no instruction was drawn in this language",
        "deu_Latn": "n/a: kept out of training",
    }


def test_the_gate_names_benchmarks_and_languages_and_lets_as_many_rows_pass_as_allowed(tmp_path):
    hits = [("a", "deu_Latn", "flores200", "deu_Latn", "dev", "1"), ("a", "deu_Latn", "flores200", "eng_Latn", "dev", "1")]
    hits += [("b", "swh_Latn", "flores200", "eng_Latn", "dev", "7"), ("b", "swh_Latn", "belebele", "eng_Latn", "devtest", "x#1")]
    pl.DataFrame(hits, schema=CONTAMINATED, orient="row").write_csv(tmp_path / "m.contaminated.csv")
    arguments = ["--contaminated", str(tmp_path / "m.contaminated.csv"), "--output", str(tmp_path / "passed"), "--most"]
    with pytest.raises(UserError, match=r"^2 rows .* allows 1: belebele 1 \(swh_Latn 1\); flores200 2 \(deu_Latn 1, swh_Latn 1\)\. "):
        gate.main([*arguments, "1"])
    assert not (tmp_path / "passed").exists()
    gate.main([*arguments, "2"])
    assert (tmp_path / "passed").exists()
