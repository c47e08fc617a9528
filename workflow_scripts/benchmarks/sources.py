"""The sources that `source` of benchmarks.tsv names.

A source takes the material, the benchmark's row and the wanted languages, and gives each language's items, or a string: the reason why it
has none. Shape "flores": `{split, item, text}`, where an item is the same sentence in every language; `terms` beside them are words that a
translation into that language must hold. Shape "belebele": the fields of the
official JSONL, keyed by link and question number. Shape "instructions": `{split, item, text, answer}`, a request and its reference answer.
"""

from collections.abc import Callable, Sequence

from ..common import tables
from .belebele import belebele
from .belebele_flores import ENGLISH, belebele_flores
from .built import instruction_lists, messages, udhr, udhr_reading
from .constrained import constrained
from .flores import CHANGE_LOG, flores
from .material import Found, Material, Row, on_disk
from .tico19 import tico19

SOURCES: dict[str, Callable[[Material, Row, Sequence[str]], Found]] = {
    "flores": flores,
    "flores_plus": flores,
    "tico19": tico19,
    "constrained": constrained,
    "belebele": belebele,
    "belebele_flores": belebele_flores,
    "udhr": udhr,
    "udhr_reading": udhr_reading,
    "messages": messages,
    "instruction_lists": instruction_lists,
}


def inputs(material: Material, benchmark: str, language: str) -> list[str]:
    """The files on disk, beside `material.path` itself, that one language's items come from."""
    source = tables.row("benchmarks", benchmark)["source"]
    if source == "belebele_flores" and material.belebele is not None:
        sentences = on_disk(material.path, "flores200")
        questions = on_disk(material.belebele, "belebele").get(ENGLISH) or [str(material.belebele)]
        return [*questions, *(name for code in sorted({ENGLISH, language}) for name in sentences.get(code, []))]
    named = on_disk(material.path, benchmark)
    if (source == "tico19" and language == ENGLISH) or source == "constrained":  # it stands in another language's file
        return [name for code in sorted(named) for name in named[code]]
    found = named.get(language, [])
    return [*found, str(material.path / CHANGE_LOG)] if found and source == "flores_plus" else found
