"""The registry of languages: `resources/languages.tsv`, keyed by FLORES-200 code."""

from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING

from . import tables

if TYPE_CHECKING:
    from . import language_tags


@dataclass(frozen=True)
class Language:
    """One row of languages.tsv; the schema describes each column. Empty means: none, or not known."""

    code: str
    name: str
    autonym: str
    script: str
    resource_class: str
    flores101: str
    flores_plus: str
    belebele: str
    belebele_latn: str
    ntrex: str
    tico19: str
    wmt: str
    iso639_3: str
    iso639: str
    glottocode: str
    mediawiki: str
    scratch: str
    django: str
    wordpress: str
    cldr: str
    udhr: str
    comet: str
    bleu_tokenizer: str


@cache
def registry() -> dict[str, Language]:
    """All languages, in the order of the table."""
    names = [field.name for field in fields(Language)]
    return {code: Language(**{name: row[name] for name in names}) for code, row in tables.read("languages").items()}


def get(code: str) -> Language:
    """One language, or a `UserError` that names the nearest codes."""
    if code not in registry():
        tables.row("languages", code)  # raises; asked only here, since it would check the whole table once more
    return registry()[code]


def by_alias(column: str) -> dict[str, str]:
    """From the codes of one scheme (a column of the table) to FLORES-200 codes."""
    return {alias: code for code, row in tables.read("languages").items() if (alias := row[column])}


@cache
def by_name(column: str) -> dict[str, str]:
    """Like `by_alias`; for column iso639 also with the ISO 639-3 codes, of all Chinese (`zho`) and of the one meant (`cmn`), at the end."""
    found = by_alias(column)
    if column == "iso639":
        rows = [row for row in registry().values() if row.iso639]
        for name, code in [*((row.code[:3], row.code) for row in rows), *((row.iso639_3, row.code) for row in rows)]:
            found.setdefault(name, code)
    return found


@cache
def codes(column: str) -> "language_tags.Codes":
    """The codes of one scheme, found by any spelling of a language tag where the scheme is no single project's."""
    from . import language_tags  # with CLDR, which most programs and COMET's environment do not need

    own = by_alias(column)
    if column not in language_tags.OPEN:
        return language_tags.Codes(own)
    return language_tags.Codes(own | {code: code for code in registry() if code not in own.values()}, tags())


@cache
def tags() -> dict[str, list[str]]:
    """The tags of each row: of the usual script of a language its bare codes as well."""
    found = {}
    for code, row in registry().items():
        bare = [row.iso639, code[:3], row.iso639_3, row.cldr] if row.iso639 and "_" not in row.iso639 else []
        found[code] = [*filter(None, bare), code]
    return found


def names(code: str, column: str) -> list[str]:
    """Every code of one language in a scheme, the usual one first."""
    get(code)
    return [name for name, known in by_name(column).items() if known == code]
