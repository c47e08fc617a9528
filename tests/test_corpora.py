"""Readers, cleaning and decontamination on small packages with real dirt in them; every row read is accounted for."""

import gzip
import io
import json
import tarfile
import zipfile

import polars as pl
import pytest

from workflow_scripts.common import files, ledger, tables
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
    pairs, facts, _ = clean.build("deu_Latn", [raw], [held], SETTINGS)
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
    pairs, _, _ = clean.build("deu_Latn", [raw], [held], SETTINGS)
    assert "good" not in set(pairs["key"])


def test_the_tuned_side_is_checked_too(tmp_path, raw, corpora_row):
    held = benchmark(tmp_path, "deu_Latn", "Öffne die Tür")
    pairs, _, _ = clean.build("deu_Latn", [raw], [held], SETTINGS)
    assert "good" not in set(pairs["key"])


def test_english_left_in_place_of_a_translation_never_becomes_a_pair(tmp_path, raw, corpora_row):
    settings = SETTINGS | {"cleaning": [{"filter": "copy"}]}
    pairs, _, _ = clean.build("deu_Latn", [raw], [], settings)
    assert "untranslated" not in set(pairs["key"]), "zho-deu would pair Chinese with English text labelled German"


def test_first_pivot_has_a_reason_and_the_second_holds_their_pairs(raw, corpora_row):
    english, facts, _ = clean.build("eng_Latn", [raw], [], SETTINGS)
    assert english.height == 0 and facts[0].reason.startswith("n/a: the first pivot")
    chinese, _, _ = clean.build("zho_Hans", [raw], [], SETTINGS)
    assert set(chinese["source_language"]) == {"eng_Latn"}


def test_a_language_without_text_has_a_reason(raw, corpora_row):
    pairs, facts, _ = clean.build("swh_Latn", [raw], [], SETTINGS)
    assert pairs.height == 0
    assert [(fact.measure, fact.reason) for fact in facts] == [("rows_kept", "n/a: not in this corpus")]


def test_a_corpus_that_cleaning_empties_is_one_clear_error(raw, corpora_row):
    settings = SETTINGS | {"cleaning": [{"filter": "length", "min": 5000, "max": 6000}]}
    with pytest.raises(UserError, match=r"deu_Latn: cleaning leaves nothing of 22 pairs\. Loosen `cleaning`"):
        clean.build("deu_Latn", [raw], [], settings)


def test_same_input_same_bytes(tmp_path, raw, corpora_row):
    for name in ("a", "b"):
        arguments = ["--language", "deu_Latn", "--corpora", str(raw), "--settings", json.dumps(SETTINGS)]
        clean.main([*arguments, "--output", str(tmp_path / f"{name}.parquet"), "--ledger", str(tmp_path / f"{name}.csv"),
                    "--dropped", str(tmp_path / f"{name}.dropped.csv")])  # fmt: skip
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert ledger.read(tmp_path / "a.csv") == ledger.read(tmp_path / "b.csv")


def test_scripts_that_are_several_unicode_scripts():
    table = pl.DataFrame({"source": ["Hello"] * 4, "target": ["これは漢字です", "안녕하세요", "你好", "Hallo"]})
    for code, expected in {"jpn_Jpan": [True, False, True, False], "kor_Hang": [False, True, False, False]}.items():
        keep = FILTERS["script"]({"min_share": 0.7}, ("eng_Latn", code))
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
    found = list(readers.json_keys(readers.Source(archive(tmp_path, content), ["package/www/*/*.json"])))
    assert found == [("package/www/a/x", "en", "Hi"), ("package/www/a/y", "en", "You"), ("package/www/a/x", "de", "Hallo")]


def test_broken_json_names_the_file(tmp_path):
    with pytest.raises(UserError, match=r"a/de\.json is not JSON"):
        list(readers.json_keys(readers.Source(archive(tmp_path, {"a/de.json": b'{"x": '}), ["*"])))


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
    assert list(readers.gettext(readers.Source(archive(tmp_path, {"x/de/LC_MESSAGES/a.po": PO.encode()}), ["*.po"]))) == expected
    compiled = polib.pofile(PO).to_binary()
    found = list(readers.gettext(readers.Source(archive(tmp_path, {"x/languages/de.mo": compiled}), ["*.mo"])))
    assert sorted(found) == sorted(expected)


def test_cldr(tmp_path):
    content = json.dumps({"annotations": {"identity": {}, "annotations": {"😀": {"default": ["face"], "tts": ["grinning face"]}}}})
    path = archive(tmp_path, {"package/annotations/en/annotations.json": content.encode()})
    assert list(readers.cldr_annotations(readers.Source(path, ["*"]))) == [("😀", "en", "grinning face")]


# --- formats of parallel text


CODES = ["de", "en", "zh", "zh_TW", "sr", "deu_Latn", "eng_Latn", "zho_Hans"]


def source(path, members, fields="", code=""):
    columns = dict(one.split("=") for one in fields.split())
    return readers.Source(path, members.split(), CODES, columns, path.name, code)


