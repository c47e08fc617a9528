"""The filters of the cleaning stage. Config lists them in order with their settings; the ledger counts what each one dropped.

Each filter is a polars expression over a table of pairs of one language with one pivot: which pairs to keep. What needs Python maps over
columns and is an expression too. `CHANGES` change the text instead, and drop nothing. Columns: `source, target, english` and
`source_folded, target_folded` (text), `source_language, target_language`. Languages are the FLORES-200 codes of source and target.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl

from ..common import language_id, languages
from ..common.scripts import in_script
from ..common.text import normal_form, script_of
from .alignment import evidence
from .near_duplicates import first_of_similar

Settings = dict[str, Any]
Languages = tuple[str, str]

SIDES = ("source", "target")
MARKUP = r"[<>\[\]{}|\\]|https?://|&\w+;|__|\*\*"
# Beyond these: bold and italic, headings, lists, rules, entities by number, signatures, addresses without a protocol, behaviour switches.
WIKI = r"''|^\s*==.*==\s*$|^\s*[*#:;]+|^-{4,}|&#\w+;|~~~|\bwww\.|\bmailto:|\b(ftp|irc|news)://|^#\w+|(^|\s)//\w"
PLACEHOLDER = r"%\(?\w*\)?[sd%]|\{\w*\}|\$\d|%\d"
SLACK = 8  # bytes added to both sides before their lengths are compared: short texts differ more by chance

DENSE = {"Hans", "Hant", "Jpan", "Hang"}  # a character of these carries about as much as two letters


def _both(condition: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    return condition(pl.col("source")) & condition(pl.col("target"))


def normalised(text: pl.Expr, code: str) -> pl.Expr:
    """`text.normal_form` for the script of a language."""
    return text.map_elements(lambda value: normal_form(value, script_of(code)), return_dtype=pl.String)


def normalise(_settings: Settings, codes: Languages) -> dict[str, pl.Expr]:
    """Both sides and the English message by `normalised`."""
    return {side: normalised(pl.col(side), code) for side, code in zip((*SIDES, "english"), (*codes, "eng_Latn"), strict=True)}


def length(settings: Settings, _codes: Languages) -> pl.Expr:
    """Characters on each side between `min` and `max`."""
    return _both(lambda text: text.str.len_chars().is_between(settings["min"], settings["max"]))


def ratio(settings: Settings, _codes: Languages) -> pl.Expr:
    """UTF-8 bytes of the longer side at most `max` times those of the shorter: bytes even out scripts better than characters do."""
    sizes = [pl.col(side).str.len_bytes() + SLACK for side in SIDES]
    return pl.max_horizontal(sizes) <= settings["max"] * pl.min_horizontal(sizes)


def median_ratio(settings: Settings, _codes: Languages) -> pl.Expr:
    """The target's bytes at most `max` times more or fewer than the source's lead to expect by the median ratio of all pairs here.

    With fewer than `min_pairs` there is no median to trust, and all pairs are kept.
    """
    source, target = (pl.col(side).str.len_bytes().cast(pl.Float64) for side in SIDES)
    median = (target / pl.when(source > 0).then(source)).median()
    sizes = [source * median + SLACK, target + SLACK]
    return (pl.len() < settings["min_pairs"]) | (pl.max_horizontal(sizes) <= settings["max"] * pl.min_horizontal(sizes))


def placeholders(_settings: Settings, _codes: Languages) -> pl.Expr:
    """The same placeholders (%s, {name}, $1) on both sides."""
    found = [pl.col(side).str.extract_all(PLACEHOLDER).list.sort() for side in SIDES]
    return found[0] == found[1]


def markup(settings: Settings, _codes: Languages) -> pl.Expr:
    """No markup, escapes or addresses on either side; with `wiki` none of a wiki's own either."""
    pattern = f"{MARKUP}|{WIKI}" if settings.get("wiki") else MARKUP
    return _both(lambda text: ~text.str.contains(pattern))


def copy(_settings: Settings, _codes: Languages) -> pl.Expr:
    """The two sides differ, and none is the English message in the place of another language's: catalogues fill their gaps like that."""
    keep = pl.col("source_folded") != pl.col("target_folded")
    for side in SIDES:
        keep &= (pl.col(f"{side}_language") == "eng_Latn") | pl.col(side).ne_missing(pl.col("english"))
    return keep


def letters(_settings: Settings, _codes: Languages) -> pl.Expr:
    """Each side has a letter."""
    return _both(lambda text: text.str.contains(r"\p{L}"))


