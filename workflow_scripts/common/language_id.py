"""Which language a text is in, told offline by identifiers whose models lie in their packages.

No identifier knows all languages, so `resources/language_id.tsv` names for each language the one that knows it best, with its label and how
much of FLORES-200 devtest it finds: `benchmarks/language_id.py --lines 200 --write` measured that and wrote the table.
"""

from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from . import tables


def cld2(text: str) -> str:
    """Compact Language Detector 2 (Dick Sites 2013): "un" where it cannot tell."""
    import pycld2

    plain = "".join(char if char.isprintable() else " " for char in text)  # it refuses control characters
    label: str = pycld2.detect(plain, isPlainText=True, bestEffort=True)[2][0][1]
    return label


def py3langid(text: str) -> str:
    """langid.py (Lui and Baldwin 2012) with the newer model of its fork: "zxx" for what is no language."""
    label: str = _langid().classify(text)[0]
    return label


@cache
def _langid() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


IDENTIFIERS = {"py3langid": py3langid, "cld2": cld2}
PACKAGES = {"py3langid": "py3langid", "cld2": "pycld2"}


@lru_cache(2**14)
def identify(identifier: str, text: str) -> str:
    """The identifier's label for a text, "" for one without a letter."""
    return IDENTIFIERS[identifier](text) if any(map(str.isalpha, text)) else ""


def known(language: str) -> dict[str, str] | None:
    """The language's row of language_id.tsv; None if no identifier knows it."""
    return tables.read("language_id").get(language)


def named(identifier: str) -> str:
    """The identifier with its version, for signatures."""
    return f"{identifier}:{version(PACKAGES[identifier])}"