def zipped(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return path


def test_moses_pairs_as_opus_packs_them(tmp_path):
    entries = {"README": b"x", "Tatoeba.de-en.de": "Hallo\nJa\u2028so\n".encode(), "Tatoeba.de-en.en": b"Hello\r\nYes\n", "LICENSE": b"x"}
    found = list(readers.moses(source(zipped(tmp_path / "de-en.txt.zip", entries), "*.{code}")))
    keys = ["Tatoeba.de-en:00000001", "Tatoeba.de-en:00000002"]
    assert found == [(keys[0], "de", "Hallo"), (keys[1], "de", "Ja\u2028so"), (keys[0], "en", "Hello"), (keys[1], "en", "Yes")]


def test_lines_of_many_languages_keep_the_number_that_aligns_them(tmp_path):
    folder = tmp_path / "multitext"
    folder.mkdir()
    for code, text in {"deu_Latn": "eins\n\n", "eng_Latn": "one\ntwo\n", "zho_Hans": "一\n二"}.items():
        (folder / f"{code}.gz").write_bytes(gzip.compress(text.encode()))
    for path in (folder, tmp_path):
        found = list(readers.moses(source(path, "multitext/{code}")))
        assert {(key[-1], code, text) for key, code, text in found if text} == {
            ("1", "deu_Latn", "eins"), ("1", "eng_Latn", "one"), ("2", "eng_Latn", "two"), ("1", "zho_Hans", "一"), ("2", "zho_Hans", "二")
        }  # fmt: skip


def test_files_that_are_not_aligned_are_one_clear_error(tmp_path):
    with pytest.raises(UserError, match=r"are not aligned: lines de 1, en 2"):
        list(readers.moses(source(zipped(tmp_path / "x.zip", {"x.de": b"eins\n", "x.en": b"one\ntwo\n"}), "*.{code}")))
    with pytest.raises(UserError, match="two files for de that mean the same"):
        list(readers.moses(source(zipped(tmp_path / "x.zip", {"a.de": b"eins\n", "a.de.gz": gzip.compress(b"x\n")}), "a.{code}")))


def test_tsv_by_name_and_by_number(tmp_path):
    path = tmp_path / "dev.en-de.tsv"
    path.write_text('sourceString\ttargetString\tstringID\n"Say ""hi"" now"\t"Sag" ja\tx1\nTwo\tZwei\tx2\n', encoding="utf-8")
    found = list(readers.tsv(source(path, "dev.en-{code}.tsv", "en=sourceString {code}=targetString key=stringID")))
    assert found == [("x1", "en", 'Say "hi" now'), ("x1", "de", '"Sag" ja'), ("x2", "en", "Two"), ("x2", "de", "Zwei")]
    path.write_text("Hello\tHallo\n\nTwo\tZwei\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2 has 1 columns, but 2 are needed"):
        list(readers.tsv(source(path, "*.tsv", "en=1 de=2")))
    path.write_text("en\tde\tfr\tnote\nHello\tHallo\tSalut\t\n", encoding="utf-8")
    assert [text for _, _, text in readers.tsv(source(path, "*.tsv", "{code}={code}"))] == ["Hallo", "Hello"]
    with pytest.raises(UserError, match=r"its first line names en, de, fr, note; `fields` asks for"):
        list(readers.tsv(source(path, "*.tsv", "en=english de=german")))


def test_jsonl_and_parquet_say_the_same(tmp_path):
    rows = [{"id": 7, "translation": {"de": "Hallo", "en": "Hello"}}, {"id": 8, "translation": {"de": None, "en": "Two"}}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    packed = zipped(tmp_path / "a.zip", {"data/a.parquet": (tmp_path / "a.parquet").read_bytes()})
    expected = [("7", "en", "Hello"), ("7", "de", "Hallo"), ("8", "en", "Two")]
    fields = "en=translation.en {code}=translation.{code} key=id"
    assert list(readers.jsonl(source(tmp_path / "a.jsonl.gz", "*.jsonl", fields, code="de"))) == expected
    assert list(readers.parquet(source(tmp_path / "a.parquet", "*.parquet", fields, code="de"))) == expected
    assert list(readers.parquet(source(packed, "*.parquet", fields, code="de"))) == expected
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(UserError, match="is not a whole Parquet file"):
        list(readers.parquet(source(tmp_path / "a.parquet", "*.parquet", fields, code="de")))
    (tmp_path / "b.jsonl").write_bytes(lines + b"[1]\n")
    with pytest.raises(UserError, match="line 3 is not a JSON object"):
        list(readers.jsonl(source(tmp_path / "b.jsonl", "*.jsonl", fields)))


TMX = """<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE tmx [<!ENTITY a "boom"><!ENTITY file SYSTEM "file:///etc/hostname">]>
<tmx version="1.4"><header srclang="en"/><body>
<tu tuid="1"><tuv xml:lang="EN-us"><seg>Press <bpt i="1">&lt;b&gt;</bpt><hi>OK</hi><ept i="1">&lt;/b&gt;</ept> &amp; go&a;&file;</seg></tuv>
<tuv xml:lang="de-DE"><seg>Drücken</seg></tuv><tuv xml:lang="zh-TW"><seg>按</seg></tuv>
<tuv xml:lang="sr-Latn"><seg>Pritisni</seg></tuv></tu>
<tu><tuv lang="en"><seg>Two</seg></tuv><tuv lang="zh-CN"><seg>二</seg></tuv><tuv lang="zh"><seg>二</seg></tuv></tu>
</body></tmx>"""


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16"])
def test_tmx(tmp_path, encoding):
    path = tmp_path / "a.tmx.gz"
    path.write_bytes(gzip.compress(TMX.replace("UTF-8", encoding).encode(encoding)))
    found = list(readers.tmx(source(path, "*.tmx")))
    assert found == [
        ("a.tmx:00000001", "en", "Press OK & go"),
        ("a.tmx:00000001", "de", "Drücken"),
        ("a.tmx:00000001", "zh_TW", "按"),
        ("a.tmx:00000002", "en", "Two"),
        ("a.tmx:00000002", "zh", "二"),
    ]


def test_broken_and_hostile_tmx_is_one_clear_error(tmp_path):
    path = tmp_path / "a.tmx"
    path.write_text(TMX[:-30], encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.tmx is not whole XML"):
        list(readers.tmx(source(path, "*.tmx")))
    path.write_bytes(gzip.compress(TMX.encode() * 50)[:-40])
    with pytest.raises(UserError, match=r"truncated or broken|not whole XML"):
        list(readers.tmx(source(path, "*.tmx")))
    laughs = "".join(f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10))
    path.write_text(TMX.replace('<!ENTITY a "boom">', f'<!ENTITY l0 "ha">{laughs}<!ENTITY a "&l9;">'), encoding="utf-8")
    with pytest.raises(UserError, match="amplification"):
        list(readers.tmx(source(path, "*.tmx")))


def test_text_that_is_no_utf_8_or_no_lines_is_one_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "a.tsv"
    path.write_bytes("Schöne\tGrüße\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"line 1 is not UTF-8 .*iconv"):
        list(readers.tsv(source(path, "*.tsv", "en=1 de=2")))
    monkeypatch.setattr(readers.records, "LINE_LIMIT", 1000)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(UserError, match="longer than 1000 bytes"):
        list(readers.tsv(source(path, "*.tsv", "en=1 de=2")))


def test_a_share_is_the_same_keys_in_every_language(tmp_path, monkeypatch):
    row = {"alias": "iso639", "fields": "en=1 de=2", "package": "", "members": "*.tsv", "reader": "tsv"}
    table = read.tables.row
    monkeypatch.setattr(read.tables, "row", lambda name, key: row if name == "corpora" else table(name, key))
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"one {number}\teins {number}\n" for number in range(2000)), encoding="utf-8")
    whole, part = read.read("mine", path), read.read("mine", path, share=0.1)
    assert whole.height == 4000 and 300 < part.height < 500
    assert part.filter(language="deu_Latn")["key"].to_list() == part.filter(language="eng_Latn")["key"].to_list()
    assert part.join(whole, on=part.columns, how="semi").equals(part)


def test_a_package_without_messages_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no message was found"):
        read.read("scratch-l10n", archive(tmp_path, {"package/other.json": b"{}"}))


def test_published_sets_in_their_own_layout(tmp_path):
    files_of = {
        "ntrex128": {"NTREX-128/newstest2019-src.eng.txt": "One\nTwo\n", "NTREX-128/newstest2019-ref.zho-CN.txt": "一\n二\n"},
        "nllb-seed": {"NLLB-Seed/bam_Latn-eng_Latn/bam_Latn": "kelen\n", "NLLB-Seed/bam_Latn-eng_Latn/eng_Latn": "one\n"},
        "tico19-dev": {"tico19-testset/dev/dev.en-sw.tsv": "sourceString\ttargetString\tstringID\nOne\tMoja\t7\n"},
    }
    expected = {
        "ntrex128": [("One", "eng_Latn"), ("Two", "eng_Latn"), ("一", "zho_Hans"), ("二", "zho_Hans")],
        "nllb-seed": [("kelen", "bam_Latn"), ("one", "eng_Latn")],
        "tico19-dev": [("One", "eng_Latn"), ("Moja", "swh_Latn")],
    }
    for corpus, entries in files_of.items():
        table = read.read(corpus, zipped(tmp_path / f"{corpus}.zip", entries))
        assert table.select("text", "language").rows() == expected[corpus]
        assert table["key"].n_unique() == table.height / 2


SHARED = tables.ROOT.parent / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "nllb_seed.tar.xz").exists(), reason="NLLB-Seed is not beside the project")
def test_nllb_seed_in_its_own_layout():
    table = read.read("nllb-seed", SHARED / "nllb_seed.tar.xz")
    counts = table.group_by("language").len()
    assert counts.height == 11 and counts["len"].min() > 6100
    assert table["key"].n_unique() == 6193
