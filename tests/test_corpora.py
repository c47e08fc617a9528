"""Readers, cleaning and decontamination on small packages with real dirt in them; every row read is accounted for."""

import gzip
import io
import json
import tarfile
import zipfile

import polars as pl
import pytest

from workflow_scripts.common import files, languages, ledger, tables
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


def texts_of(messages):
    """Key, code and text of each message."""
    return [message[:3] for message in messages]


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
    found = texts_of(readers.json_keys(readers.Source(archive(tmp_path, content), ["package/www/*/*.json"])))
    assert found == [("package/www/a/x", "en", "Hi"), ("package/www/a/y", "en", "You"), ("package/www/a/x", "de", "Hallo")]


def test_broken_json_names_the_file(tmp_path):
    with pytest.raises(UserError, match=r"a/de\.json is not JSON"):
        texts_of(readers.json_keys(readers.Source(archive(tmp_path, {"a/de.json": b'{"x": '}), ["*"])))


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
    assert texts_of(readers.gettext(readers.Source(archive(tmp_path, {"x/de/LC_MESSAGES/a.po": PO.encode()}), ["*.po"]))) == expected
    compiled = polib.pofile(PO).to_binary()
    found = texts_of(readers.gettext(readers.Source(archive(tmp_path, {"x/languages/de.mo": compiled}), ["*.mo"])))
    assert sorted(found) == sorted(expected)


def test_cldr(tmp_path):
    content = json.dumps({"annotations": {"identity": {}, "annotations": {"😀": {"default": ["face"], "tts": ["grinning face"]}}}})
    path = archive(tmp_path, {"package/annotations/en/annotations.json": content.encode()})
    assert texts_of(readers.cldr_annotations(readers.Source(path, ["*"]))) == [("😀", "en", "grinning face")]


# --- formats of parallel text


def source(path, members, fields="", code="", column="iso639"):
    columns = dict(one.split("=") for one in fields.split())
    return readers.Source(path, members.split(), languages.codes(column), columns, path.name, code)


