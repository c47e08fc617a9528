"""Language tags as the world writes them, and which row of languages.tsv they mean: `zh-CN`, `zh_hant_hk`, `sr@latin`, `de_AT.UTF-8`.

A tag is taken apart as BCP 47 and gettext have it, and read with Unicode's CLDR (through babel): other names of a
language (`iw` is `he`), and the script that a region implies (`zh-TW` is traditional, `sr-ME` Latin). A row is found by
language and script together, so text in another script is never taken for a row's: `sr-Latn` is not `srp_Cyrl`. What
is not understood is no tag, rather than a guess.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from babel import Locale
from babel.core import get_global

ANY = r"[A-Za-z]{2,3}(?:[-_@][A-Za-z0-9]+)*"  # what looks like a tag
OPEN = ("code", "iso639")  # columns of languages.tsv that are no single project's: there any spelling counts

# What gettext's modifiers, OPUS, Microsoft and FLORES-101 call a script, beside CLDR's own names of scripts.
SCRIPTS = {"chs": "Hans", "cht": "Hant", "simpl": "Hans", "simp": "Hans", "trad": "Hant", "iqtelif": "Latn"}
SCRIPTS |= {"ijekavianlatin": "Latn", "ekavianlatin": "Latn"}
# Subtags that change neither language nor script: of gettext and of WordPress.
PLAIN = {"euro", "quot", "boldquot", "formal", "informal", "ao90", "ijekavian", "ekavian"}
PHONETIC = re.compile("romanization|phonetic|latin", re.IGNORECASE)  # in the name of a variant: it is another script
SAME_SCRIPT = {"Kore": "Hang", "Aran": "Arab"}  # as languages.tsv writes them
# Languages that others are written behind (RFC 5646, extlang), and the scripts of those.
EXTENDED = {"ar": ("Arab",), "zh": ("Hans", "Hant"), "ms": ("Latn",), "sw": ("Latn",), "uz": ("Latn",), "lv": ("Latn",)}
BILINGUAL = "ze"  # OPUS: subtitles in Chinese and English at once; `ze_zh` and `ze_en` are their parts


class Tag(NamedTuple):
    """A tag's parts: language in lower case, script with a capital, region in capitals; "" for none."""

    language: str
    script: str = ""
    region: str = ""


def plain(tag: str) -> str:
    """A tag without the differences that never mean anything."""
    return tag.strip().lower().replace("_", "-")


@cache
def parse(text: str) -> Tag | None:
    """The parts of a tag; None for what is no tag, or has a part that may mean another script."""
    base, _, modifier = text.strip().lower().partition("@")
    first, *rest = re.split("[-_]", base.partition(".")[0])
    if first == BILINGUAL and rest:
        first, *rest = rest
    if not re.fullmatch("[a-z]{2,3}", first):
        return None
    tag = Tag(first)
    for place, part in enumerate([*rest, *([modifier] if modifier else [])]):
        if part in ("x", "u"):  # private use and extensions say nothing of the language
            break
        found = _with(tag, part, place)
        if found is None:
            return None
        tag = found
    return tag


def _with(tag: Tag, part: str, place: int) -> Tag | None:
    if script := _script(part):
        return None if tag.script else tag._replace(script=script)
    if _is_region(part):
        return None if tag.region else tag._replace(region=part.upper())
    if part in PLAIN:
        return tag
    if place == 0 and tag.language in EXTENDED and re.fullmatch("[a-z]{3}", part):
        # `zh-yue`, `ar-arz`: the second is the language. But `zh-min-nan` is not Minangkabau, which has another script.
        return Tag(part) if _likely(canonical(part).language) in EXTENDED[tag.language] else None
    name = Locale("en").variants.get(part.upper(), "")
    return tag if name and not PHONETIC.search(name) else None


@cache
def _script_names() -> dict[str, str]:
    names = {name.lower(): code for code, name in Locale("en").scripts.items()}
    return names | SCRIPTS


