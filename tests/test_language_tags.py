"""Tags as OPUS, gettext, translation memories and operating systems write them lead to the right row, or to none."""

import pytest

from workflow_scripts.common import languages

TAKEN = {
    "zho_Hans": "zh zho chi cmn zh-CN zh_CN ZH-cn zh-Hans zh-Hans-CN zh-SG zh_cn ze_zh zh-CHS zho_simpl zh-cmn-Hans zho_Hans",
    "zho_Hant": "zh-TW zh_tw zh-Hant zh-HK zh-MO zh-CHT zh-Hant-HK zho_trad zh_TW.Big5",
    "yue_Hant": "yue yue-HK zh-yue",
    "por_Latn": "pt pt-BR pt_br pt-PT pt_BR.UTF-8 por",
    "srp_Cyrl": "sr sr_RS sr-Cyrl sr-Cyrl-RS sr@cyrillic sr@ijekavian srp",
    "uzn_Latn": "uz uz-Latn uz_UZ uzb uz@latin",
    "eng_Latn": "en en-US en_GB en@quot ze_en en-001 eng EN",
    "nob_Latn": "nb no nb_NO no_NO nor nob",
    "heb_Hebr": "he iw iw_IL heb",
    "tgl_Latn": "tl fil fil-PH tgl",
    "ind_Latn": "id in ind",
    "ydd_Hebr": "yi ji yid",
    "cat_Latn": "ca ca@valencia ca-ES-valencia",
    "deu_Latn": "de de-AT de_AT de_DE.UTF-8@euro de_DE_formal de-1901 de-x-formal ger deu",
    "bel_Cyrl": "be be-tarask be-x-old",
    "spa_Latn": "es es-419 es_MX",
    "arb_Arab": "ar arb ar-EG ara",
    "arb_Latn": "ar-Latn arb_Latn",
    "arz_Arab": "arz ar-arz",
    "pes_Arab": "fa fa-IR pes per",
    "prs_Arab": "prs fa-AF",
    "kas_Deva": "ks-Deva ks_IN@devanagari",
    "kas_Arab": "ks ks-Arab",
    "crh_Latn": "crh crh-UA",
    "tzm_Tfng": "tzm tzm-MA",
    "mni_Beng": "mni mni-Beng",
    "kor_Hang": "ko ko-KR ko-Kore kor_Hang",
    "ace_Arab": "ace-Arab",
    "ace_Latn": "ace ace_Latn",
    "swh_Latn": "sw swa swh sw-KE",
    "zsm_Latn": "ms zsm ms-MY msa",
    "ajp_Arab": "ajp",
    "twi_Latn": "tw twi",
    "aka_Latn": "ak aka",
}
# Another script, another language, or no tag.
NOT_TAKEN = {
    "script": "sr-Latn sr@latin sr_Latn_RS sr-ME sh cnr sr@ijekavianlatin uz_Cyrl uz@cyrillic uz-AF az-Cyrl az_IR kk-CN pa-PK sd-IN mn-CN",
    "other script": "mni_Mtei zh-Latn zh-pinyin yue-CN ja-Hira ja-Latn ku-Arab be@latin tt_RU@iqtelif en@shaw ms-Arab",
    "language": "zh-min-nan zh_classical wuu swc gsw nds la tlh und mul",
    "no tag": "C POSIX german id-card x zh-Hans-Hant en-XQ README 12",
}


@pytest.mark.parametrize(("code", "tag"), [(code, tag) for code, tags in TAKEN.items() for tag in tags.split()])
def test_a_tag_leads_to_its_row(code, tag):
    codes = languages.codes("iso639")
    found = codes.find(tag)
    assert found is not None and codes.languages[found] == code
    assert languages.codes("code").find(tag) == code or tag == "zh_TW.Big5"


@pytest.mark.parametrize("tag", " ".join(NOT_TAKEN.values()).split())
def test_what_is_another_language_is_not_taken(tag):
    assert languages.codes("iso639").find(tag) is None


def test_every_row_is_found_by_its_own_codes():
    codes = languages.codes("iso639")
    for code, row in languages.registry().items():
        for tag in (code, code.replace("_", "-").upper(), row.iso639 or code):
            assert codes.languages[codes.find(tag)] == code, tag
    assert {codes.languages[codes.find(tag)] for tag in languages.by_name("iso639")} >= set(languages.by_name("iso639").values())
