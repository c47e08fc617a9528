"""Each filter on small examples in several scripts, samples of what was dropped, and what a filter cannot check."""

import csv
import json
import math
import os
import random
import subprocess
import sys
import tarfile
import time
from collections import Counter, defaultdict

import polars as pl
import pytest

from workflow_scripts.common import config, contamination, files, language_id, languages, ledger, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.common.text import folded
from workflow_scripts.corpora import alignment, clean, near_duplicates
from workflow_scripts.corpora.filters import CHANGES, FILTERS, normalised


def pairs_of(texts, code="deu_Latn", pivot="eng_Latn"):
    """A table of pairs as `clean.pair` gives it; the English message is the source."""
    rows = [(f"{number:04}", source, target, source) for number, (source, target) in enumerate(texts)]
    table = pl.DataFrame(rows, schema=["key", "source", "target", "english"], orient="row")
    return table.with_columns(corpus=pl.lit("demo"), source_language=pl.lit(pivot), target_language=pl.lit(code), licence=pl.lit("CC0-1.0"))


def kept(texts, code="deu_Latn", pivot="eng_Latn", **settings):
    """Which of the pairs one filter keeps."""
    found = clean.clean(pairs_of(texts, code, pivot), [settings]).pairs["key"].to_list()
    return [f"{number:04}" in found for number in range(len(texts))]


def test_normalise_changes_what_nobody_sees_and_leaves_what_a_script_needs():
    persian, conjunct, khmer, family = "می\u200cخواهم", "क्\u200dष", "ខ្ញុំ\u200bស្រឡាញ់", "\U0001f468\u200d\U0001f469"
    for code, text, expected in [
        ("deu_Latn", "Scho\u0308n\u00a0ist\u2009es \x00\x1b[0m", "Schön ist es [0m"),
        ("deu_Latn", "\ufeffZu\u00adsam\u200bmen\u200e\u2060", "Zusammen"),
        ("deu_Latn", "Auf\u200clage", "Auflage"),
        ("deu_Latn", family, "\U0001f468\U0001f469"),
        ("pes_Arab", f"\u202b{persian}\u202c", persian),
        ("hin_Deva", f"{conjunct}\u200b", conjunct),
        ("khm_Khmr", khmer, khmer),
        ("vie_Latn", "Tie\u0302\u0301ng  Vie\u0323\u0302t", "Tiếng Việt"),
        ("jpn_Jpan", "東京\u3000タワー か\u3099", "東京 タワー が"),
        ("tha_Thai", "\u200bภาษาไทย", "\u200bภาษาไทย"),
        ("eng_Latn", "plain text", "plain text"),
        ("eng_Latn", "\u200b \u00ad", ""),
    ]:
        assert pl.DataFrame({"text": [text]}).select(normalised(pl.col("text"), code)).item() == expected, (code, text)


def test_normalise_counts_what_it_changed_and_later_filters_see_its_text():
    texts = [("Open file", "Datei öffnen"), ("Open\u200b file", "Datei\u00a0öffnen"), ("Save", "Sa\u00adve"), ("Print", "Drucken")]
    cleaned = clean.clean(pairs_of(texts), [{"filter": "normalise"}, {"filter": "copy"}, {"filter": "duplicates"}])
    assert cleaned.counts == {("demo", "changed:normalise"): 2, ("demo", "dropped:copy"): 1, ("demo", "dropped:duplicates"): 1}
    assert cleaned.pairs.select("source", "target").rows() == [("Open file", "Datei öffnen"), ("Print", "Drucken")]


def test_an_english_message_is_still_known_after_normalising():
    texts = [("打开\u200b文件", "Open\u200b file")]
    table = pairs_of(texts, "deu_Latn", "zho_Hans").with_columns(english=pl.lit("Open\u00ad file"))
    assert clean.clean(table, [{"filter": "normalise"}, {"filter": "copy"}]).pairs.height == 0


