"""Readers, cleaning and decontamination on small packages with real dirt in them; every row read is accounted for."""

import io
import json
import tarfile

import polars as pl
import pytest

from workflow_scripts.common import files, ledger
from workflow_scripts.common.cli import UserError
from workflow_scripts.corpora import clean, read, readers
from workflow_scripts.corpora.filters import FILTERS

PIVOTS = ["eng_Latn", "zho_Hans"]
SETTINGS = {
    "pivots": PIVOTS,
    "empty_corpus": "stop",
    "decontamination": {"ngram": 4, "similarity": 0.6},
    "cleaning": [
        {"filter": "letters"},
        {"filter": "markup"},
        {"filter": "placeholders"},
        {"filter": "length", "min": 2, "max": 60},
        {"filter": "ratio", "max": 4},
        {"filter": "script", "min_share": 0.7},
        {"filter": "copy"},
        {"filter": "duplicates"},
    ],
}

MESSAGES = {  # key: English, German, Chinese
    "good": ("Open the door", "Öffne die Tür", "打开门"),
    "same": ("Open the door!", "öffne die Tür", "打开门。"),  # a duplicate after folding
    "untranslated": ("Save all changes", "Save all changes", "保存所有更改"),
    "markup": ("Click <b>here</b>", "Klicke <b>hier</b>", "点击这里"),
    "placeholder": ("%s files found", "Dateien gefunden", "找到%s个文件"),
    "placeholders": ("$1 of $2 pages", "$1 von $2 Seiten", "第$1页"),
    "long": ("Word " * 20, "Wort " * 20, "词"),
    "ratio": ("Yes, do it now and forever please", "Ja", "是"),
    "script": ("Good evening", "Добрый вечер", "晚上好"),
    "symbols": ("100 %", "100 %", "100 %"),
    "held": ("The quick brown fox jumps over the lazy dog", "Der schnelle braune Fuchs springt", "敏捷的棕色狐狸跳过懒狗"),
    "only-english": ("Nobody translated this", "", ""),
}


@pytest.fixture
def raw(tmp_path):
    rows = [
        (key, code, text)
        for key, texts in MESSAGES.items()
        for code, text in zip(("eng_Latn", "deu_Latn", "zho_Hans"), texts, strict=True)
        if text
    ]
    path = tmp_path / "demo.parquet"
    pl.DataFrame(rows, schema=["key", "language", "text"], orient="row").write_parquet(path)
    return path


@pytest.fixture
def corpora_row(monkeypatch):
    """Pretend that the corpus "demo" is in the table."""
    row = clean.tables.row
    monkeypatch.setattr(clean.tables, "row", lambda table, key: {"licence": "CC0-1.0"} if key == "demo" else row(table, key))


def benchmark(tmp_path, language, text):
    path = tmp_path / f"{language}.json"
    files.write_json(path, {"benchmark": "test", "language": language, "items": [{"split": "devtest", "item": 0, "text": text}]})
    return path


def test_every_filter_drops_what_it_should_and_the_ledger_adds_up(tmp_path, raw, corpora_row):
    held = benchmark(tmp_path, "eng_Latn", "the quick brown fox jumped over the lazy dog.")
    pairs, facts = clean.build("deu_Latn", [raw], [held], SETTINGS)
    assert set(pairs.filter(pl.col("source_language") == "eng_Latn")["key"]) == {"good", "placeholders"}
    counts = {fact.measure: fact.value for fact in facts}
    assert counts["contaminated:test"] == 1
    for name in ("letters", "markup", "placeholders", "length", "ratio", "script", "copy", "duplicates"):
        assert counts[f"dropped:{name}"] >= 1, name
    assert counts["rows_read"] == sum(value for measure, value in counts.items() if measure != "rows_read")
    assert pairs["id"].n_unique() == pairs.height
    assert set(pairs["licence"]) == {"CC0-1.0"}


def test_benchmark_text_is_found_on_the_side_of_another_language(tmp_path, raw, corpora_row):
    held = benchmark(tmp_path, "zho_Hans", "Öffne die Tür")
    pairs, _ = clean.build("deu_Latn", [raw], [held], SETTINGS)
    assert "good" not in set(pairs["key"])


def test_the_tuned_side_is_checked_too(tmp_path, raw, corpora_row):
    held = benchmark(tmp_path, "deu_Latn", "Öffne die Tür")
    pairs, _ = clean.build("deu_Latn", [raw], [held], SETTINGS)
    assert "good" not in set(pairs["key"])


def test_english_left_in_place_of_a_translation_never_becomes_a_pair(tmp_path, raw, corpora_row):
    settings = SETTINGS | {"cleaning": [{"filter": "copy"}]}
    pairs, _ = clean.build("deu_Latn", [raw], [], settings)
    assert "untranslated" not in set(pairs["key"]), "zho-deu would pair Chinese with English text labelled German"


