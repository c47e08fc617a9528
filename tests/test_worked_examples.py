"""Worked examples in training rows: whose they are, how they are written, and that nothing else changes."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.test_kinds import bitext
from workflow_scripts.common import files, ledger, pieces, prompts, tables
from workflow_scripts.instructions import translation, worked_examples

HALF = {"share": 0.5, "most": 3}
TEMPLATES = [row for row in tables.read("templates") if "{terms}" not in tables.row("templates", row)["text"]]


def made(folder: Path, pairs: pl.DataFrame, examples: dict[str, float] | None, templates: list[str]) -> pl.DataFrame:
    """Instructions as the rule makes them."""
    pairs.write_parquet(folder / "pairs.parquet")
    settings = {"templates": templates} | ({"worked_examples": examples} if examples else {})
    common = ["--pairs", str(folder / "pairs.parquet"), "--language", "deu_Latn", "--settings", json.dumps(settings)]
    translation.main([*common, "--output", str(folder / "out.parquet"), "--ledger", str(folder / "out.csv")])
    return pl.read_parquet(folder / "out.parquet")


def facts(folder: Path) -> dict[str, float | int | None]:
    return {fact.measure: fact.value for fact in ledger.read(folder / "out.csv")}


def two_corpora() -> pl.DataFrame:
    other = pl.col("id").str.head(1) < "4"
    return bitext(count=400).with_columns(
        corpus=pl.when(other).then(pl.lit("d")).otherwise("corpus"), licence=pl.when(other).then(pl.lit("MIT")).otherwise("licence")
    )


def shown_as(template: str, source: str, target: str, pair: tuple[str, str]) -> str:
    return prompts.few_shot(template, source, target, [pair], "").removesuffix(prompts.request(template, source, target, ""))


def test_examples_are_other_pairs_of_the_row_written_as_few_shot_prompts(tmp_path: Path) -> None:
    pairs = two_corpora()
    bare, rows = (made(tmp_path, pairs, examples, TEMPLATES) for examples in (None, HALF))
    assert bare.drop("messages").equals(rows.drop("messages"))
    known: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    texts: dict[str, str] = {}
    for pair in pairs.iter_rows(named=True):
        for one, other in (("source", "target"), ("target", "source")):
            key = (pair[f"{one}_language"], pair[f"{other}_language"], pair["corpus"], pair["licence"])
            known.setdefault(key, []).append((pair[one], pair[other]))
            texts[files.sha256_text(f"translation {pair['id']} {one}")[:16]] = pair[one]
    numbers = []
    for plain, row in zip(bare.iter_rows(named=True), rows.iter_rows(named=True), strict=True):
        (asked, answer), (bare_asked, bare_answer) = ([turn["content"] for turn in one["messages"]] for one in (row, plain))
        assert answer == bare_answer and [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        text, way = texts[row["id"]], (row["source_language"], row["target_language"])
        assert asked.endswith(bare_asked)
        examples, left = [], asked.removesuffix(bare_asked)
        shown = {pair: shown_as(row["template"], *way, pair) for pair in known[*way, row["corpus"], row["licence"]]}
        while left:
            examples.append(next(pair for pair, written in shown.items() if left.startswith(written)))
            left = left.removeprefix(shown[examples[-1]])
        assert asked == prompts.few_shot(row["template"], *way, examples, text)
        sides = [*examples, (text, answer)]
        assert len({source for source, _ in sides}) == len({target for _, target in sides}) == len(sides)
        numbers.append(len(examples))
    with_some = sum(map(bool, numbers))
    assert 0.45 < with_some / len(numbers) < 0.55
    found = facts(tmp_path)
    assert [found[f"rows_with_examples:{number}"] for number in (1, 2, 3)] == [numbers.count(number) for number in (1, 2, 3)]
    assert all(0.28 < numbers.count(number) / with_some < 0.39 for number in (1, 2, 3))
    assert found["rows_short_of_examples"] == 0 and found["rows"] == rows.height
    assert len({turn["content"] for row in rows["messages"].to_list() for turn in row[:1]}) == rows.height


def test_the_order_of_a_file_and_its_pieces_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = two_corpora()
    whole = made(tmp_path, pairs, HALF, ["en-labelled"]).sort("id")
    monkeypatch.setattr(worked_examples, "POOL", 50)
    few = made(tmp_path, pairs, HALF, ["en-labelled"]).sort("id")
    monkeypatch.setattr(pieces, "ROWS", 97)
    assert few.equals(made(tmp_path, pairs.reverse(), HALF, ["en-labelled"]).sort("id"))
    assert not few.equals(whole)
    longest = max(len(pool) for pool in worked_examples.Examples([pairs[:300], pairs[300:]], HALF).pools.values())
    assert longest == 50, "memory does not grow with the file"


def test_one_pair_more_changes_the_examples_of_few_rows(tmp_path: Path) -> None:
    pairs = bitext(count=1000)
    before, after = (made(tmp_path, some, HALF, ["en-labelled"]) for some in (pairs[:-1], pairs))
    changed = before.join(after, on="id").filter(pl.col("messages") != pl.col("messages_right"))
    assert 0 <= changed.height <= 20


def test_too_few_pairs_give_fewer_examples_and_are_counted(tmp_path: Path) -> None:
    pairs = bitext(count=4).filter(pl.col("source_language") == "eng_Latn", pl.col("key").is_in(["1", "2", "3"]))
    repeated = pl.concat([pairs, pairs.with_columns(id=pl.col("id").str.reverse(), source=pl.col("source").str.to_uppercase() + "!")])
    for some, least, most in ((pairs[:1], 0, 0), (pairs[:2], 1, 1), (repeated, 1, 2)):
        rows = made(tmp_path, some, {"share": 1, "most": 5}, ["en-labelled"])
        numbers = [row[0]["content"].count("Translate from") - 1 for row in rows["messages"].to_list()]
        assert (min(numbers), max(numbers)) == (least, most), "a text in other letters is no other text"
        found = facts(tmp_path)
        assert sum(found[f"rows_with_examples:{number}"] or 0 for number in range(1, 6)) == sum(map(bool, numbers))
        assert (found["rows_short_of_examples"] or 0) > 0
    made(tmp_path, pairs[:0], HALF, ["en-labelled"])
    assert facts(tmp_path) == {"rows": None}