def test_the_median_ratio_is_that_of_the_language_and_needs_enough_pairs():
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    english = [" ".join(words[: 3 + number % 8]) for number in range(40)]
    chinese = ["一二三四五六七八九十"[: 3 + number % 8] for number in range(40)]
    texts = [*zip(english, chinese, strict=True), (" ".join(words), "一"), ("one two three", "一二三四五六七八九十一二三四五六七八九十")]
    assert kept(texts, "zho_Hans", filter="median_ratio", max=1.7, min_pairs=20) == [True] * 40 + [False] * 2
    assert all(kept(texts[:40], "zho_Hans", filter="ratio", max=4)), "a fixed ratio has to be as loose as the loosest language"
    assert kept(texts, "zho_Hans", filter="median_ratio", max=1.7, min_pairs=100) == [True] * 42
    settings = {"filter": "median_ratio", "max": 1.7, "min_pairs": 100}
    reasons = clean.clean(pairs_of(texts, "zho_Hans"), [settings]).unchecked
    assert reasons == [("median_ratio", "42 pairs of eng_Latn and zho_Hans, fewer than 100")]


def test_the_median_of_empty_text_is_no_error():
    assert kept([("", ""), ("", "x"), ("ab", "ab")], filter="median_ratio", max=2, min_pairs=2) == [True, True, True]


ENGLISH = "The page was deleted because nobody had changed it for a long time."
OWN = {
    "deu_Latn": "Die Seite wurde gelöscht, weil sie lange Zeit niemand geändert hatte.",
    "swh_Latn": "Ukurasa huu ulifutwa kwa sababu hakuna aliyeubadilisha kwa muda mrefu.",
    "rus_Cyrl": "Страница была удалена, потому что её долгое время никто не изменял.",
    "ukr_Cyrl": "Сторінку було видалено, бо її довгий час ніхто не змінював.",
    "hin_Deva": "पृष्ठ हटा दिया गया क्योंकि लंबे समय से किसी ने उसे नहीं बदला था।",
    "arb_Arab": "حُذفت الصفحة لأن أحدا لم يغيرها منذ وقت طويل.",
    "tha_Thai": "หน้านี้ถูกลบเพราะไม่มีใครแก้ไขมานานแล้ว",
    "zho_Hans": "该页面已被删除，因为很长时间没有人修改过它。",
}


@pytest.mark.parametrize("code", sorted(OWN))
def test_language_drops_other_languages_on_either_side_and_nothing_else(code):
    others = [text for other, text in OWN.items() if other != code]
    texts = [(ENGLISH, OWN[code]), *((ENGLISH, text) for text in [*others, ENGLISH]), (others[0], OWN[code])]
    assert kept(texts, code, filter="language", min_letters=12) == [True] + [False] * (len(texts) - 1)


def test_language_leaves_short_texts_and_what_is_no_language_alone():
    texts = [("Login", "Login"), ("OK", "OK"), ("2024: 100 %", "2024: 100 %"), ("", ""), ("\ud7ff", "\u0000 12")]
    assert all(kept(texts, filter="language", min_letters=12))
    assert language_id.foreign("deu_Latn", "12 %") is False


def test_the_second_identifier_can_speak_up_for_a_text():
    for text in ("downwards zigzag arrow", "Chicago Sun Times Article", "transgender symbol"):
        assert language_id.py3langid(text) != "en" and not language_id.foreign("eng_Latn", text), text


def test_a_language_that_no_identifier_knows_passes_with_a_reason_but_its_pivot_is_checked():
    texts = [(ENGLISH, "Foo bar"), (OWN["deu_Latn"], "Foo bar")]
    for code, reason in (("nus_Latn", "no identifier knows Nuer"), ("bos_Latn", "Bosnian is found in 47.0 % of sentences only")):
        cleaned = clean.clean(pairs_of(texts, code), [{"filter": "language", "min_letters": 12}])
        assert cleaned.unchecked == [("language", reason)]
        assert cleaned.pairs["source"].to_list() == [ENGLISH]


