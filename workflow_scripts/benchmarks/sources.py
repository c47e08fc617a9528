"""Where the items of a benchmark come from: one function a source, from the material to one language's items.

A source returns a list of items, or a string: the reason why the language has none. Shape "flores": `{split, item, text}`, where item n
is the same sentence in every language. Shape "belebele": the fields of the official JSONL, keyed by link and question number.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..common import archives, languages
from ..common.cli import UserError
from ..common.text import folded

Items = list[dict[str, Any]]
PARALLEL_LANGUAGES = 64
NOT_PLAIN = re.compile(r"[{}<>%$\\_=@#\[\]|]|https?:")
BELEBELE_FIELDS = ("link", "flores_passage", "question", "mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4")


def flores(material: Path, row: dict[str, str], language: str) -> Items | str:
    """FLORES-200's official layout, `<split>/<code>.<split>`, one sentence a line, as a folder or as the archive it comes in."""
    items = []
    for split, expected in (("dev", row["dev_items"]), ("devtest", row["test_items"])):
        content = _find(material, f"{split}/{language}.{split}")
        if content is None:
            continue
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
        if expected and len(lines) != int(expected):
            raise UserError(
                f"{language}.{split} in {material} has {len(lines)} lines, but {row['benchmark']} has {expected}. Fetch it again: with a "
                "line missing, sentences of different meaning would be compared."
            )
        for number, line in enumerate(lines):
            if not line.strip():
                raise UserError(f"{language}.{split} in {material}: line {number + 1} is empty. Fetch it again.")
            items.append({"split": split, "item": number, "text": line.strip()})
    if not any(item["split"] == "devtest" for item in items):
        return f"not in {row['benchmark']}"
    return items


def belebele(material: Path, row: dict[str, str], language: str) -> Items | str:
    """BELEBELE's official `<code>.jsonl`. Items are known by link and question number: the order of lines differs between languages."""
    code = languages.get(language).belebele
    content = _find(material, f"{code}.jsonl") if code else None
    if content is None:
        return f"not in {row['benchmark']}"
    items, where = {}, f"{code}.jsonl in {material}"
    for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            item = {field: entry[field].strip() for field in BELEBELE_FIELDS}
            item |= {
                "question_number": int(entry["question_number"]),
                "correct_answer_num": str(int(entry["correct_answer_num"])),
            }
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{where}: line {number} is not a BELEBELE item ({error!r}). Fetch it again.") from error
        if item["correct_answer_num"] not in ("1", "2", "3", "4"):
            raise UserError(f"{where}: line {number} has the answer {item['correct_answer_num']}; it must be 1 to 4.")
        item["item"] = f"{item['link']}#{item['question_number']}"
        if item["item"] in items:
            raise UserError(f"{where}: {item['item']} is there twice. Fetch it again.")
        items[item["item"]] = item
    if row["test_items"] and len(items) != int(row["test_items"]):
        raise UserError(f"{where} has {len(items)} questions, but {row['benchmark']} has {row['test_items']}. Fetch it again.")
    return [items[key] for key in sorted(items)]


def udhr(material: Path, row: dict[str, str], language: str) -> Items | str:
    """The Universal Declaration of Human Rights in FLORES shape: its article paragraphs, every fifth for dev, the others for devtest."""
    paragraphs = _udhr_paragraphs(material, language)
    if isinstance(paragraphs, str):
        return paragraphs
    items: dict[str, Items] = {"dev": [], "devtest": []}
    for number, (_, text) in enumerate(paragraphs):
        split = "dev" if number % 5 == 4 else "devtest"
        items[split].append({"split": split, "item": len(items[split]), "text": text})
    return items["dev"] + items["devtest"]


