"""Constrained and interactive instructions: terms stand in both texts, answers follow from the pairs, whatever the order of a file."""

import csv
import random
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from workflow_scripts.common import files, pieces, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.corpora.clean import SCHEMA as PAIRS
from workflow_scripts.instructions import constrained, interactive, terms
from workflow_scripts.instructions.table import SCHEMA

DIALOGUES = '{"templates": ["en-01", "zh-02"], "dialogues": ["switch", "term", "back", "revise"]}'
# Words in four writings, the last two without spaces; made up, so that each is in few texts as words of real corpora are.
NOUNS, VERBS = 125, 60


def word(number: int) -> tuple[str, str, str, str]:
    one, two, three = number % 5, number // 5 % 5, number // 25
    english = "bdfgk"[one] + "aeiou"[two] + "lmnrstvw"[three] + "o"
    german = "Pzqhj"[one] + "äiöuü"[two] + "ckmnprtx"[three] + "el"
    chinese = chr(0x5000 + 2 * number) + chr(0x5001 + 2 * number)
    thai = "กขคงจ"[one] + "ิีึุู"[two] + "ชซญดตถทธ"[three]
    return english, german, chinese, thai


WORDS = [word(number) for number in range(NOUNS + VERBS)]
LEXICON = {(one[0], one[place]) for one in WORDS for place in (1, 3)} | {(one[2], one[1]) for one in WORDS}


def sentence(draw: random.Random) -> tuple[str, str, str, str]:
    one, other = draw.choice(WORDS[:NOUNS]), draw.choice(WORDS[:NOUNS])
    verb, count = draw.choice(WORDS[NOUNS:]), str(draw.randint(2, 99))
    return (
        f"The {one[0]} {verb[0]} the {other[0]}, {count} of the",
        f"Der {one[1]} {verb[1]} der {other[1]}, {count} von der",
        f"这{one[2]}这{verb[2]}的{other[2]}，{count}的",
        f"{one[3]} {verb[3]} {other[3]} {count}",
    )


def bitext(language: str = "deu_Latn", count: int = 500) -> pl.DataFrame:
    """Pairs as `corpora` makes them, of both pivots under common keys; every tenth English text is there a second time, translated anew."""
    draw, rows = random.Random(7), []
    for number in range(count):
        english, german, chinese, thai = sentence(draw)
        target = german if language == "deu_Latn" else thai
        versions = [("eng_Latn", english, target, f"{number}"), ("zho_Hans", chinese, target, f"{number}")]
        if number % 10 == 0 and language == "deu_Latn":
            versions.append(("eng_Latn", english, "Das Ding da, " + target.split(", ")[1], f"{number} again"))
        rows += [
            {"id": files.sha256_text(pivot + key)[:16], "corpus": "c", "key": key, "licence": "CC0-1.0"}
            | {"source_language": pivot, "target_language": language, "source": source, "target": text}
            for pivot, source, text, key in versions
        ]
    return pl.DataFrame(rows, schema=PAIRS)


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    return bitext()


