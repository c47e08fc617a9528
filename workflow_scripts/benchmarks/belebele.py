"""BELEBELE: four-choice questions on passages, in the fields of its official JSON lines.

An item is known by its passage's link and its question number, never by its line: the order of lines differs between languages. Texts
are kept as they are published, quotation marks of an export and spaces at the end of answers included, since other harnesses ask that.
"""

from collections.abc import Sequence

from ..common.cli import UserError
from .material import ANEW, Found, Items, Material, Row, Text, find

# Questions with equal options that a language may have: two have them in all 12 languages looked at, and Malay a third one.
DOUBLED = 5
FIELDS = ("link", "flores_passage", "question", "mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4")


def belebele(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """The official `<code>.jsonl`, from the archive, its folder or the hub, or the hub's Parquet."""
    texts = find(material, row, wanted)
    for language in wanted:
        text = texts.get(("devtest", language))
        yield language, _items(text, row) if text else f"not in {row['benchmark']}"


def _items(text: Text, row: Row) -> Items:
    items = {}
    doubled: list[int] = []
    for number, entry in text.rows():
        try:
            item = {field: entry[field] for field in FIELDS}
            if odd := [field for field, text in item.items() if not isinstance(text, str)]:
                raise TypeError(f"{odd[0]} is not a text")
            item |= {
                "link": item["link"].strip(),
                "question_number": int(entry["question_number"]),
                "correct_answer_num": str(int(entry["correct_answer_num"])),
            }
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{text.name}: line {number} is not a BELEBELE item ({error!r}). {ANEW}") from error
        if blank := [field for field in FIELDS if not item[field].strip()]:
            raise UserError(f"{text.name}: line {number} has an empty {blank[0]}. {ANEW}")
        if len({item[f"mc_answer{place}"].strip() for place in range(1, 5)}) < 4:
            doubled.append(number)
        if item["correct_answer_num"] not in ("1", "2", "3", "4"):
            raise UserError(f"{text.name}: line {number} has the answer {item['correct_answer_num']}; it must be 1 to 4. {ANEW}")
        item["item"] = f"{item['link']}#{item['question_number']}"
        if item["item"] in items:
            raise UserError(f"{text.name}: {item['item']} is there twice. {ANEW}")
        items[item["item"]] = item
    if len(doubled) > DOUBLED:
        lines = ", ".join(map(str, doubled[:10]))
        raise UserError(
            f"{text.name}: {len(doubled)} questions have two equal options (line {lines}); as published, a language has "
            f"two or three. {ANEW}"
        )
    if doubled:
        print(f"{text.name}: two equal options in line {', '.join(map(str, doubled))}; BELEBELE was published with such questions")
    if row["test_items"] and len(items) != int(row["test_items"]):
        raise UserError(f"{text.name} has {len(items)} questions, but {row['benchmark']} has {row['test_items']}. {ANEW}")
    return [items[key] for key in sorted(items)]