def udhr_reading(material: Path, row: dict[str, str], language: str) -> Items | str:
    """A four-choice reading test built from the same text, in BELEBELE's shape; it is not BELEBELE.

    The passage is a paragraph in the language, the question is in English, and the answers are four English paragraphs of which one says
    the same (for English: four Chinese ones). Only paragraphs of at most 25 English words take part; the wrong answers are the three
    nearest in length; right answers are spread evenly over the four places.
    """
    english = _udhr_paragraphs(material, "eng_Latn")
    answers = _udhr_paragraphs(material, "zho_Hans") if language == "eng_Latn" else english
    passages = _udhr_paragraphs(material, language)
    for paragraphs in (english, answers, passages):
        if isinstance(paragraphs, str):
            return paragraphs
    pool = [number for number, (_, text) in enumerate(english) if len(text.split()) <= 25]
    pool.sort(key=lambda number: hashlib.sha256(english[number][1].encode()).digest())
    items = []
    for place, number in enumerate(pool):
        others = sorted((n for n in pool if n != number), key=lambda n: (abs(len(english[n][1]) - len(english[number][1])), n))
        options = others[:3]
        options.insert(place % 4, number)
        link = f"https://www.un.org/en/about-us/universal-declaration-of-human-rights#{english[number][0]}"
        items.append(
            {
                "item": f"{link}-{number}#1",
                "link": f"{link}-{number}",
                "question_number": 1,
                "flores_passage": passages[number][1],
            }
            | {"question": "Which of these texts says the same as the passage?", "correct_answer_num": str(place % 4 + 1)}
            | {f"mc_answer{choice}": answers[option][1] for choice, option in enumerate(options, 1)}
        )
    return items


def _udhr_paragraphs(material: Path, language: str) -> list[tuple[str, str]] | str:
    """(article number, text) of each paragraph of the 30 articles, aligned with the English ones; or why there is none."""
    from lxml import html

    found = {}
    for code in ("eng_Latn", language):
        alias = languages.get(code).udhr
        content = _find(material, f"declaration/{alias}.html") if alias else None
        if content is None:
            return "no UDHR text in this language and script"
        found[code] = [
            (article.get("data-number", ""), " ".join(element.text_content().split()))
            for article in html.fromstring(content.decode("utf-8")).iter("article")
            for element in article.iter("p", "li")
            if element.tag == "p" or element.find("p") is None  # a list item is a paragraph unless it holds some
        ]
    english, own = found["eng_Latn"], [(number, text) for number, text in found[language] if text]
    if [number for number, _ in own] != [number for number, _ in english]:
        return f"{len(own)} paragraphs that do not align with the {len(english)} English ones"
    return own


def messages(material: Path, row: dict[str, str], language: str) -> Items | str:
    """Held-out interface messages, parallel in the corpus's 64 best-covered languages: the in-domain test, in FLORES shape.

    Depends on the corpus alone, not on the languages of a run. A message takes part if its English text has 4 to 25 words without markup
    or placeholders, and each language has its own text for it. 20 go to dev; order and split are those of the English texts' hashes.
    """
    import polars as pl

    table = pl.read_parquet(material)
    english = dict(table.filter(pl.col("language") == "eng_Latn").select("key", "text").iter_rows())
    # A message that equals the English one was never translated: catalogues fill their gaps like that.
    translated = table.filter(pl.col("language") != "eng_Latn", pl.col("text") != pl.col("key").replace_strict(english, default=""))
    sizes = translated["language"].value_counts().sort(["count", "language"], descending=[True, False])
    parallel = sorted(sizes["language"][:PARALLEL_LANGUAGES])
    if language not in (*parallel, "eng_Latn"):
        return f"fewer messages in {material.stem} than the {PARALLEL_LANGUAGES} best-covered languages"
    keys = {key for key, text in english.items() if 4 <= len(text.split()) <= 25 and not NOT_PLAIN.search(text)}
    for code in parallel:
        keys &= set(translated.filter(pl.col("language") == code)["key"])
    first = {folded(english[key]): key for key in sorted(keys, reverse=True)}  # one key a text: the same text can stand under several
    order = sorted(first.values(), key=lambda key: hashlib.sha256(folded(english[key]).encode()).digest())
    texts = dict(table.filter(pl.col("language") == language).select("key", "text").iter_rows())
    return [
        {"split": split, "item": number, "text": texts[key]}
        for split, chosen in (("dev", order[:20]), ("devtest", order[20:]))
        for number, key in enumerate(chosen)
    ]


def _find(material: Path, name: str) -> bytes | None:
    """The file whose path ends in `name`, in a folder or an archive."""
    if not material.exists():
        raise UserError(f"{material} does not exist. Set `path` of this benchmark in the config to its folder or archive.")
    if material.is_dir():
        found = sorted(path for path in material.rglob(name.rpartition("/")[2]) if path.as_posix().endswith(f"/{name}"))
        return found[0].read_bytes() if found else None
    for _, content in archives.members(material, [name, f"*/{name}"]):
        return content
    return None


SOURCES: dict[str, Callable[[Path, dict[str, str], str], Items | str]] = {
    name.__name__: name for name in (flores, belebele, udhr, udhr_reading, messages)
}
