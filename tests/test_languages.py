"""The registry of languages: complete, sorted, without double aliases, and right against the archives that are at hand."""

import json
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from workflow_scripts.common import languages, tables
from workflow_scripts.common.cli import UserError

ALIASES = {  # and how many languages have one at least
    "flores101": 99, "flores_plus": 204, "belebele": 117, "belebele_latn": 5, "ntrex": 100, "tico19": 36, "wmt": 9,
    "mediawiki": 100, "scratch": 71, "django": 71, "wordpress": 57, "cldr": 100, "udhr": 100, "iso639": 197,
}  # fmt: skip
DATA = tables.ROOT.parent / "shared" / "data"

# First words of Unicode character names, by ISO 15924 code.
LETTERS = {
    "Arab": "ARABIC", "Armn": "ARMENIAN", "Beng": "BENGALI", "Cyrl": "CYRILLIC", "Deva": "DEVANAGARI", "Ethi": "ETHIOPIC",
    "Geor": "GEORGIAN", "Grek": "GREEK", "Gujr": "GUJARATI", "Guru": "GURMUKHI", "Hang": "HANGUL", "Hans": "CJK", "Hant": "CJK",
    "Hebr": "HEBREW", "Jpan": "HIRAGANA KATAKANA CJK", "Khmr": "KHMER", "Knda": "KANNADA", "Laoo": "LAO", "Latn": "LATIN",
    "Mlym": "MALAYALAM", "Mtei": "MEETEI", "Mymr": "MYANMAR", "Nkoo": "NKO", "Olck": "OL", "Orya": "ORIYA", "Sinh": "SINHALA",
    "Taml": "TAMIL", "Telu": "TELUGU",
    "Tfng": "TIFINAGH", "Thai": "THAI", "Tibt": "TIBETAN",
}  # fmt: skip
# A few everyday characters whose simplified and traditional forms differ.
SIMPLIFIED, TRADITIONAL = "国权这个为时来会发产", "國權這個為時來會發產"


def in_script(text: str, script: str) -> bool:
    """Whether most letters of the text belong to the script; Hans and Hant also need the right character forms."""
    letters = Counter(unicodedata.name(char, "?").split()[0] for char in text if char.isalpha())
    kept = sum(count for name, count in letters.items() if name in LETTERS[script].split())
    simplified, traditional = (sum(map(text.count, chars)) for chars in (SIMPLIFIED, TRADITIONAL))
    forms = {"Hans": simplified >= traditional, "Hant": traditional >= simplified}
    return kept > sum(letters.values()) / 2 and forms.get(script, True)


def members(archive: str, suffix: str) -> set[str]:
    """File stems of one kind in an archive beside the project."""
    path = DATA / archive
    if not path.exists():
        pytest.skip(f"{archive} is not beside the project")
    with tarfile.open(path) as tar:
        names = [PurePosixPath(name) for name in tar.getnames()]
    return {name.stem for name in names if name.suffix == suffix}


def test_all_languages_are_there_and_sorted() -> None:
    codes = list(languages.registry())
    assert len(codes) >= 204
    assert codes == sorted(codes)


def test_script_is_the_end_of_the_code() -> None:
    assert all(row.code[4:] == row.script for row in languages.registry().values())