def test_every_language_is_judged_or_has_a_reason():
    codes = languages.registry()
    unknown = {code for code in codes if language_id.unknown(code)}
    assert {code for code in codes if not language_id.known(code)} < unknown < set(codes)
    for code in set(codes) - unknown:
        if languages.get(code).script != "Cyrl":
            assert language_id.foreign(code, OWN["rus_Cyrl"]), code


@pytest.mark.parametrize(
    "text",
    [
        "'''Bold''' text", "''Italic'' text", "== Heading ==", "=== Überschrift ===", "* Item", "## Item", "; term", ":: indented", "----",
        "&#160;space", "Sign ~~~~", "See www.example.org", "mailto:x", "ftp://example.org", "//example.org/x", "#REDIRECT Page",
        "[[Link]]", "{{PLURAL:$1|page|pages}}", "&nbsp;x", "__TOC__", "<b>x</b>", "https://example.org", "x {{{1}}}", "[http://x y]",
    ],
)  # fmt: skip
def test_a_wikis_markup(text):
    assert kept([(text, "Text"), ("Text", text)], filter="markup", wiki=True) == [False, False]


@pytest.mark.parametrize(
    "text", ["It's five o'clock", "1 = 1", "a == b", "No. 7; next: go", "AT&T & co", "C# and F#", "and/or", "5 * 3", "המשתמש", "“Hi”"]
)
def test_what_only_looks_like_a_wikis_markup(text):
    assert kept([(text, text)], filter="markup", wiki=True) == [True]


def test_markup_without_wiki_is_as_before():
    assert kept([("'''Bold'''", "x"), ("== H ==", "x"), ("<b>", "x")], filter="markup") == [True, True, False]
    assert kept([("'''Bold'''", "x")], filter="markup", wiki=False) == [True]


def test_near_duplicates_by_digits_punctuation_and_a_word():
    texts = [
        ("Heading of level 1 was added to the text", "Eine Überschrift der Ebene 1 wurde hinzugefügt"),
        ("Heading of level 27 was added to the text!", "Eine Überschrift der Ebene 27 wurde hinzugefügt."),
        ("HEADING of level 3 was added to the texts", "Eine Überschrift der Ebene 3 wurde hinzugefügt"),
        ("Heading of level 1 was added to the text", "Der Text hat jetzt auch einen Titel erster Stufe"),
        ("Picture of level 1 was taken from the page", "Ein Bild der Ebene 1 wurde von der Seite entfernt"),
        ("第1章已添加到文本中", "Kapitel 1 wurde zum Text hinzugefügt"),
        ("第2章已添加到文本中", "Kapitel 2 wurde zum Text hinzugefügt"),
        ("12 %", "12 %"),
        ("13 %", "13 %"),
    ]
    expected = [True, False, False, True, True, True, False, True, True]
    assert kept(texts, filter="near_duplicates", similarity=0.8) == expected
    assert kept(texts[:3], filter="near_duplicates", similarity=1) == [True, False, True]


def ngrams(pair):
    """Three characters each, of both sides, each marked as its own; a shorter text is one n-gram."""
    return {(side, text[start : start + 3]) for side, text in enumerate(pair) if text for start in range(max(1, len(text) - 2))}


def is_similar(one, other, similarity):
    if min(len(one), len(other)) < similarity * max(len(one), len(other)):
        return False
    return len(one & other) >= similarity * len(one | other)


def first_of_similar(pairs, similarity):
    """The oracle: all compared with all that were kept and share one of their rarest n-grams (Chaudhuri, Ganti and Kaushik 2006)."""
    counts = Counter(gram for pair in pairs for gram in ngrams(pair))
    rank = {gram: number for number, gram in enumerate(sorted(counts, key=lambda gram: (counts[gram], gram)))}
    holders, kept_before, answers = defaultdict(list), [], []
    for pair in pairs:
        grams = {rank[gram] for gram in ngrams(pair)}
        rarest = sorted(grams)[: len(grams) - math.ceil(similarity * len(grams) - 1e-9) + 1]
        others = {number for gram in rarest for number in holders[gram]}
        answers.append(not any(is_similar(grams, kept_before[number], similarity) for number in others))
        if answers[-1]:
            for gram in rarest:
                holders[gram].append(len(kept_before))
            kept_before.append(grams)
    return answers


