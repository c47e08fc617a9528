"""The wordings of the translation request: sound, different from one another, and harmless to what they carry."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from workflow_scripts.common import languages, prompts, tables
from workflow_scripts.common.cli import UserError

TEMPLATES = tables.read("templates")
GREEK_AND_UKRAINIAN = {
    "eng_Latn": ("Greek", "Ukrainian"),
    "zho_Hans": ("希腊语", "乌克兰语"),
    "deu_Latn": ("Griechisch", "Ukrainisch"),
    "rus_Cyrl": ("греческий", "украинский"),
    "arb_Arab": ("اليونانية", "الأوكرانية"),
    "hin_Deva": ("यूनानी", "यूक्रेनियाई"),
    "tha_Thai": ("ภาษากรีก", "ภาษายูเครน"),
    "ind_Latn": ("ahasa Yunani", "ahasa Ukraina"),
    "swh_Latn": ("Kigiriki", "Kiukraini"),
    "spa_Latn": ("griego", "ucraniano"),
    "fra_Latn": ("grec", "ukrainien"),
    "tur_Latn": ("Yunanca", "Ukraynaca"),
}
WRITTEN = [language for language in GREEK_AND_UKRAINIAN if language != "eng_Latn"]
PIVOTS = {"eng_Latn", "zho_Hans"}


def test_there_are_enough_wordings_in_enough_languages() -> None:
    count = Counter(row["language"] for row in TEMPLATES.values())
    assert len(TEMPLATES) >= 30
    assert count["eng_Latn"] >= 10
    assert count["zho_Hans"] >= 8
    assert len([code for code in count if code not in PIVOTS and count[code] >= 2]) >= 10
    assert set(count) <= set(languages.registry())


def test_the_default_comes_first() -> None:
    assert next(iter(TEMPLATES)) == "en-labelled"
    asked = prompts.request("en-labelled", "deu_Latn", "eng_Latn", "Guten Tag!")
    assert asked == "Translate from German to English.\nGerman: Guten Tag!\nEnglish:"


def test_few_shot_examples_end_in_an_empty_line() -> None:
    asked = prompts.few_shot("en-02", "deu_Latn", "eng_Latn", [("Ja.", "Yes."), ("Nein.", "No.")], "Gut.")
    assert asked == "German: Ja.\nEnglish: Yes.\n\nGerman: Nein.\nEnglish: No.\n\nGerman: Gut.\nEnglish:"


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_wording_names_both_languages_and_carries_the_text_once(template: str) -> None:
    wording = TEMPLATES[template]["text"]
    assert wording.count("{text}") == 1
    assert "{source}" in wording
    assert "{target}" in wording
    asked = prompts.request(template, "ell_Grek", "ukr_Cyrl", "§§§")
    assert asked.count("§§§") == 1
    assert all(name in asked for name in GREEK_AND_UKRAINIAN[TEMPLATES[template]["language"]])
    assert asked == asked.strip()
    assert "\\" not in asked


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("text", ["{text}", "say {target} and {source}", r"C:\new\1 \g<0>", "{}", "two\nlines", "  padded  "])
def test_the_text_comes_out_unchanged(template: str, text: str) -> None:
    before, after = prompts.request(template, "hau_Latn", "tam_Taml", "\0").split("\0")
    assert prompts.request(template, "hau_Latn", "tam_Taml", text) == before + text + after


@pytest.mark.parametrize(
    ("template", "first_line"),
    [
        ("zh-01", "请将下面的文本从英语翻译成德语。"),
        ("hi-01", "कृपया निम्नलिखित पाठ का अंग्रेज़ी से जर्मन में अनुवाद कीजिए।"),
        ("th-01", "โปรดแปลข้อความต่อไปนี้จากภาษาอังกฤษเป็นภาษาเยอรมัน"),
        ("id-01", "Tolong terjemahkan teks berikut dari bahasa Inggris ke bahasa Jerman."),
        ("sw-01", "Tafadhali tafsiri maandishi yafuatayo kutoka Kiingereza kwenda Kijerumani."),
        ("tr-01", "Lütfen aşağıdaki metni çevirin. Kaynak dil: İngilizce, hedef dil: Almanca."),
    ],
)
def test_languages_are_named_in_the_language_of_the_wording(template: str, first_line: str) -> None:
    assert prompts.request(template, "eng_Latn", "deu_Latn", "Hello.").split("\n")[0] == first_line


@pytest.mark.parametrize("language", WRITTEN)
def test_no_two_languages_share_a_name_and_few_keep_their_own(language: str) -> None:
    rows = languages.registry().values()
    names = [prompts.language_name(row.code, language) for row in rows]
    assert len(set(names)) == len(names)
    own = {row.code for row, name in zip(rows, names, strict=True) if name == row.autonym}
    assert own >= {"acm_Arab", "azb_Arab", "cjk_Latn", "taq_Tfng"}  # of which CLDR has no name
    assert len(own) < 30


def test_scripts_are_told_apart() -> None:
    in_chinese = {code: prompts.language_name(code, "zho_Hans") for code in ("zho_Hans", "zho_Hant", "ace_Arab", "ace_Latn", "arb_Arab")}
    assert list(in_chinese.values()) == ["简体中文", "繁体中文", "亚齐语（阿拉伯文）", "亚齐语（拉丁文）", "阿拉伯语"]
    assert prompts.language_name("arb_Latn", "fra_Latn") == "arabe (latin)"
    assert prompts.language_name("prs_Arab", "deu_Latn") == "Dari"


def test_a_language_that_cldr_does_not_write_in_uses_own_names() -> None:
    assert prompts.language_name("deu_Latn", "acm_Arab") == "Deutsch"


def test_english_wordings_name_languages_as_the_table_does_and_without_babel() -> None:
    for name, row in TEMPLATES.items():
        if row["language"] == "eng_Latn":
            for language in languages.registry().values():
                wording = row["text"].replace("\\n", "\n").replace("{source}", "German").replace("{target}", language.name)
                expected = wording.replace("{terms}", "").replace("{text}", "§")
                assert prompts.request(name, "deu_Latn", language.code, "§") == expected
    command = (
        "import sys; from workflow_scripts.common import prompts; prompts.request('en-01', 'deu_Latn', 'swh_Latn', 'x'); "
        "sys.exit('babel' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", command], cwd=tables.ROOT).returncode == 0


def test_every_wording_asks_differently() -> None:
    asked = [prompts.request(template, "nld_Latn", "zul_Latn", "Goed.") for template in TEMPLATES]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    "text",
    [
        "{source}: {text}",  # no target
        "{target}: {text}",  # no source
        "{source} to {target}:",  # no text
        "{source} {text} {text} {target}:",
        "{source} {text} {target} {style}:",
        "{source} {text} {target}: ",
        r"{source} {text} {target}:\n",
        r"{source}\t{text} {target}:",
        "",
    ],
)
def test_unsound_wordings_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "templates.tsv").write_text(f"template\tlanguage\ttext\nen-99\teng_Latn\t{text}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"templates.tsv line 2 \(en-99\): text"):
        tables.read("templates", tmp_path)


def test_a_sound_wording_is_accepted(tmp_path: Path) -> None:
    row = "en-99\teng_Latn\t{source} “{text}”\\n{target}:\n"
    (tmp_path / "templates.tsv").write_text("template\tlanguage\ttext\n" + row, encoding="utf-8")
    assert list(tables.read("templates", tmp_path)) == ["en-99"]


def test_unknown_template_names_near_ones() -> None:
    with pytest.raises(UserError, match=r"en-label is not in .*en-labelled"):
        prompts.request("en-label", "deu_Latn", "eng_Latn", "x")
