"""Parallel sentences in FLORES shape: `{split, item, text}`, where item n of a split is the same sentence in every language.

Sources of the layouts: the archives of FLORES-200 and FLORES-101, the hub's openlanguagedata/flores_plus and facebook/flores, the
repositories of NTREX-128 and of WMT22's news systems. Lines keep their order; rows of the hub are put in the order of their `id`.
"""

import re
from collections.abc import Sequence

from ..common.cli import UserError
from .material import ANEW, SPLITS, Found, Items, Material, Row, Text, find

CHANGE_LOG = "CHANGELOG.md"  # of FLORES+, in the folder that holds dev and devtest


def flores(material: Material, row: Row, wanted: Sequence[str]) -> Found:
    """One sentence a line, or one a row of JSON lines or Parquet (`text` or `sentence`, and `id`)."""
    texts = find(material, row, wanted)
    for language in wanted:
        if ("devtest", language) in texts:
            yield language, [item for split in SPLITS if (split, language) in texts for item in _items(texts[split, language], split, row)]
        elif ("dev", language) in texts:
            raise UserError(f"{texts['dev', language].name} is there, but its test split is not in {material.path}. {ANEW}")
        else:
            yield language, f"not in {row['benchmark']}"


def release(material: Material, row: Row) -> str:
    """FLORES+'s version, which its change log names first ("## [4.2] - date"). Only scores of the same major version are comparable."""
    change_log = material.path / CHANGE_LOG
    if not change_log.is_file():
        raise UserError(f"{change_log} is not there, so the version is not known. Download FLORES+ as a whole folder, with its change log.")
    found = re.search(r"^## +\[?v?(\d[^\]\s]*)", change_log.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None or found[1].split(".")[0] != row["version"]:
        raise UserError(
            f"{change_log} names {f'version {found[1]}' if found else 'no version'}, but {row['benchmark']} stands for {row['version']}: "
            "scores of different major versions are not comparable. Fetch that one, or set `version` in resources/benchmarks.tsv."
        )
    return found[1]


def _items(text: Text, split: str, row: Row) -> Items:
    lines = _sentences(text) if text.name.endswith((".jsonl", ".parquet")) else text.lines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise UserError(f"{text.name}: line {number} is empty. {ANEW}")
    expected = row[f"{SPLITS[split]}_items"]
    if expected and len(lines) != int(expected):
        raise UserError(
            f"{text.name} has {len(lines)} lines, but {row['benchmark']} has {expected}. {ANEW} With a line missing, "
            "sentences of different meaning would be compared."
        )
    return [{"split": split, "item": number, "text": line.strip()} for number, line in enumerate(lines)]


def _sentences(text: Text) -> list[str]:
    sentences: dict[int, str] = {}
    for number, entry in text.rows():
        try:
            key, sentence = int(entry["id"]), str(entry["text"] if "text" in entry else entry["sentence"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{text.name}: row {number} has no `id` with a `text` or `sentence` ({error!r}). {ANEW}") from error
        if key in sentences:
            raise UserError(f"{text.name}: the id {key} is there twice. {ANEW}")
        sentences[key] = sentence
    return [sentences[key] for key in sorted(sentences)]