def test_near_duplicates_are_those_of_comparing_all_with_all():
    draw = random.Random(5)
    words = ["page", "file", "user", "saved", "deleted", "shown", "was", "will", "be", "новый", "файл", "页面", "文件", "ページ"]
    texts = [tuple(" ".join(draw.choices(words, k=draw.randint(1, 6))) for _ in range(2)) for _ in range(400)]
    texts += [("", ""), ("", ""), ("ab", ""), ("ab", ""), ("", "ab"), ("a\0b", "\U0001f600"), ("a\0b", "\U0001f600")]
    for similarity in (0.3, 0.5, 0.7, 0.8, 0.9, 1):
        expected = first_of_similar(texts, similarity)
        assert near_duplicates.first_of_similar(texts, similarity) == expected
        assert similarity > 0.7 or not all(expected)
    assert near_duplicates.first_of_similar([], 0.8) == []


def test_near_duplicates_of_many_pairs_cost_what_they_are_many():
    """Sentences that all have something in common: comparing all that do took more than three minutes for 20,000 of them."""
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghiklmnoprstu", k=draw.randint(2, 8))) for _ in range(2000)]
    texts = [tuple(" ".join(draw.choices(words, k=18)) for _ in range(2)) for _ in range(20_000)]
    texts += [(f"{source} {words[0]}", target) for source, target in texts[:200]]
    began = time.process_time()
    answers = near_duplicates.first_of_similar(texts, 0.8)
    assert time.process_time() - began < 30
    assert all(answers[:20_000]) and not any(answers[20_000:])


SEED = tables.ROOT.parent / "shared/data/nllb_seed.tar.xz"


@pytest.mark.skipif(not SEED.exists(), reason="NLLB-Seed is not beside the project")
def test_near_duplicates_of_real_sentences_are_those_of_the_exact_search():
    with tarfile.open(SEED) as tar:
        sides = {
            name: tar.extractfile(member).read().decode().splitlines()
            for member in tar
            if (name := member.name.rpartition("/")[2]) in ("eng_Latn", "hne_Deva")
        }
    texts = [tuple(folded(text) for text in pair) for pair in zip(sides["eng_Latn"], sides["hne_Deva"], strict=True)]
    texts += [(f"{source}x", target[3:]) for source, target in texts[:500]]
    found = near_duplicates.first_of_similar(texts, 0.8)
    assert found == first_of_similar(texts, 0.8)
    assert found.count(False) >= 500


# Words made up, so that each is in few texts as in real corpora; the second writing has no spaces, the third dense letters too.
def lexicon(letters, size, seed):
    draw = random.Random(seed)
    return ["".join(draw.choices(letters, k=draw.randint(*size))) for _ in range(60)]


WORDS = {
    "deu_Latn": (lexicon("abdegiklmnorstuw", (4, 8), 1), " "),
    "tha_Thai": (lexicon([chr(0x0E01 + number) for number in range(40)], (3, 6), 2), ""),
    "zho_Hans": (lexicon([chr(0x4E00 + 7 * number) for number in range(400)], (2, 3), 3), ""),
}
ENGLISH_WORDS = lexicon("aeioubcdfghklmnprst", (4, 8), 4)


def aligned_texts(code, count=600, seed=7):
    """Pairs of two to six words, word by word; the target's order is another one."""
    draw = random.Random(seed)
    words, joint = WORDS[code]
    chosen = [draw.sample(range(60), draw.randint(2, 6)) for _ in range(count)]
    return [
        (" ".join(ENGLISH_WORDS[place] for place in places), joint.join(words[place] for place in reversed(places))) for places in chosen
    ]