def test_first_pivot_has_a_reason_and_the_second_holds_their_pairs(raw, corpora_row):
    english, facts = clean.build("eng_Latn", [raw], [], SETTINGS)
    assert english.height == 0 and facts[0].reason.startswith("n/a: the first pivot")
    chinese, _ = clean.build("zho_Hans", [raw], [], SETTINGS)
    assert set(chinese["source_language"]) == {"eng_Latn"}


def test_a_language_without_text_has_a_reason(raw, corpora_row):
    pairs, facts = clean.build("swh_Latn", [raw], [], SETTINGS)
    assert pairs.height == 0
    assert [(fact.measure, fact.reason) for fact in facts] == [("rows_kept", "n/a: not in this corpus")]


def test_a_corpus_that_cleaning_empties_is_one_clear_error(raw, corpora_row):
    settings = SETTINGS | {"cleaning": [{"filter": "length", "min": 5000, "max": 6000}]}
    with pytest.raises(UserError, match=r"deu_Latn: cleaning leaves nothing of 22 pairs\. Loosen `cleaning`"):
        clean.build("deu_Latn", [raw], [], settings)


def test_same_input_same_bytes(tmp_path, raw, corpora_row):
    for name in ("a", "b"):
        arguments = ["--language", "deu_Latn", "--corpora", str(raw), "--settings", json.dumps(SETTINGS)]
        clean.main([*arguments, "--output", str(tmp_path / f"{name}.parquet"), "--ledger", str(tmp_path / f"{name}.csv")])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert ledger.read(tmp_path / "a.csv") == ledger.read(tmp_path / "b.csv")


def test_scripts_that_are_several_unicode_scripts():
    table = pl.DataFrame({"source": ["Hello"] * 4, "target": ["これは漢字です", "안녕하세요", "你好", "Hallo"]})
    for script, expected in {"Jpan": [True, False, True, False], "Kore": [False, True, True, False]}.items():
        keep = FILTERS["script"]({"min_share": 0.7}, ("Latn", script))
        assert table.select(keep.alias("keep"))["keep"].to_list() == expected


def archive(tmp_path, entries):
    path = tmp_path / "p.archive"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_json_keys(tmp_path):
    content = {
        "package/www/a/en.json": b'{"x": "Hi", "@metadata": "no", "y": {"string": "You"}}',
        "package/www/a/de.json": b'\xef\xbb\xbf{"x": "Hallo"}',
        "package/www/a/qqq.json": b'{"x": "a greeting"}',
    }
    found = list(readers.json_keys(archive(tmp_path, content), ["package/www/*/*.json"]))
    assert found == [("package/www/a/x", "en", "Hi"), ("package/www/a/y", "en", "You"), ("package/www/a/x", "de", "Hallo")]


def test_broken_json_names_the_file(tmp_path):
    with pytest.raises(UserError, match=r"a/de\.json is not JSON"):
        list(readers.json_keys(archive(tmp_path, {"a/de.json": b'{"x": '}), ["*"]))


PO = """
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8"

msgid "Yes"
msgstr "Ja"

#, fuzzy
msgid "No"
msgstr "Na"

msgid "one file"
msgid_plural "%d files"
msgstr[0] "eine Datei"
msgstr[1] "%d Dateien"

msgctxt "month"
msgid "May"
msgstr "Mai"

#~ msgid "gone"
#~ msgstr "weg"
"""


def test_gettext_text_and_compiled_agree(tmp_path):
    import polib

    expected = [("\x04Yes", "de", "Ja"), ("\x04Yes", "en", "Yes"), ("month\x04May", "de", "Mai"), ("month\x04May", "en", "May")]
    assert list(readers.gettext(archive(tmp_path, {"x/de/LC_MESSAGES/a.po": PO.encode()}), ["*.po"])) == expected
    compiled = polib.pofile(PO).to_binary()
    found = list(readers.gettext(archive(tmp_path, {"x/languages/de.mo": compiled}), ["*.mo"]))
    assert sorted(found) == sorted(expected)


def test_cldr(tmp_path):
    content = json.dumps({"annotations": {"identity": {}, "annotations": {"😀": {"default": ["face"], "tts": ["grinning face"]}}}})
    path = archive(tmp_path, {"package/annotations/en/annotations.json": content.encode()})
    assert list(readers.cldr_annotations(path, ["*"])) == [("😀", "en", "grinning face")]


def test_a_package_without_messages_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no message was found"):
        read.read("scratch-l10n", archive(tmp_path, {"package/other.json": b"{}"}))
