"""The filters of the cleaning stage: each says which pairs to keep, as a polars expression over `source` and `target`.

Config lists them in order with their settings; the ledger counts what each one dropped.
"""

from collections.abc import Callable
from typing import Any

import polars as pl

from ..common.scripts import letters_of

SIDES = ("source", "target")
MARKUP = r"[<>\[\]{}|\\]|https?://|&\w+;|__|\*\*"
PLACEHOLDER = r"%\(?\w*\)?[sd%]|\{\w*\}|\$\d|%\d"


def _both(condition: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    return condition(pl.col("source")) & condition(pl.col("target"))


def length(settings: dict[str, Any], _scripts: tuple[str, str]) -> pl.Expr:
    """Characters on each side between `min` and `max`."""
    return _both(lambda text: text.str.len_chars().is_between(settings["min"], settings["max"]))


def ratio(settings: dict[str, Any], _scripts: tuple[str, str]) -> pl.Expr:
    """UTF-8 bytes of the longer side at most `max` times those of the shorter: bytes even out scripts better than characters do."""
    sizes = [pl.col(side).str.len_bytes() + 8 for side in SIDES]
    return pl.max_horizontal(sizes) <= settings["max"] * pl.min_horizontal(sizes)


def placeholders(_settings: dict[str, Any], _scripts: tuple[str, str]) -> pl.Expr:
    """The same placeholders (%s, {name}, $1) on both sides."""
    found = [pl.col(side).str.extract_all(PLACEHOLDER).list.sort() for side in SIDES]
    return found[0] == found[1]


def markup(_settings: dict[str, Any], _scripts: tuple[str, str]) -> pl.Expr:
    """No markup, escapes or addresses on either side."""
    return _both(lambda text: ~text.str.contains(MARKUP))


def copy(_settings: dict[str, Any], _scripts: tuple[str, str]) -> pl.Expr:
    """The two sides differ, and none is the English message in the place of another language's: catalogues fill their gaps like that."""
    keep = pl.col("source_folded") != pl.col("target_folded")
    for side in SIDES:
        keep &= (pl.col(f"{side}_language") == "eng_Latn") | pl.col(side).ne_missing(pl.col("english"))
    return keep


def letters(_settings: dict[str, Any], _scripts: tuple[str, str]) -> pl.Expr:
    """Each side has a letter."""
    return _both(lambda text: text.str.contains(r"\p{L}"))


def script(settings: dict[str, Any], scripts: tuple[str, str]) -> pl.Expr:
    """At least `min_share` of each side's letters are in the script of its language."""
    keep = pl.lit(True)
    for side, code in zip(SIDES, scripts, strict=True):
        text = pl.col(side)
        own = text.str.count_matches(letters_of(code))
        keep &= own >= settings["min_share"] * text.str.count_matches(r"\p{L}")
    return keep


def duplicates(_settings: dict[str, Any], _scripts: tuple[str, str]) -> pl.Expr:
    """The first of all pairs whose two sides are the same after folding."""
    return pl.struct("source_folded", "target_folded").is_first_distinct()


FILTERS: dict[str, Callable[[dict[str, Any], tuple[str, str]], pl.Expr]] = {
    name.__name__: name for name in (length, ratio, placeholders, markup, copy, letters, script, duplicates)
}
