"""TICO-19 in FLORES shape: its files hold English and one language side by side; an item is known by its `stringID`.

Layout: `dev/dev.en-<code>.tsv` and `test/test.en-<code>.tsv` with a header and the columns `sourceString, targetString, stringID` among
others, without quoting. English is the same in all files but for quotation marks left over from an export in some of them.
"""

from collections.abc import Sequence

from ..common import languages
from ..common.cli import UserError
from ..common.text import unquoted
from .material import ANEW, SPLITS, Found, Items, Material, Row, Text, find

ENGLISH = "eng_Latn"


def tico19(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """Each language from its own file, English from the first file by name."""
    texts = find(material, row, list(languages.registry()) if ENGLISH in wanted else wanted)
    for language in wanted:
        file = min((code for split, code in texts if split == "devtest"), default="") if language == ENGLISH else language
        if ("devtest", file) not in texts:
            yield language, f"not in {row['benchmark']}"
            continue
        column = "sourceString" if language == ENGLISH else "targetString"
        yield language, [item for split in SPLITS if (split, file) in texts for item in _items(texts[split, file], split, column, row)]


def _items(text: Text, split: str, column: str, row: Row) -> Items:
    numbered = [(number, line.split("\t")) for number, line in enumerate(text.lines(), 1) if line.strip()]
    if not numbered:
        raise UserError(f"{text.name} is empty. {ANEW}")
    (_, header), *lines = numbered
    if not {column, "stringID"} <= set(header):
        raise UserError(f"{text.name}: its first line does not name the columns {column} and stringID. {ANEW}")
    items: dict[str, str] = {}
    for number, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{text.name}: line {number} has {len(cells)} columns, but the first line has {len(header)}. {ANEW}")
        entry = dict(zip(header, cells, strict=True))
        if entry["stringID"] in items or not entry[column].strip():
            raise UserError(f"{text.name}: line {number} is empty or has the stringID of another line, {entry['stringID']}. {ANEW}")
        items[entry["stringID"]] = unquoted(entry[column])
    expected = row[f"{SPLITS[split]}_items"]
    if expected and len(items) != int(expected):
        raise UserError(f"{text.name} has {len(items)} sentences, but {row['benchmark']} has {expected}. {ANEW}")
    return [{"split": split, "item": key, "text": sentence} for key, sentence in items.items()]
