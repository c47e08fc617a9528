"""The registry of languages: `resources/languages.tsv`, keyed by FLORES-200 code."""

from dataclasses import dataclass, fields
from functools import cache

from . import tables


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


def names(code: str, column: str) -> list[str]:
    """Every code of one language in a scheme, the usual one first."""
    get(code)
    return [name for name, known in by_name(column).items() if known == code]


# The columns whose codes tell a language from all others, in the order in which they are believed.
SCHEMES = ("iso639", "flores_plus", "iso639_3", "flores101", "belebele", "belebele_latn", "ntrex", "tico19", "cldr", "django", "scratch",
           "mediawiki", "wordpress", "wmt", "udhr")  # fmt: skip


@cache
def _words() -> dict[str, str]:
    """Words for a language (its codes in all schemes, its names in English and in itself), folded -> FLORES-200 code."""
    from . import cldr

    found: dict[str, str] = {}

    def learn(word: str, code: str) -> None:
        if word:
            found.setdefault(_folded(word), code)

    rows = registry().values()
    for row in rows:
        learn(row.code, row.code)
    for row in rows:
        learn(row.iso639, row.code)
    for row in rows:
        learn(row.code[:3], row.code)
    for column in SCHEMES:
        for row in rows:
            learn(getattr(row, column).split(":")[0], row.code)
    for row in rows:
        for name in (row.name, row.name.split(" (")[0], row.autonym):
            learn(name, row.code)
    for identifier, name in cldr.english_names().items():
        if code := _of_parts(identifier, found):
            learn(name, code)
    return found


def _folded(word: str) -> str:
    return word.strip().casefold().replace("-", "_")


def _of_parts(word: str, known: dict[str, str]) -> str:
    """The language of a code in parts (cmn-Hant, ger_Latn, pt_BR), in the script named where it has that; "" if unknown."""
    from . import cldr

    language, *parts = _folded(word).split("_")
    if not (language.isascii() and language.isalpha() and len(language) in (2, 3)):
        return ""
    code = known.get(language) or known.get(cldr.canonical(language))
    if not code:
        return ""
    script = next((part.title() for part in parts if len(part) == 4), "")
    territory = next((part for part in parts if len(part) == 2), "")
    script = script or (cldr.likely_script(cldr.canonical(language), territory) if territory else "")
    same = [row.code for row in registry().values() if row.iso639_3 == get(code).iso639_3 and row.script == script]
    return code if code in same or not same else same[0]


def meant(word: str) -> str:
    """What to say of a word that is no code of the table, as the end of a message: the code that it means, or those that are near."""
    from . import cldr, mistakes

    known = _words()
    if code := known.get(_folded(word)) or _of_parts(word, known):
        return f" {get(code).name} is {code}."
    language = _folded(word).split("_")[0]
    add = " docs/guide.md says how to add a language."
    others = cldr.english_names()
    folded = {_folded(name): name for name in others.values()}
    if name := others.get(cldr.canonical(language)) or folded.get(_folded(word)):
        return f" {name} has no row there.{add}"
    near = mistakes.nearest(_folded(word), known) or mistakes.nearest(language, known)
    codes = list(dict.fromkeys(known[found] for found in near))[:3]
    return f" Did you mean {', '.join(f'{code} ({get(code).name})' for code in codes)}?" if codes else add
