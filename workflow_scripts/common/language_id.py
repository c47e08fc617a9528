"""Which language a text is in, told offline by identifiers whose models lie in their packages.

No identifier knows all languages, so `resources/language_id.tsv` names for each language the one that knows it best, with its label and how
much of FLORES-200 devtest it finds: `benchmarks/language_id.py --lines 200 --write` measured that and wrote the table.
"""

from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from . import languages, tables

RECALL = 80  # percent of sentences that an identifier must find before its word counts
MARGIN = 10  # nats by which py3langid must find another language more probable than the text's own
CLD2_BYTES = 60  # of UTF-8: on shorter texts CLD2 is sure of itself and wrong too often


def cld2(text: str) -> str:
    """Compact Language Detector 2 (Dick Sites 2013): "un" where it cannot tell."""
    return _cld2(text, best_effort=True)[1][0]


def _cld2(text: str, best_effort: bool) -> tuple[bool, list[str]]:
    """Whether it calls its answer reliable, and its labels, best first."""
    import pycld2

    plain = "".join(char if char.isprintable() else " " for char in text)  # it refuses control characters
    reliable, _, found = pycld2.detect(plain, isPlainText=True, bestEffort=best_effort)
    return reliable, [label for _, label, *_ in found]


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


def unknown(language: str) -> str:
    """Why a language's text cannot be told from others'; "" if it can."""
    row, name = known(language), languages.get(language).name
    if row is None:
        return f"no identifier knows {name}"
    return f"{name} is found in {row['sentences']} % of sentences only" if float(row["sentences"]) < RECALL else ""


@lru_cache(2**14)
def foreign(language: str, text: str) -> bool:
    """Is the text surely in another language than this one, which must not be `unknown`? In doubt, and without a letter, it is not.

    py3langid is asked wherever it has the language's label, since it says how much more probable another one is; CLD2 can speak up for the
    text. Alone, CLD2 counts where the text is not short, it calls itself reliable, and the label is none of its three best.
    """
    label = tables.read("language_id")[language]["label"]
    if not any(map(str.isalpha, text)):
        return False
    if label in _langid().labels:
        likelihoods = dict(_langid().rank(text))
        return max(likelihoods.values()) - likelihoods[label] >= MARGIN and cld2(text) != label
    reliable, found = _cld2(text, best_effort=False)
    return reliable and label not in found and len(text.encode()) >= CLD2_BYTES


def named(identifier: str) -> str:
    """The identifier with its version, for signatures."""
    return f"{identifier}:{version(PACKAGES[identifier])}"