@pytest.mark.parametrize("code", sorted(WORDS))
def test_alignment_finds_the_sides_that_do_not_belong_together(code):
    texts = aligned_texts(code)
    shifted = [target for _, target in texts[:40]]
    noisy = [(source, target) for (source, _), target in zip(texts[:40], shifted[1:] + shifted[:1], strict=True)] + texts[40:]
    keep = kept(noisy, code, filter="alignment", margin=4, min_pairs=100)
    assert sum(keep[:40]) <= 10, "most of the forty misaligned pairs are found"
    assert sum(keep[40:]) >= 555, "and of 560 good ones hardly any is lost"
    assert all(kept(noisy, code, filter="alignment", margin=4, min_pairs=601))
    settings = {"filter": "alignment", "margin": 4, "min_pairs": 601}
    reasons = clean.clean(pairs_of(noisy, code), [settings]).unchecked
    assert reasons == [("alignment", f"600 pairs of eng_Latn and {code}, fewer than 601")]


def test_alignment_is_in_doubt_where_it_knows_nothing(monkeypatch):
    texts = [*aligned_texts("deu_Latn"), ("unseen vocabulary entirely", "ganz unbekannter Wortschatz"), ("", ""), ("x", ""), ("12", "!")]
    assert kept(texts, filter="alignment", margin=4, min_pairs=100)[-4:] == [True] * 4
    sides = [[text for text, _ in texts], [text for _, text in texts]]
    whole = alignment.evidence(*sides, (4, 4))
    assert (whole[-4:] == 0).all() and (whole[:-4] > 0).all()
    monkeypatch.setattr(alignment, "BATCH", 7)
    assert (alignment.evidence(*sides, (4, 4)) == whole).all(), "pairs are judged one by one"
    monkeypatch.setattr(alignment, "LEARNT", 300)
    part = alignment.evidence(*sides, (4, 4))
    assert (part != whole).any() and (part[:-4] > 0).mean() > 0.95, "half of the pairs teach enough to judge the others"
    assert alignment.evidence([], [], (4, 4)).tolist() == []
    assert not alignment.evidence(["the same"] * 9 + ["xyzzy"] * 40, [f"{number:09}" for number in range(49)], (4, 9)).any(), "no partner"


def test_evidence_is_what_the_counts_say():
    """Six pairs hold the partners, one of the six others each: the nats by hand."""
    sources = ["aaaa"] * 6 + ["bbbb"] * 6 + ["cccc"] * 12
    targets = ["uuuu"] * 6 + ["vvvv"] * 6 + ["wwww"] * 12
    targets[0] = "vvvv"
    found = alignment.evidence(sources, targets, (4, 4))
    # "aaaa" is in 6 pairs, 5 of them with "uuuu", which is in 5 of 24; "cccc" and "wwww" are too common to have partners.
    there, missing = math.log((5 - 0.5) / 6 / (5 / 24)), math.log((1 - (5 + 0.5) / 6) / (1 - 5 / 24))
    back = math.log((5 - 0.5) / 5 / (6 / 24))
    assert found[1] == pytest.approx((there + back) / 4, abs=1e-6)
    lost = math.log((1 - (6 + 0.5) / 7) / (1 - 6 / 24))  # "vvvv" is in 7 pairs, 6 of them with "bbbb"
    assert found[0] == pytest.approx((missing + lost) / 4, abs=1e-6)
    assert found[-1] == 0


def test_filters_after_one_that_drops_all():
    filters = [{"filter": "length", "min": 500, "max": 600}, *EVERYTHING, {"filter": "alignment", "margin": 4, "min_pairs": 2}]
    cleaned = clean.clean(pairs_of([("One", "Eins"), ("Two", "Zwei")]), filters)
    assert cleaned.pairs.height == 0 and cleaned.counts == {("demo", "dropped:length"): 2}


