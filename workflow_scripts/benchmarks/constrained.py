"""BayLing's constrained translation in FLORES shape: WMT22 sentences with words that the translation must hold.

One file a direction, `constraints.<source>-<target>.<target>.jsonl`, with `src`, `tgt` and `constraint`, a list of words; line n is item n.
The words were taken from the reference through a word alignment (arXiv 2306.10968; its repository, issue 3), so the reference holds each.
"""

from collections.abc import Sequence

from ..common.cli import UserError
from .material import ANEW, Found, Items, Material, Row, Text, find

ENGLISH, CHINESE = "eng_Latn", "zho_Hans"
OTHER = {ENGLISH: CHINESE, CHINESE: ENGLISH}


def constrained(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """Both sides from the target's file; the target's items have `terms`."""
    texts = {language: text for (_, language), text in find(material, row, list(OTHER)).items()}
    for language in wanted:
        if language in texts:
            yield language, _items(texts[language], "tgt", row)
        elif OTHER.get(language) in texts:
            yield language, _items(texts[OTHER[language]], "src", row)
        else:
            yield language, f"not in {row['benchmark']}"


def _items(text: Text, side: str, row: Row) -> Items:
    items: Items = []
    for line, entry in text.rows():
        number = len(items)
        terms = entry.get("constraint")
        if not (isinstance(terms, list) and terms and all(isinstance(one, str) and one for one in (*terms, entry.get(side)))):
            raise UserError(f"{text.name}: line {line} lacks `src`, `tgt` or a list of words `constraint`. {ANEW}")
        items.append({"split": "devtest", "item": number, "text": entry[side]} | ({"terms": terms} if side == "tgt" else {}))
    if row["test_items"] and len(items) != int(row["test_items"]):
        raise UserError(f"{text.name} has {len(items)} sentences, but {row['benchmark']} has {row['test_items']}. {ANEW}")
    return items