def _script(part: str) -> str:
    code = part.title() if part.title() in Locale("en").scripts else _script_names().get(part, "")
    return SAME_SCRIPT.get(code, code)


def _is_region(part: str) -> bool:
    if part.isdecimal():
        return len(part) == 3
    return len(part) == 2 and (part.upper() in Locale("en").territories or part.upper() in get_global("territory_aliases"))


def canonical(language: str) -> Tag:
    """A language subtag as CLDR calls it, with the script or region that its name stands for: `sh` is sr-Latn."""
    return _split(get_global("language_aliases").get(language, language))


def _split(name: str) -> Tag:
    language, *parts = name.split("_")
    script = next((part for part in parts if len(part) == 4), "")
    return Tag(language, script, next((part for part in parts if len(part) < 4), ""))


def _likely(language: str, region: str = "") -> str:
    """The script that a language is most often written in, in a region; "" where CLDR does not know it."""
    name = f"{language}_{region}" if region else language
    script = _split(get_global("likely_subtags").get(name, "")).script
    return SAME_SCRIPT.get(script, script)


def implied_script(tag: Tag) -> str:
    """The script that a tag names or that its region implies; "" where it is the usual one of the language."""
    known = canonical(tag.language)
    if script := tag.script or known.script:
        return script
    region = tag.region or known.region
    usual, there = _likely(known.language), _likely(known.language, region)
    return there if region and there != usual else ""


class Codes:
    """The codes of one column of languages.tsv, and what other spellings of a tag mean among them.

    `languages`: the column's code -> FLORES-200 code. `names`: FLORES-200 code -> other tags of that row, the usual one
    first; a tag without script and region is given to the row of the usual script only. Without `names`, a code differs
    in case and in `-` or `_` at most: a project's column lists what that project calls its languages, and what it does
    not list is something else.
    """

    def __init__(self, languages: Mapping[str, str], names: Mapping[str, Sequence[str]] | None = None) -> None:
        self.languages = dict(languages)
        self._exact = {plain(code): code for code in reversed(self.languages)}
        self._rows: dict[str, dict[str, str]] = {}  # subtag of a language -> script, or "" for the usual one -> code
        self._found: dict[str, str | None] = {}
        if names is not None:
            own = {code: [code, *names.get(language, ())] for code, language in self.languages.items()}
            for level in range(max(map(len, own.values()), default=0)):
                for code, tags in own.items():
                    if level < len(tags) and (tag := parse(tags[level])):
                        self._add(code, tag)
            for code, tags in own.items():
                for tag in filter(None, map(parse, tags)):
                    known = canonical(tag.language)
                    name = f"{known.language}-{known.region}" if known.region else known.language
                    self._add(code, Tag(name, tag.script or known.script, tag.region))

    def _add(self, code: str, tag: Tag) -> None:
        scripts = self._rows.setdefault(tag.language, {})
        scripts.setdefault(self.languages[code].partition("_")[2], code)
        if not tag.script and not tag.region:
            scripts.setdefault("", code)

    def find(self, text: str) -> str | None:
        """The column's code that a tag means; None for one of no row, and for what is no tag."""
        if text not in self._found:
            self._found[text] = self._exact.get(plain(text)) or self._spelling(text)
        return self._found[text]

    def _spelling(self, text: str) -> str | None:
        tag = parse(text) if self._rows else None
        if tag is None:
            return None
        known = canonical(tag.language)
        subtags = [f"{tag.language}-{tag.region}", tag.language]
        # Dari is `prs`, which CLDR calls `fa-AF`; and `swc` is `sw-CD` there, but another language than `sw`.
        subtags += [f"{known.language}-{known.region or tag.region}", *([] if known.region else [known.language])]
        scripts = next((self._rows[one] for one in subtags if one in self._rows), {})
        return scripts.get(implied_script(tag))

    def is_exact(self, text: str) -> bool:
        """Whether a tag is the column's own code but for case and separators."""
        return plain(text) in self._exact