def test_script_tells_simplified_and_traditional_chinese_apart():
    texts = [("Open", "打开门"), ("Open", "打開門"), ("Open", "人人平等"), ("Open", "打开這個门"), ("Open", "Öffne"), ("Открой", "打开门")]
    assert kept(texts, "zho_Hans", filter="script", min_share=0.7) == [True, False, True, True, False, False]
    for code in ("zho_Hant", "yue_Hant"):
        assert kept(texts[:3], code, filter="script", min_share=0.7) == [False, True, True]
    assert kept([("打開門", "Öffne die Tür"), ("打开门", "Öffne die Tür")], pivot="zho_Hans", filter="script", min_share=0.7) == [
        False,
        True,
    ]
    assert kept([("Open", "東京タワーを開ける")], "jpn_Jpan", filter="script", min_share=0.7) == [True]


FLORES = tables.ROOT.parent / "shared/data/flores200_dataset.tar.xz"


@pytest.fixture(scope="module")
def flores():
    """Lines of FLORES-200 devtest in some languages."""
    if not FLORES.exists():
        pytest.skip("FLORES-200 is not beside the project")
    wanted = {"zho_Hans", "zho_Hant", "yue_Hant", "deu_Latn", "lmo_Latn", "sag_Latn", "vie_Latn", "ewe_Latn", "rus_Cyrl", "tha_Thai"}
    with tarfile.open(FLORES) as tar:
        return {
            code: tar.extractfile(member).read().decode().splitlines()
            for member in tar
            if (code := member.name.rpartition("/")[2].removesuffix(".devtest")) in wanted
        }


def test_real_chinese_is_told_apart_and_none_is_accused(flores):
    for code, other in (("zho_Hans", "zho_Hant"), ("zho_Hant", "zho_Hans"), ("yue_Hant", "zho_Hans")):
        assert all(kept([("Open", text) for text in flores[code]], code, filter="script", min_share=0))
        assert not any(kept([("Open", text) for text in flores[code]], other, filter="script", min_share=0))