def zipped(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return path


def test_moses_pairs_as_opus_packs_them(tmp_path):
    entries = {"README": b"x", "Tatoeba.de-en.de": "Hallo\nJa\u2028so\n".encode(), "Tatoeba.de-en.en": b"Hello\r\nYes\n", "LICENSE": b"x"}
    found = texts_of(readers.moses(source(zipped(tmp_path / "de-en.txt.zip", entries), "*.{code}")))
    keys = ["Tatoeba.de-en:00000001", "Tatoeba.de-en:00000002"]
    assert found == [(keys[0], "de", "Hallo"), (keys[1], "de", "Ja\u2028so"), (keys[0], "en", "Hello"), (keys[1], "en", "Yes")]


def test_lines_of_many_languages_keep_the_number_that_aligns_them(tmp_path):
    folder = tmp_path / "multitext"
    folder.mkdir()
    for code, text in {"deu_Latn": "eins\n\n", "eng_Latn": "one\ntwo\n", "zho_Hans": "一\n二"}.items():
        (folder / f"{code}.gz").write_bytes(gzip.compress(text.encode()))
    for path in (folder, tmp_path):
        found = texts_of(readers.moses(source(path, "multitext/{code}", column="code")))
        assert {(key[-1], code, text) for key, code, text in found if text} == {
            ("1", "deu_Latn", "eins"), ("1", "eng_Latn", "one"), ("2", "eng_Latn", "two"), ("1", "zho_Hans", "一"), ("2", "zho_Hans", "二")
        }  # fmt: skip


def test_files_that_are_not_aligned_are_one_clear_error(tmp_path):
    with pytest.raises(UserError, match=r"are not aligned: lines de 1, en 2"):
        texts_of(readers.moses(source(zipped(tmp_path / "x.zip", {"x.de": b"eins\n", "x.en": b"one\ntwo\n"}), "*.{code}")))
    with pytest.raises(UserError, match="two files for de that mean the same"):
        texts_of(readers.moses(source(zipped(tmp_path / "x.zip", {"a.de": b"eins\n", "a.de.gz": gzip.compress(b"x\n")}), "a.{code}")))


def test_tsv_by_name_and_by_number(tmp_path):
    path = tmp_path / "dev.en-de.tsv"
    path.write_text('sourceString\ttargetString\tstringID\n"Say ""hi"" now"\t"Sag" ja\tx1\nTwo\tZwei\tx2\n', encoding="utf-8")
    found = texts_of(readers.tsv(source(path, "dev.en-{code}.tsv", "en=sourceString {code}=targetString key=stringID")))
    assert found == [("x1", "en", 'Say "hi" now'), ("x1", "de", '"Sag" ja'), ("x2", "en", "Two"), ("x2", "de", "Zwei")]
    path.write_text("Hello\tHallo\nTwo\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2 has 1 columns, but 2 are needed"):
        texts_of(readers.tsv(source(path, "*.tsv", "en=1 de=2")))
    path.write_text("en\tde\tfr\tnote\nHello\tHallo\tSalut\t\n", encoding="utf-8")
    assert [text for _, _, text, *_ in readers.tsv(source(path, "*.tsv", "{code}={code}"))] == ["Hello", "Hallo", "Salut"]
    with pytest.raises(UserError, match=r"its first line names en, de, fr, note; `fields` asks for"):
        texts_of(readers.tsv(source(path, "*.tsv", "en=english de=german")))


def test_jsonl_and_parquet_say_the_same(tmp_path):
    rows = [{"id": 7, "translation": {"de": "Hallo", "en": "Hello"}}, {"id": 8, "translation": {"de": None, "en": "Two"}}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    packed = zipped(tmp_path / "a.zip", {"data/a.parquet": (tmp_path / "a.parquet").read_bytes()})
    expected = [("7", "en", "Hello"), ("7", "de", "Hallo"), ("8", "en", "Two")]
    fields = "en=translation.en {code}=translation.{code} key=id"
    assert texts_of(readers.jsonl(source(tmp_path / "a.jsonl.gz", "*.jsonl", fields, code="de"))) == expected
    assert texts_of(readers.parquet(source(tmp_path / "a.parquet", "*.parquet", fields, code="de"))) == expected
    assert texts_of(readers.parquet(source(packed, "*.parquet", fields, code="de"))) == expected
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(UserError, match="is not a whole Parquet file"):
        texts_of(readers.parquet(source(tmp_path / "a.parquet", "*.parquet", fields, code="de")))
    (tmp_path / "b.jsonl").write_bytes(lines + b"[1]\n")
    with pytest.raises(UserError, match="line 3 is not a JSON object"):
        texts_of(readers.jsonl(source(tmp_path / "b.jsonl", "*.jsonl", fields)))


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
    found = texts_of(readers.tmx(source(path, "*.tmx")))
    assert found == [
        ("a.tmx:00000001", "en", "Press OK & go"),
        ("a.tmx:00000001", "de", "Drücken"),
        ("a.tmx:00000001", "zh_TW", "按"),
        ("a.tmx:00000002", "en", "Two"),
        ("a.tmx:00000002", "zh", "二"),
        ("a.tmx:00000002", "zh", "二"),
    ]


def test_broken_and_hostile_tmx_is_one_clear_error(tmp_path):
    path = tmp_path / "a.tmx"
    path.write_text(TMX[:-30], encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.tmx is not whole XML"):
        texts_of(readers.tmx(source(path, "*.tmx")))
    path.write_bytes(gzip.compress(TMX.encode() * 50)[:-40])
    with pytest.raises(UserError, match=r"truncated or broken|not whole XML"):
        texts_of(readers.tmx(source(path, "*.tmx")))
    laughs = "".join(f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10))
    path.write_text(TMX.replace('<!ENTITY a "boom">', f'<!ENTITY l0 "ha">{laughs}<!ENTITY a "&l9;">'), encoding="utf-8")
    with pytest.raises(UserError, match="amplification"):
        texts_of(readers.tmx(source(path, "*.tmx")))


def test_text_that_is_no_utf_8_or_no_lines_is_one_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "a.tsv"
    path.write_bytes("Schöne\tGrüße\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"line 1 is not UTF-8 .*iconv"):
        texts_of(readers.tsv(source(path, "*.tsv", "en=1 de=2")))
    monkeypatch.setattr(readers.records, "LINE_LIMIT", 1000)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(UserError, match="longer than 1000 bytes"):
        texts_of(readers.tsv(source(path, "*.tsv", "en=1 de=2")))


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


# --- tags, keys and columns as users' files have them


@pytest.fixture
def own_row(monkeypatch):
    """A function that gives the corpus "mine" a row in the table."""
    row = tables.row

    def give(reader, members, fields="", alias="iso639"):
        own = {"alias": alias, "fields": fields, "package": "", "members": members, "reader": reader, "licence": "CC0-1.0"}
        monkeypatch.setattr(tables, "row", lambda name, key: own if (name, key) == ("corpora", "mine") else row(name, key))

    return give


def read_mine(path):
    """Texts by language, and the ledger by language and measure."""
    table, facts = read.read_with_ledger("mine", path)
    texts = {code: table.filter(language=code)["text"].to_list() for code in sorted(set(table["language"]))}
    return texts, {(fact.language, fact.measure): fact.reason or fact.value for fact in facts}


def tmx_of(**variants):
    units = "".join(f'<tuv xml:lang="{tag.replace("_", "-")}"><seg>{text}</seg></tuv>' for tag, text in variants.items())
    return f'<?xml version="1.0"?><tmx version="1.4"><header/><body><tu>{units}</tu></body></tmx>'


@pytest.mark.parametrize("tag", ["zh", "zh-CN", "zh_CN", "ZH-cn", "zh-Hans", "zh-Hans-CN", "zh-SG", "cmn", "zho", "zh_cn", "zho_Hans"])
def test_one_language_by_any_of_its_tags(tmp_path, own_row, tag):
    text, expected = "猫坐着", {"eng_Latn": ["A cat"], "zho_Hans": ["猫坐着"]}
    own_row("tmx", "*.tmx")
    path = tmp_path / "a.tmx"
    path.write_text(tmx_of(en_US="A cat", TAG=text).replace("TAG", tag), encoding="utf-8")
    assert read_mine(path)[0] == expected
    own_row("moses", "*.{code}")
    moses = zipped(tmp_path / "a.zip", {f"Subs.en-{tag}.{tag}": text.encode(), f"Subs.en-{tag}.en": b"A cat", "README.txt": b"x"})
    assert read_mine(moses)[0] == expected
    own_row("tsv", "en-{code}.tsv", "en=en {code}={code}")
    (tmp_path / f"en-{tag}.tsv").write_text(f"en\t{tag}\nA cat\t{text}\n", encoding="utf-8")
    assert read_mine(tmp_path / f"en-{tag}.tsv")[0] == expected
    own_row("tsv", "*.tsv", "{code}={code}")
    assert read_mine(tmp_path / f"en-{tag}.tsv")[0] == expected
    own_row("tsv", "en-{code}.tsv", "en=1 {code}=2")
    (tmp_path / f"en-{tag}.tsv").write_text(f"A cat\t{text}\n", encoding="utf-8")
    assert read_mine(tmp_path / f"en-{tag}.tsv")[0] == expected
    own_row("jsonl", "*.jsonl", "en=translation.en {code}=translation.{code}")
    (tmp_path / "a.jsonl").write_text(json.dumps({"translation": {"en": "A cat", tag: text}}), encoding="utf-8")
    assert read_mine(tmp_path / "a.jsonl")[0] == expected
    own_row("parquet", "*.parquet", "{code}=text_{code}")
    pl.DataFrame({"text_en": ["A cat"], f"text_{tag}": [text], "id": [1]}).write_parquet(tmp_path / "a.parquet")
    assert read_mine(tmp_path / "a.parquet")[0] == expected
    own_row("json_keys", "*/*.json")
    assert (
        read_mine(zipped(tmp_path / "j.zip", {"i/en.json": b'{"k": "A cat"}', f"i/{tag}.json": json.dumps({"k": text}).encode()}))[0]
        == expected
    )
    own_row("gettext", "*.po")
    catalogue = f'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n\nmsgid "A cat"\nmsgstr "{text}"\n'
    assert read_mine(zipped(tmp_path / "p.zip", {f"{tag}/LC_MESSAGES/a.po": b"\xef\xbb\xbf" + catalogue.encode()}))[0] == expected


def test_another_script_is_another_language_and_what_nobody_takes_is_named(tmp_path, own_row, monkeypatch):
    own_row("tmx", "*.tmx")
    path = tmp_path / "a.tmx"
    path.write_text(tmx_of(en="A cat", sr_Latn="Mačka", zh_TW="貓", uz_Cyrl="Мушук", tlh="vIghro"), encoding="utf-8")
    texts, facts = read_mine(path)
    assert texts == {"eng_Latn": ["A cat"], "zho_Hant": ["貓"]}
    assert facts["all", "untaken"] == "sr-Latn (1), tlh (1), uz-Cyrl (1)"
    raw = tmp_path / "mine.parquet"
    read.main(["--corpus", "mine", "--source", str(path), "--output", str(raw)])
    _, facts, _ = clean.build("srp_Cyrl", [raw], [], SETTINGS)
    assert facts[0].reason == "n/a: not in this corpus; no language takes its codes sr-Latn (1), tlh (1), uz-Cyrl (1)"
    path.write_text(tmx_of(sr_Latn="Mačka", tlh="vIghro"), encoding="utf-8")
    with pytest.raises(UserError, match=r"no message was found.*No language takes these codes: sr-Latn \(1\), tlh \(1\)"):
        read_mine(path)


def test_two_spellings_of_one_language_are_counted_and_the_plain_one_wins(tmp_path, own_row):
    own_row("tmx", "*.tmx")
    path = tmp_path / "a.tmx"
    for order in (("de_AT", "de", "de_CH"), ("de_CH", "de_AT", "de")):
        path.write_text(tmx_of(en="January", **{tag: f"Januar {tag}" for tag in order}), encoding="utf-8")
        texts, facts = read_mine(path)
        assert texts["deu_Latn"] == ["Januar de"]
        assert facts["deu_Latn", "left_out:de-at"] == facts["deu_Latn", "left_out:de-ch"] == 1


def test_a_projects_column_lists_all_that_is_taken_from_it(tmp_path):
    codes = languages.codes("mediawiki")
    assert codes.find("ZH_HANS") == "zh-hans" and codes.find("zh-CN") is None and codes.find("als") is None


def test_rows_that_share_a_key_are_different_pairs(tmp_path, own_row):
    rows = [("doc1", "One", "Eins"), ("doc1", "Two", "Zwei"), ("doc2", "Three", "Drei"), ("doc1", "Four", "Vier"), ("doc1", "One", "Eins")]
    lines = "".join("\t".join(row) + "\n" for row in [("id", "en", "de"), *rows])
    (tmp_path / "a.tsv").write_text(lines, encoding="utf-8")
    objects = [dict(zip(("id", "en", "de"), row, strict=True)) for row in rows]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in objects), encoding="utf-8")
    pl.DataFrame(objects).write_parquet(tmp_path / "a.parquet")
    for reader in ("tsv", "jsonl", "parquet"):
        own_row(reader, f"*.{reader}", "en=en {code}={code} key=id")
        table = read.read("mine", tmp_path / f"a.{reader}")
        assert table.height == 10 and set(table["language"]) == {"deu_Latn", "eng_Latn"}, "the column of the key is no Indonesian"
        table.write_parquet(tmp_path / "mine.parquet")
        pairs = clean.pair("mine", tmp_path / "mine.parquet", "deu_Latn", "eng_Latn")
        assert sorted(pairs.select("source", "target").rows()) == sorted((one, two) for _, one, two in rows)
        assert "doc2" in pairs["key"].to_list()


def test_keys_that_mean_different_rows_in_different_files_join_nothing(tmp_path, own_row):
    own_row("tsv", "*.tsv", "en=en {code}={code} key=id")
    (tmp_path / "en-de.tsv").write_text("id\ten\tde\n1\tOne\tEins\n2\tTwo\tZwei\n", encoding="utf-8")
    (tmp_path / "en-fr.tsv").write_text("id\ten\tfr\n1\tRed\tRouge\n2\tTwo\tDeux\n", encoding="utf-8")
    read.read("mine", tmp_path).write_parquet(tmp_path / "mine.parquet")
    found = {
        code: clean.pair("mine", tmp_path / "mine.parquet", code, "eng_Latn").select("source", "target").rows()
        for code in ("deu_Latn", "fra_Latn")
    }
    assert {code: set(pairs) for code, pairs in found.items()} == {
        "deu_Latn": {("One", "Eins"), ("Two", "Zwei")}, "fra_Latn": {("Red", "Rouge"), ("Two", "Deux")}
    }  # fmt: skip
    assert clean.pair("mine", tmp_path / "mine.parquet", "fra_Latn", "deu_Latn").select("source", "target").rows() == [("Zwei", "Deux")]


def test_repeated_and_empty_messages_of_a_catalogue_are_counted(tmp_path, own_row):
    own_row("gettext", "*.po")
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n\n'
    entries = {
        f"{app}/de/LC_MESSAGES/a.po": f'{header}msgid "May"\nmsgstr "{text}"\n'.encode()
        for app, text in (("a", "Mai"), ("b", "Darf"), ("c", "Mai"))
    }
    texts, facts = read_mine(zipped(tmp_path / "a.zip", entries))
    assert texts == {"deu_Latn": ["Mai"], "eng_Latn": ["May"]}
    assert facts["deu_Latn", "left_out:same key"] == 1 and ("eng_Latn", "left_out:same key") not in facts
    raw = tmp_path / "mine.parquet"
    read.main(["--corpus", "mine", "--source", str(tmp_path / "a.zip"), "--output", str(raw)])
    _, facts, _ = clean.build("deu_Latn", [raw], [], SETTINGS)
    assert {fact.measure: fact.value for fact in facts}["left_out:same key"] == 1
    own_row("tsv", "*.tsv", "en=1 de=2")
    (tmp_path / "a.tsv").write_text("One\tEins\n\nTwo\t \n\n", encoding="utf-8")
    assert read_mine(tmp_path / "a.tsv")[1] == {("deu_Latn", "left_out:empty"): 1, ("all", "messages"): 3}


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        ("tsv", b"en\tde\nThe cat\tsits.\tDie Katze sitzt.\n", "line 2 has 3 columns, but the first line has 2"),
        ("tsv", "en\tde\nOne\tEins\n".encode("utf-16-le"), "line 1 holds a NUL byte"),
        ("tsv", b"en\tde\nOne\0\tEins\n", "line 2 holds a NUL byte"),
        ("tsv", b"", "its first line names"),
        ("jsonl", b'{"en": "One", "de": "\\ud83d"}\n', "line 1: a text holds half a character"),
        ("jsonl", b'{"en": "One", "de": "a\\u0000"}\n', "line 1: a text holds half a character"),
        ("jsonl", b"", "no message was found"),
        ("json_keys", b'{"k": "\\udc00"}', "k: a text holds half a character"),
        ("gettext", b"\xde\x12\x04\x95abc", "is not a gettext catalogue"),
        ("cldr_annotations", b"{}", "is not one of CLDR's annotations"),
    ],
)  # fmt: skip
def test_broken_files_are_one_clear_error(tmp_path, own_row, reader, content, message):
    names = {"json_keys": "en/de.json", "gettext": "de.mo", "cldr_annotations": "de/annotations.json"}
    name = names.get(reader, f"a.{reader}")
    own_row(reader, f"*{name}", "{code}={code}" if reader in ("tsv", "jsonl") else "")
    with pytest.raises(UserError, match=message):
        read.read("mine", zipped(tmp_path / "a.zip", {f"x/{name}": content}))


def test_a_byte_order_mark_is_no_text(tmp_path, own_row):
    bom = "\ufeff".encode()
    own_row("tsv", "*.tsv", "{code}={code}")
    (tmp_path / "a.tsv").write_bytes(bom + b"en\tde\nOne\tEins\t\n")
    assert read_mine(tmp_path / "a.tsv")[0] == {"deu_Latn": ["Eins"], "eng_Latn": ["One"]}
    own_row("jsonl", "*.jsonl", "{code}={code}")
    (tmp_path / "a.jsonl").write_bytes(bom + b'{"en": "One", "de": "Eins"}\n\n')
    assert read_mine(tmp_path / "a.jsonl")[0] == {"deu_Latn": ["Eins"], "eng_Latn": ["One"]}


SHARED = tables.ROOT.parent / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "nllb_seed.tar.xz").exists(), reason="NLLB-Seed is not beside the project")
def test_nllb_seed_in_its_own_layout():
    table = read.read("nllb-seed", SHARED / "nllb_seed.tar.xz")
    counts = table.group_by("language").len()
    assert counts.height == 11 and counts["len"].min() > 6100
    assert table["key"].n_unique() == 6193