def test_autonyms_are_in_their_script_and_tell_languages_apart() -> None:
    rows = languages.registry().values()
    assert [row.code for row in rows if not in_script(row.autonym, row.script)] == []
    for names in ([row.autonym for row in rows], [row.name for row in rows]):
        assert [name for name, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize("column", ALIASES)
def test_each_alias_leads_to_one_language(column: str) -> None:
    rows = tables.read("languages")
    given = [row[column] for row in rows.values() if row[column]]
    assert [alias for alias, count in Counter(given).items() if count > 1] == []
    resolved = languages.by_alias(column)
    assert len(resolved) == len(given) >= ALIASES[column]
    assert all(rows[code][column] == alias for alias, code in resolved.items())


@pytest.mark.parametrize(
    ("column", "alias", "code"),
    [
        ("mediawiki", "sq", "als_Latn"),
        ("mediawiki", "fa", "pes_Arab"),
        ("mediawiki", "ps", "pbt_Arab"),
        ("mediawiki", "sr-ec", "srp_Cyrl"),
        ("mediawiki", "zgh", "tzm_Tfng"),
        ("scratch", "fil", "tgl_Latn"),
        ("scratch", "zh-tw", "zho_Hant"),
        ("scratch", "pt-br", "por_Latn"),
        ("django", "nb", "nob_Latn"),
        ("cldr", "no", "nob_Latn"),
        ("wordpress", "ms_MY", "zsm_Latn"),
        ("iso639", "sq", "als_Latn"),
        ("iso639", "ms", "zsm_Latn"),
        ("iso639", "zh", "zho_Hans"),
        ("udhr", "cmn_hans", "zho_Hans"),
        ("ntrex", "fas", "pes_Arab"),
        ("tico19", "ku", "kmr_Latn"),
        ("tico19", "ti", "tir_Ethi"),
        ("wmt", "zh", "zho_Hans"),
        ("belebele_latn", "urd_Latn", "urd_Arab"),
        ("flores101", "zho_simpl", "zho_Hans"),
        ("flores_plus", "apc_Arab:sout3123", "ajp_Arab"),
    ],
)
def test_known_traps(column: str, alias: str, code: str) -> None:
    assert languages.by_alias(column)[alias] == code


@pytest.mark.parametrize(
    ("column", "alias"),
    [
        ("mediawiki", "als"),
        ("mediawiki", "mni"),
        ("udhr", "ckb"),
        ("udhr", "032"),
        ("udhr", "068"),
        ("udhr", "yue"),
        ("ntrex", "nso"),
        ("tico19", "din"),
    ],
)
def test_texts_that_are_not_what_their_name_says_are_left_out(column: str, alias: str) -> None:
    assert alias not in languages.by_alias(column)


def test_iso_codes_of_a_language_and_of_its_macrolanguage_are_the_same() -> None:
    codes = languages.by_name("iso639")
    pairs = {"sw": "swh", "zh": "cmn", "fa": "pes", "et": "ekk", "tw": "twi", "ak": "aka", "ajp": "ajp", "apc": "apc", "ms": "zsm"}
    assert all(codes[one] == codes[other] for one, other in pairs.items())
    assert codes["zho"] == "zho_Hans" and codes["zh_TW"] == "zho_Hant" and codes["twi"] == "twi_Latn"
    assert all(codes[name] == code for name, code in languages.by_alias("iso639").items())
    assert languages.by_name("django") == languages.by_alias("django")


def test_scripts_without_spaces_are_not_split_at_spaces() -> None:
    spaceless = {"Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"}
    for row in languages.registry().values():
        assert (row.bleu_tokenizer in ("zh", "char")) == (row.script in spaceless), row.code


def test_every_language_of_the_flores_archive_is_there() -> None:
    assert members("flores200_dataset.tar.xz", ".devtest") <= set(languages.registry())


def test_belebele_archive_resolves() -> None:
    assert members("belebele.tar.xz", ".jsonl") <= set(languages.by_alias("belebele"))
    assert len(languages.by_alias("belebele")) >= 117  # 122 variants less five romanised ones


def test_udhr_texts_are_in_the_script_of_their_language() -> None:
    files = sorted((tables.ROOT / "results/benchmarks/udhr").glob("*.json"))
    if not files:
        pytest.skip("results/benchmarks/udhr is not made yet")
    for path in files:
        text = " ".join(item["text"] for item in json.loads(path.read_text(encoding="utf-8"))["items"])
        assert not text or in_script(text, languages.get(path.stem).script), path.name


def test_in_script_can_fail() -> None:
    assert not in_script("slk", "Cyrl")
    assert not in_script("人人有这个权", "Hant")
    assert in_script("人人有這個權", "Hant")


def test_unknown_code_names_near_ones() -> None:
    with pytest.raises(UserError, match=r"deu_Latin is not in .*German is deu_Latn"):
        languages.get("deu_Latin")


def broken(folder: Path, **changes: str) -> Path:
    """A copy of the table with only the German row, some of its cells changed or added."""
    row = tables.row("languages", "deu_Latn") | changes
    (folder / "languages.tsv").write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n", encoding="utf-8")
    return folder


def test_the_row_itself_is_accepted(tmp_path: Path) -> None:
    assert list(tables.read("languages", broken(tmp_path))) == ["deu_Latn"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dialect": "Saxon"}, "dialect"),
        ({"script": "Cyrl"}, "script: 'Latn' was expected"),
        ({"autonym": ""}, "autonym"),
        ({"resource_class": "huge"}, "resource_class"),
        ({"flores_plus": "deu"}, "flores_plus"),
        ({"bleu_tokenizer": "ja-mecab"}, "bleu_tokenizer"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=rf"languages.tsv line 2 \(deu_Latn\).*{message}"):
        tables.read("languages", broken(tmp_path, **changes))


@pytest.mark.parametrize(
    "change", [lambda whole: b"\xef\xbb\xbf" + whole, lambda whole: whole.replace(b"\n", b"\r\n\r\n"), lambda whole: whole + b"\n\n"]
)
def test_what_a_spreadsheet_leaves_in_a_table_changes_nothing(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = broken(tmp_path) / "languages.tsv"
    path.write_bytes(change(path.read_bytes()))
    assert tables.read("languages", tmp_path) == {"deu_Latn": tables.row("languages", "deu_Latn")}


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), ("code\tname\n\u00e9".encode("latin-1"), "not a table in UTF-8")])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "languages.tsv").write_bytes(content)
    with pytest.raises(UserError, match=f"languages.tsv.*{message}"):
        tables.read("languages", tmp_path)


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "languages.tsv").write_text("code\tname\ndeu_Latn\tGerman\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"autonym, script, .* are missing"):
        tables.read("languages", tmp_path)
