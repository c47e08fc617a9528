"""A word that is no code of languages.tsv: what it means, said in one message."""

import pytest

from workflow_scripts.common import languages, tables
from workflow_scripts.common.cli import UserError

MEANT = {
    "deu_Latn": ["ger_Latn", "ger", "de", "deu", "German", "Deutsch", "deu_Latin", "DEU_LATN", "de-AT", "german", " deu_Latn"],
    "tgl_Latn": ["fil_Latn", "fil", "Filipino", "tl"],
    "swh_Latn": ["Swahili", "sw", "swa", "swa_Latn", "Kiswahili"],
    "zho_Hans": ["zh", "zh-CN", "zh_SG", "cmn_Hans", "cmn", "chi", "zho", "Chinese", "简体中文", "zh-Hans-CN"],
    "zho_Hant": ["zh-TW", "zh_HK", "cmn-Hant", "繁體中文", "zh-Hant"],
    "eng_Latn": ["en", "en-US", "English", "eng"],
    "heb_Hebr": ["iw", "he", "heb"],
    "ind_Latn": ["in", "id"],
    "por_Latn": ["pt-BR", "pt", "Brazilian Portuguese"],
    "arz_Arab": ["arz", "Egyptian Arabic"],
    "arb_Arab": ["ara_Arab", "ar", "Arabic", "ara"],
    "srp_Cyrl": ["srp_Latn", "sr", "sr-Latn"],
    "nob_Latn": ["no", "nor", "nb", "Norwegian"],
    "als_Latn": ["sq", "alb", "sqi_Latn", "Albanian"],
    "pes_Arab": ["fa", "fas", "per", "Persian", "fa-IR"],
    "prs_Arab": ["fa_AF", "Dari"],
    "fra_Latn": ["fre", "fr_CA", "français"],
    "zsm_Latn": ["ms", "msa", "Malay"],
    "aka_Latn": ["ak"],
    "twi_Latn": ["tw", "twi"],
}


@pytest.mark.parametrize(("code", "word"), [(code, word) for code, words in MEANT.items() for word in words])
def test_what_a_word_means_comes_first(code: str, word: str) -> None:
    with pytest.raises(UserError) as caught:
        languages.get(word)
    assert str(caught.value) == f"{word} is not in resources/languages.tsv. {languages.get(code).name} is {code}."


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("Germn", r"\. Did you mean deu_Latn \(German\)"),
        ("spanisch", r"\. Did you mean spa_Latn \(Spanish\)"),
        ("bre_Latn", r"\. Breton has no row there\. docs/guide\.md says how to add a language\."),
        ("Cornish", r"\. Cornish has no row there"),
        ("qqq", r"languages\.tsv\. docs/guide\.md says how"),
        ("", r"docs/guide\.md says how"),
    ],
)
def test_other_words(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tables.row("languages", word)
