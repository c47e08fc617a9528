"""What a word that is no code of languages.tsv means: codes of other schemes, names, and what is misspelt.

Asked for messages only, so that no step's result depends on it.
"""

from functools import cache

from . import cldr, languages, mistakes

# The columns whose codes tell a language from all others, in the order in which they are believed.
SCHEMES = ("iso639", "flores_plus", "iso639_3", "flores101", "belebele", "belebele_latn", "ntrex", "tico19", "cldr", "django", "scratch",
           "mediawiki", "wordpress", "wmt", "udhr")  # fmt: skip


@cache
def _words() -> dict[str, str]:
    """Words for a language (its codes in all schemes, its names in English and in itself), folded -> FLORES-200 code."""
    found: dict[str, str] = {}

    def learn(word: str, code: str) -> None:
        if word:
            found.setdefault(_folded(word), code)

    rows = languages.registry().values()
    for row in rows:
        learn(row.code, row.code)
    for row in rows:
        learn(row.iso639, row.code)
    for row in rows:
        learn(row.code[:3], row.code)
        learn(cldr.canonical(row.code[:3]), row.code)
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
    language, *parts = _folded(word).split("_")
    if not (language.isascii() and language.isalpha() and len(language) in (2, 3)):
        return ""
    code = known.get(language) or known.get(cldr.canonical(language))
    if not code:
        return ""
    script = next((part.title() for part in parts if len(part) == 4), "")
    territory = next((part for part in parts if len(part) == 2), "")
    script = script or (cldr.likely_script(cldr.canonical(language), territory) if territory else "")
    same = [row.code for row in languages.registry().values() if row.iso639_3 == languages.get(code).iso639_3 and row.script == script]
    return code if code in same or not same else same[0]


def meant(word: str) -> str:
    """What to say of a word that is no code of the table, as the end of a message: the code that it means, or those that are near."""
    known = _words()
    if code := known.get(_folded(word)) or _of_parts(word, known):
        return f" {languages.get(code).name} is {code}."
    language = _folded(word).split("_")[0]
    add = " docs/guide.md says how to add a language."
    others = cldr.english_names()
    folded = {_folded(name): name for name in others.values()}
    if name := others.get(cldr.canonical(language)) or folded.get(_folded(word)):
        return f" {name} has no row there.{add}"
    near = mistakes.nearest(_folded(word), known) or mistakes.nearest(language, known)
    codes = list(dict.fromkeys(known[found] for found in near))[:3]
    return f" Did you mean {', '.join(f'{code} ({languages.get(code).name})' for code in codes)}?" if codes else add