@pytest.fixture(scope="module")
def made(pairs: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(pairs, tmp_path_factory.mktemp("made"), "deu_Latn")


def run(pairs: pl.DataFrame, folder: Path, language: str) -> Path:
    """The three steps as the rules call them."""
    pairs.write_parquet(folder / "pairs.parquet")
    common = ["--pairs", str(folder / "pairs.parquet"), "--language", language]
    steps = [
        (terms, []),
        (constrained, ["--terms", str(folder / "terms.parquet"), "--settings", '{"templates": ["en-constrained", "zh-terms"]}']),
        (
            interactive,
            ["--terms", str(folder / "terms.parquet"), "--settings", DIALOGUES],
        ),
    ]
    for module, own in steps:
        name = module.__name__.split(".")[-1]
        module.main([*common, *own, "--output", str(folder / f"{name}.parquet"), "--ledger", str(folder / f"{name}.csv")])
    return folder


def facts(folder: Path, name: str) -> dict[str, int]:
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return {row["measure"]: int(row["value"]) for row in csv.DictReader(file)}


def test_terms_stand_in_both_texts_and_are_translations(pairs: pl.DataFrame, made: Path) -> None:
    found = pl.read_parquet(made / "terms.parquet").join(pairs, on="id")
    assert found.height > 0.8 * pairs.height
    right = Counter[bool]()
    for row in found.iter_rows(named=True):
        assert 1 <= len(row["terms"]) <= 3
        for one in row["terms"]:
            for side in ("source", "target"):
                assert one[side] in row[side]
                assert not any(char.isdecimal() for char in one[side])
                assert one[side].lower() not in ("the", "of", "der", "von", "这", "的")
            right[(one["source"], one["target"]) in LEXICON] += 1
        for side in ("source", "target"):
            assert len({one[side] for one in row["terms"]}) == len(row["terms"])
    assert right[True] > 0.9 * right.total() > 1200, right


@pytest.mark.parametrize(
    "words",
    [
        ["เปิด", "โปรแกรม", "แก้ไข", "ข้อความ"],
        ["ເປີດ", "ໂປຣ", "ແກຣມ"],
        ["បើក", "កម្មវិធី", "កែសម្រួល", "អត្ថបទ"],
        ["テキスト", "編集", "プログラム"],
        ["打开", "𠀀", "文本", "编辑", "程序"],  # the second outside of the basic plane
    ],
)
def test_writing_without_spaces_is_split_into_words(words: list[str]) -> None:
    text = "(" + "".join(words) + ") menu"
    one = terms.side(pl.Series([text]))
    assert one.tokens == [[*words, "menu"]]
    assert [text[start:end] for start, end in one.places[0]] == [*words, "menu"]


def test_a_language_without_terms_has_dialogues(tmp_path: Path) -> None:
    made = run(bitext("tha_Thai", 60).with_columns(target="w" + pl.col("key")), tmp_path, "tha_Thai")
    assert facts(made, "constrained") == {"dropped:no term": 240, "rows": 0}
    assert facts(made, "interactive") == {"rows:back": facts(made, "interactive")["rows:back"], "rows": 240} | {
        "rows:switch": 240 - facts(made, "interactive")["rows:back"]
    }


def test_what_is_not_a_term() -> None:
    one = terms.side(pl.Series(["In 2024 we saw 12 big-city lights.", "日本 3 語の x"]))
    texts = [[span.text for span in terms.spans(one, row)] for row in (0, 1)]
    assert "big-city" in texts[0] and "city lights" in texts[0] and not any(char.isdecimal() for text in texts[0] for char in text)
    assert "we" not in texts[0] and texts[1] == ["日本"]


def test_texts_without_words_and_very_long_ones_do_no_harm() -> None:
    pairs = bitext(count=60)
    odd = pairs.head(3).with_columns(
        id=pl.Series(["a", "b", "c"]), source=pl.Series(["?", "The " * 3000, "x"]), target=pl.Series(["Ja.", "!", "Der " * 3000])
    )
    found = terms.find(pl.concat([pairs, odd]))
    assert found.height and not set(found["id"]) & {"a", "b", "c"}


def test_the_order_of_the_file_changes_no_row(pairs: pl.DataFrame, made: Path, tmp_path: Path) -> None:
    again = run(pairs.sample(fraction=1.0, shuffle=True, seed=3), tmp_path, "deu_Latn")
    assert (again / "terms.parquet").read_bytes() == (made / "terms.parquet").read_bytes()
    for kind in ("constrained", "interactive"):
        one, other = (pl.read_parquet(folder / f"{kind}.parquet").sort("id") for folder in (made, again))
        assert one.equals(other)
        assert (again / f"{kind}.csv").read_bytes() == (made / f"{kind}.csv").read_bytes()


def test_constrained_answers_hold_every_word_that_is_asked_for(pairs: pl.DataFrame, made: Path) -> None:
    table = pl.read_parquet(made / "constrained.parquet")
    assert dict(table.schema) == dict(SCHEMA) and table["id"].n_unique() == table.height
    asked_for = Counter[int]()
    for row in table.iter_rows(named=True):
        request, answer = (turn["content"] for turn in row["messages"])
        start = "contains these words: " if row["template"] == "en-constrained" else "使用以下词语："
        words = request.split(start)[1].split("\n")[0].split(", ")
        assert all(word in answer for word in words)
        asked_for[len(words)] += 1
    assert set(asked_for) == {1, 2, 3}
    assert Counter(table["source_language"] == "deu_Latn") == {True: table.height / 2, False: table.height / 2}


def test_ledgers_add_up(pairs: pl.DataFrame, made: Path) -> None:
    of_terms, of_constrained, of_interactive = (facts(made, name) for name in ("terms", "constrained", "interactive"))
    assert of_terms.pop("pairs_read") == pairs.height == sum(of_terms.values())
    assert sum(of_constrained.values()) == 2 * pairs.height
    assert of_constrained["rows"] == 2 * of_terms["pairs_with_term"]
    rows = of_interactive.pop("rows")
    assert sum(of_interactive.values()) == 2 * pairs.height
    assert rows == 2 * pairs.height - of_interactive.get("dropped:no dialogue", 0) == pl.read_parquet(made / "interactive.parquet").height


def test_without_pairs_there_is_a_reason(tmp_path: Path) -> None:
    run(pl.DataFrame(schema=PAIRS), tmp_path, "eng_Latn")
    for kind in ("constrained", "interactive"):
        assert "n/a: no pair of this language" in (tmp_path / f"{kind}.csv").read_text(encoding="utf-8")
        assert pl.read_parquet(tmp_path / f"{kind}.parquet").schema == SCHEMA


def test_every_answer_of_a_dialogue_follows_from_the_pairs(pairs: pl.DataFrame, made: Path) -> None:
    table = pl.read_parquet(made / "interactive.parquet")
    assert dict(table.schema) == dict(SCHEMA) and table["id"].n_unique() == table.height
    texts: dict[str, set[str]] = {}
    known = set[frozenset[str]]()  # what translates each other
    for row in pairs.iter_rows(named=True):
        texts.setdefault(row["source_language"], set()).add(row["source"])
        texts.setdefault(row["target_language"], set()).add(row["target"])
        known.add(frozenset((row["source"], row["target"])))
    keys = pairs.filter(~pl.col("key").str.contains("again")).select("key", "source").group_by("key").agg("source")["source"]
    known |= {frozenset(both) for both in keys}
    seen = Counter[str]()
    for row in table.iter_rows(named=True):
        answers = [turn["content"] for turn in row["messages"][1::2]]
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"] * len(answers)
        first, *later = row["template"].split(" + ")
        ways = [tables.row("follow_ups", name.removesuffix(":aligned")) for name in later]
        assert len(answers) == 1 + len(ways) in (2, 3)
        assert {way["language"] for way in ways} == {tables.row("templates", first)["language"]}
        asked = next(text for text in texts[row["source_language"]] if text in row["messages"][0]["content"])
        assert frozenset((asked, answers[0])) in known
        for way, name, answer, turn in zip(ways, later, answers[1:], row["messages"][2::2], strict=True):
            seen[way["asks"]] += 1
            assert name.endswith(":aligned") == (way["asks"] == "term")
            if way["asks"] == "term":
                assert answer in answers[0] and answer != answers[0]
            elif way["asks"] == "back":
                assert answer == asked and way is not ways[-1]
            elif way["asks"] == "switch":
                assert answer in texts[row["target_language"]] and frozenset((asked, answer)) in known
            else:
                assert answer != answers[0] and {frozenset((asked, text)) for text in (answer, answers[0])} <= known
                word = next(text for text in turn["content"].replace("“", "”").split("”")[1:2])
                assert word in answer and word.lower() not in answers[0].lower()
    assert set(seen) == {"switch", "term", "back", "revise"}
    assert min(seen.values()) >= 5


def test_only_the_dialogues_that_are_asked_for(pairs: pl.DataFrame, made: Path) -> None:
    table = interactive.read(made / "pairs.parquet", made / "terms.parquet")
    made_now, counts = interactive.make(table, "deu_Latn", {"templates": ["en-01"], "dialogues": ["back", "term"]})
    assert set(counts) <= {"rows:back", "rows:term", "dropped:no dialogue"} and counts["rows:back"] > 100
    assert not made_now["template"].str.contains("switch").any()
    with pytest.raises(UserError, match="de-01 is in deu_Latn, in which"):
        interactive.make(table, "deu_Latn", {"templates": ["de-01"], "dialogues": ["term"]})


def test_pieces_of_a_file_do_not_matter(pairs: pl.DataFrame, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "ROWS", 101)
    again = run(pairs, tmp_path, "deu_Latn")
    for kind in ("constrained", "interactive"):
        assert pl.read_parquet(again / f"{kind}.parquet").equals(pl.read_parquet(made / f"{kind}.parquet"))


@pytest.mark.parametrize("row", ["switch\teng_Latn\tNow {term}.", "term\teng_Latn\tWhat?", "guess\teng_Latn\t{term}?"])
def test_unsound_follow_ups_are_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "follow_ups.tsv").write_text(f"follow_up\tasks\tlanguage\ttext\nen-x-1\t{row}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"follow_ups.tsv line 2 \(en-x-1\)"):
        tables.read("follow_ups", tmp_path)