def test_mojibake_finds_what_was_read_in_another_encoding(flores):
    good = [("Grüße — “naïve”", "Grüße: 20 €"), ("Straße", "À la carte"), ("Â", "Â hünda")]
    broken = [("Straße", "StraÃŸe"), ("It’s", "Itâ€™s"), ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Hallo"), ("x", "ä½\xa0å¥½")]
    assert kept([*good, *broken], filter="mojibake") == [True] * 3 + [False] * 4
    for code, lines in flores.items():
        assert all(kept([("x", text) for text in lines], filter="mojibake")), code
        again = [text.encode().decode("latin-1") for text in lines if not text.isascii()]
        found = kept([("x", text) for text in again], filter="mojibake")
        assert found.count(False) >= 0.98 * len(found), code


def test_what_no_filter_looked_at_is_counted_as_of_another_script(tmp_path, demo_row):
    texts = [("Open the door", "打开门"), ("Close the door", "關門"), ("Открой", "打开门")]
    raw = corpus_of(tmp_path, texts, code="zho_Hans")
    settings = {"pivots": ["eng_Latn", "zho_Hans"], "empty_corpus": "stop", "decontamination": {"ngram": 4, "similarity": 0.6}}
    for cleaning, expected in (([], {"other_script": 2}), ([{"filter": "script", "min_share": 0.7}], {"dropped:script": 2})):
        _, facts, _ = clean.build("zho_Hans", [raw], [], settings | {"cleaning": cleaning})
        counts = {fact.measure: fact.value for fact in facts}
        assert counts == {"rows_read": 3, "rows_kept": counts["rows_kept"]} | expected
        assert counts["rows_kept"] == (1 if cleaning else 3)


# --- samples, determinism, hostile text


HOSTILE = [
    ("=cmd|' /C calc'!A0", "=1+1"),
    ("+1 line\nbreak, \"quoted\"", "-2\r\nzwei"),
    ("@SUM(A1)", "a\x00b\x1b[31m"),
    ("\u202egnp.exe", "\t=HYPERLINK(0)"),
    ("<script>alert(1)</script>", "</td>"),
]  # fmt: skip


def corpus_of(folder, texts, name="demo", code="deu_Latn"):
    path = folder / f"{name}.parquet"
    rows = [
        (f"{number:04}", language, text)
        for number, pair in enumerate(texts)
        for language, text in zip(("eng_Latn", code), pair, strict=True)
    ]
    pl.DataFrame(rows, schema=["key", "language", "text"], orient="row").write_parquet(path)
    return path


@pytest.fixture
def demo_row(monkeypatch):
    """Pretend that the corpus "demo" is in the table."""
    row = tables.row
    monkeypatch.setattr(tables, "row", lambda table, key: {"licence": "CC0-1.0"} if key == "demo" else row(table, key))


SETTINGS = {"pivots": ["eng_Latn"], "empty_corpus": "note", "decontamination": {"ngram": 4, "similarity": 0.6}}


def test_samples_are_whole_rows_and_run_nowhere(tmp_path, demo_row):
    raw = corpus_of(tmp_path, HOSTILE)
    _, facts, samples = clean.build("deu_Latn", [raw], [], SETTINGS | {"cleaning": [{"filter": "length", "min": 100, "max": 200}]})
    clean.write_samples(tmp_path / "x.csv", samples)
    content = (tmp_path / "x.csv").read_bytes()
    assert content.count(b"\n") == 6 and not any(byte in content for byte in (b"\x00", b"\x1b", b"\r", "\u202e".encode()))
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["filter"] for row in rows} == {"length"} and len(rows) == 5
    found = {row["key"]: (row["source"], row["target"]) for row in rows}
    assert found["0000"] == ("'=cmd|' /C calc'!A0", "'=1+1")
    assert found["0001"] == ('\'+1 line\\nbreak, "quoted"', "'-2\\r\\nzwei")
    assert found["0002"] == ("'@SUM(A1)", "a\\x00b\\x1b[31m")
    assert found["0003"] == ("\\u202egnp.exe", "\\t=HYPERLINK(0)")
    assert {fact.measure: fact.value for fact in facts} == {"rows_read": 5, "rows_kept": 0, "dropped:length": 5}


def test_samples_are_few_of_each_filter_and_never_benchmark_text(tmp_path, demo_row):
    held = "the quick brown fox jumps over the lazy dog at noon"
    texts = [(f"{word} {number} < markup", f"Zeichen {number} x") for number in range(30) for word in ("left", "right")]
    texts += [("100", f"{number}") for number in range(3)]
    texts += [(f"{held} <b>", "Der flinke Fuchs")] * 5
    files.write_json(
        tmp_path / "held.json", {"benchmark": "test", "language": "eng_Latn", "items": [{"split": "devtest", "item": 0, "text": held}]}
    )
    cleaning = [{"filter": "letters"}, {"filter": "markup"}]
    built = [
        clean.build("deu_Latn", [corpus_of(tmp_path, texts)], benchmarks, SETTINGS | {"cleaning": cleaning})
        for benchmarks in ([], [tmp_path / "held.json"])
    ]
    for _, _, samples in built:
        counts = dict(samples.group_by("filter").len().iter_rows())
        assert counts["letters"] == 3 and 1 <= counts["markup"] <= clean.SAMPLES
        assert samples["filter"].to_list() == sorted(samples["filter"], key=["letters", "markup"].index)
    assert built[0][2].filter(filter="markup").height == clean.SAMPLES
    assert not any(held in text for text in built[1][2]["source"])


def test_benchmark_text_is_left_out_of_the_samples_although_it_would_be_drawn(tmp_path, demo_row):
    held = "the quick brown fox jumps over the lazy dog at noon"
    samples = pairs_of([(held, "x"), ("something else", "y")]).with_columns(id=pl.col("key"), filter=pl.lit("length"))
    index = contamination.Index([("test", held)], SETTINGS["decontamination"])
    assert clean.shown(samples.select(list(clean.SAMPLE)), index, ["length"])["target"].to_list() == ["y"]