def script(settings: Settings, codes: Languages) -> pl.Expr:
    """At least `min_share` of each side's letters are in the script of its language; simplified Chinese is no traditional."""
    source, target = (
        in_script(pl.col(side), languages.get(code).script, settings["min_share"]) for side, code in zip(SIDES, codes, strict=True)
    )
    return source & target


def mojibake(_settings: Settings, _codes: Languages) -> pl.Expr:
    """No side is UTF-8 that was read as another encoding (`GrÃ¼ÃŸe`), as ftfy finds it."""
    return _both(lambda text: text.map_batches(_well_encoded, return_dtype=pl.Boolean))


def _well_encoded(texts: pl.Series) -> pl.Series:
    import ftfy

    # Without this it takes "Â " for a broken blank, which is a word of Sango at the start of a sentence.
    settings = ftfy.TextFixerConfig(decode_inconsistent_utf8=False)
    return pl.Series([text.isascii() or ftfy.fix_encoding(text, settings) == text for text in texts], dtype=pl.Boolean)


def language(settings: Settings, codes: Languages) -> pl.Expr:
    """No side that is surely in another language than its own (`language_id.foreign`); texts of few letters are not judged."""
    keep = pl.lit(True)
    for side, code in zip(SIDES, codes, strict=True):
        if not language_id.unknown(code):
            keep &= pl.col(side).map_batches(partial(_own, code, settings), return_dtype=pl.Boolean)
    return keep


def _own(code: str, settings: Settings, texts: pl.Series) -> pl.Series:
    few = texts.str.count_matches(r"\p{L}") < settings["min_letters"]
    return pl.Series([short or not language_id.foreign(code, text) for short, text in zip(few, texts, strict=True)], dtype=pl.Boolean)


def duplicates(_settings: Settings, _codes: Languages) -> pl.Expr:
    """The first of all pairs whose two sides are the same after folding."""
    return pl.struct("source_folded", "target_folded").is_first_distinct()


def near_duplicates(settings: Settings, _codes: Languages) -> pl.Expr:
    """The first of all pairs that share `similarity` of their character n-grams; punctuation, case and digits do not count."""
    return _bare_pairs().map_batches(partial(_first_of_similar, settings), return_dtype=pl.Boolean)


def _first_of_similar(settings: Settings, pairs: pl.Series) -> pl.Series:
    return pl.Series(first_of_similar(zip(*pairs.struct.unnest(), strict=True), settings["similarity"]), dtype=pl.Boolean)


def alignment(settings: Settings, codes: Languages) -> pl.Expr:
    """No pair of which the others of the language say, by `margin` nats, that its sides do not belong together (`alignment.evidence`).

    With fewer than `min_pairs` there is nothing to learn that from, and all pairs are kept.
    """
    return (pl.len() < settings["min_pairs"]) | _bare_pairs().map_batches(partial(_aligned, settings, codes), return_dtype=pl.Boolean)


def _aligned(settings: Settings, codes: Languages, pairs: pl.Series) -> pl.Series:
    source, target = (side.to_list() for side in pairs.struct.unnest())
    sizes = [2 if languages.get(code).script in DENSE else 4 for code in codes]
    return pl.Series(evidence(source, target, (sizes[0], sizes[1])) > -settings["margin"], dtype=pl.Boolean)


def _bare_pairs() -> pl.Expr:
    """Both sides folded and without digits."""
    return pl.struct(pl.col(f"{side}_folded").str.replace_all(r"\d", "") for side in SIDES)


FILTERS: dict[str, Callable[[Settings, Languages], pl.Expr]] = {
    name.__name__: name
    for name in (
        *(length, ratio, median_ratio, placeholders, markup, copy, letters, script, mojibake),
        *(language, duplicates, near_duplicates, alignment),
    )
}
CHANGES: dict[str, Callable[[Settings, Languages], dict[str, pl.Expr]]] = {"normalise": normalise}


def unchecked(settings: Settings, codes: Languages, pairs: int) -> list[str]:
    """Why a filter says nothing of some or all of so many pairs: reasons for the ledger."""
    if settings["filter"] == "language":
        return [reason for code in codes if (reason := language_id.unknown(code))]
    if settings["filter"] in ("median_ratio", "alignment") and pairs < settings["min_pairs"]:
        return [f"{pairs} pairs of {codes[0]} and {codes[1]}, fewer than {settings['min_pairs']}"]
    return []
