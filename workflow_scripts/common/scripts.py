"""Scripts of languages.tsv as Unicode names them, and simplified and traditional Chinese told apart."""

from functools import cache

import polars as pl

# Those that are not one Unicode script: what stands inside `\p{sc=...}`.
UNICODE_SCRIPTS = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani}\\p{sc=Hira}\\p{sc=Kana", "Kore": "Hang}\\p{sc=Hani"}
# National standards of 1980 and 1984, as Python has them: characters of the one alone are written in that way only.
STANDARDS = {"Hans": "gb2312", "Hant": "big5"}


def letters_of(script: str) -> str:
    """A regular expression of polars for one letter of the script. Simplified and traditional Chinese are not told apart."""
    return rf"[\p{{sc={UNICODE_SCRIPTS.get(script, script)}}}&&\p{{L}}]"


@cache
def forms_of(script: str) -> str:
    """A regular expression for one character that only simplified (Hans) or only traditional Chinese (Hant) has."""
    other = next(name for name in STANDARDS if name != script)
    own, others = (_characters(STANDARDS[name]) for name in (script, other))
    return f"[{''.join(sorted(own - others))}]"


@cache
def _characters(encoding: str) -> frozenset[str]:
    return frozenset(char for char in map(chr, range(0x4E00, 0xA000)) if char.encode(encoding, "ignore"))


def in_script(text: pl.Expr, script: str, share: float) -> pl.Expr:
    """At least that share of a text's letters are in the script; of Chinese, no more in the other forms than in its own."""
    found = text.str.count_matches(letters_of(script)) >= share * text.str.count_matches(r"\p{L}")
    if script not in STANDARDS:
        return found
    other = next(name for name in STANDARDS if name != script)
    return found & (text.str.count_matches(forms_of(other)) <= text.str.count_matches(forms_of(script)))