EVERYTHING = [
    {"filter": "normalise"},
    {"filter": "letters"},
    {"filter": "markup", "wiki": True},
    {"filter": "median_ratio", "max": 3, "min_pairs": 10},
    {"filter": "alignment", "margin": 4, "min_pairs": 100},  # before `language`, to which words made up are another language
    {"filter": "language", "min_letters": 12},
    {"filter": "duplicates"},
    {"filter": "near_duplicates", "similarity": 0.8},
]


def test_rows_threads_and_hash_seed_change_no_byte(tmp_path):
    texts = [(f"{ENGLISH} {'x' * number}", f"{text} {'x' * number}") for number in range(4) for text in OWN.values()] + HOSTILE
    texts += [("Open <b>it</b>", f"Nummer {number}") for number in range(40)]
    good = aligned_texts("deu_Latn")
    texts += good + [(source, target) for (source, _), (_, target) in zip(good[:20], good[30:], strict=False)]
    whole = pl.read_parquet(corpus_of(tmp_path, texts, "scratch-l10n"))
    outputs = []
    for run, (seed, threads) in enumerate([(0, 1), (1, 2), (2, 4)]):
        folder = tmp_path / str(run)
        folder.mkdir()
        whole.sample(fraction=1, shuffle=True, seed=seed).write_parquet(folder / "scratch-l10n.parquet")
        arguments = ["--language", "deu_Latn", "--corpora", str(folder / "scratch-l10n.parquet")]
        arguments += ["--settings", json.dumps(SETTINGS | {"cleaning": EVERYTHING}), "--output", str(folder / "a.parquet")]
        arguments += ["--ledger", str(folder / "a.csv"), "--dropped", str(folder / "a.dropped.csv")]
        environment = os.environ | {"POLARS_MAX_THREADS": str(threads), "PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-m", "workflow_scripts.corpora.clean", *arguments], check=True, env=environment, cwd=tables.ROOT)
        outputs.append([(folder / name).read_bytes() for name in ("a.parquet", "a.csv", "a.dropped.csv")])
    assert outputs[0] == outputs[1] == outputs[2]
    facts = {fact.measure: fact.value for fact in ledger.read(tmp_path / "0" / "a.csv")}
    assert facts["rows_read"] == facts["rows_kept"] + sum(value for measure, value in facts.items() if measure.startswith("dropped:"))
    assert facts["dropped:language"] >= 20 and facts["dropped:markup"] >= 40 and facts["dropped:alignment"] >= 5


def test_every_filter_of_the_config_is_there_and_the_other_way_round():
    schema = files.read_json(tables.SCHEMAS / "config.schema.json")["properties"]["cleaning"]
    named = [one["properties"]["filter"]["const"] for one in schema["items"]["oneOf"]]
    assert sorted(named) == sorted([*FILTERS, *CHANGES])
    for name in named:
        assert name in schema["description"] and name in schema["items"]["description"]


@pytest.mark.parametrize(
    "entry",
    [
        {"filter": "normalise", "form": "NFKC"},
        {"filter": "markup", "wiki": "yes"},
        {"filter": "markup", "wikis": True},
        {"filter": "median_ratio", "max": 2},
        {"filter": "median_ratio", "max": 0.5, "min_pairs": 10},
        {"filter": "language"},
        {"filter": "language", "min_letters": 0},
        {"filter": "near_duplicates", "similarity": 1.5},
        {"filter": "near_duplicates", "similarity": 0},
        {"filter": "alignment", "margin": 4},
        {"filter": "alignment", "margin": 0, "min_pairs": 100},
    ],
)
def test_a_mistake_in_a_filter_is_named(entry):
    with pytest.raises(UserError, match=r"cleaning\.0.*\w") as caught:
        config.resolve({"recipe": "laptop", "cleaning": [entry]})
    assert "\n" not in str(caught.value)
