"""Names and codes of languages in Unicode's CLDR (through babel): what a language is called in another one, and what a code means.

Only wordings in other languages than English and messages about wrong codes ask for it, so babel is imported where it is used.
"""

from collections import Counter
from functools import cache

from . import languages

FULL_WIDTH = ("Hans", "Hant", "Jpan")  # scripts whose brackets are full-width


def canonical(language: str) -> str:
    """CLDR's own code of a language: ger, deu -> de; cmn -> zh; what it does not know stays as it is."""
    from babel.core import get_global

    found = get_global("language_aliases").get(language)
    return str(found[0] if isinstance(found, list) else found) if found else language


def likely_script(language: str, territory: str) -> str:
    """The script that a language is usually written in there (zh, TW -> Hant), or ""."""
    from babel.core import get_global

    likely = get_global("likely_subtags")
    found = str(likely.get(f"{language}_{territory.upper()}", "")).split("_")
    return found[1] if len(found) > 1 else ""


def english_names() -> dict[str, str]:
    """CLDR's codes of languages, also with scripts and territories, and their English names."""
    from babel import Locale

    return dict(Locale("en").languages)


def identifiers(row: languages.Language) -> list[str]:
    """The codes under which CLDR may know a language of the table, the nearest one first."""
    plain = [row.iso639] if row.iso639.isalpha() else []
    return list(dict.fromkeys([*plain, canonical(row.code[:3]), canonical(row.iso639_3)]))


@cache
def names_in(language: str) -> dict[str, str]:
    """What every language of the table is called in one of them: FLORES-200 code -> name, each name once.

    CLDR's name of the language, in the script where CLDR names that ("简体中文"). The script's name stands in brackets
    where the table's English name has brackets too, since then the language is there in several scripts. A language has
    its own name where CLDR has none, or none that is its alone.
    """
    from babel import Locale
    from babel.localedata import exists

    own = languages.get(language)
    rows = languages.registry().values()
    spoken = next((code for code in identifiers(own) if exists(code)), None)
    if spoken is None:
        return {row.code: row.autonym for row in rows}
    locale = Locale.parse(spoken)
    opening, closing = ("（", "）") if own.script in FULL_WIDTH else (" (", ")")
    found: dict[str, str] = {}
    for row in rows:
        known = next((code for code in identifiers(row) if code in locale.languages), None)
        if known is None:
            continue
        script = locale.scripts.get(row.script, row.script)
        plain = locale.languages[known]
        named = f"{plain}{opening}{script}{closing}" if "(" in row.name else plain
        found[row.code] = locale.languages.get(f"{known}_{row.script}", named)
    count = Counter(found.values())
    return {row.code: found[row.code] if count[found.get(row.code, "")] == 1 else row.autonym for row in rows}
