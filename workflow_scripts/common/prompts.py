"""Wordings of the translation request (`resources/templates.tsv`), shared by training and evaluation, so both ask in the same bytes."""

import re
from collections.abc import Sequence

from . import languages, tables


def language_name(code: str, wording_language: str) -> str:
    """The name of a language as a wording says it: in English that of languages.tsv, in other languages CLDR's there ("德语")."""
    if wording_language == "eng_Latn":
        return languages.get(code).name
    from . import cldr

    languages.get(code)
    return cldr.names_in(wording_language)[code]


def request(template: str, source_language: str, target_language: str, text: str, terms: Sequence[str] = ()) -> str:
    """Fill one wording: the user's turn that asks for `text` to be translated; `terms` are words that the translation must hold."""
    row = tables.row("templates", template)
    names = {code: language_name(code, row["language"]) for code in (source_language, target_language)}
    pieces = {"source": names[source_language], "target": names[target_language], "text": text, "terms": ", ".join(terms)}
    # One pass over the wording: a text that itself holds "{text}" or "{target}" stays as it is.
    return re.sub(r"\{(source|target|text|terms)\}", lambda match: pieces[match[1]], row["text"].replace("\\n", "\n"))


def few_shot(
    template: str, source_language: str, target_language: str, examples: Sequence[tuple[str, str]], text: str, terms: Sequence[str] = ()
) -> str:
    """The same request after worked examples: each example is a request, a space and its answer, then an empty line."""
    shown = [f"{request(template, source_language, target_language, source)} {target}\n\n" for source, target in examples]
    return "".join(shown) + request(template, source_language, target_language, text, terms)
