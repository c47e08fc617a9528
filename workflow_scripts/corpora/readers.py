"""One reader a format: from the files of a source to (key, code of the language there, text).

A key names one message in all its languages; what shares a key is a translation of each other.
"""

import json
import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..common import archives, records
from ..common.cli import UserError
from ..common.text import unquoted

Message = tuple[str, str, str]


@dataclass(frozen=True)
class File:
    """One file of a source. `code`: what stood for `{code}` in its name; `group`: its name without it."""

    name: str
    stream: IO[bytes]
    code: str
    group: str


@dataclass(frozen=True)
class Source:
    """Where a corpus is read from, and how.

    path: package, folder, archive or single file; `name` is what it is called as a file
    members: glob patterns of the files in it; `{code}` stands for a language's code, `*` for anything
    codes: the codes of all languages as this corpus writes them
    fields: which column holds what: a code, `{code}` or `key` -> column
    code: the language that is read for, where each language has a source of its own; else ""
    """

    path: Path
    members: list[str]
    codes: Collection[str] = ()
    fields: dict[str, str] = field(default_factory=dict)
    name: str = ""
    code: str = ""

    def files(self) -> Iterator[File]:
        """The files whose name ends like one of the patterns, in the order of the archive or by name; streams are good until the next."""
        codes = "|".join(map(re.escape, sorted(self.codes, key=len, reverse=True))) or "(?!)"
        patterns = [re.compile(f"((?:.*/)?){_expression(member, codes)}", re.DOTALL) for member in self.members]
        for name, stream in archives.streams(self.path, lambda name: any(one.fullmatch(name) for one in patterns), self.name):
            match = next(match for one in patterns if (match := one.fullmatch(name)))
            code = match.groupdict().get("code") or ""
            folder, *stars = (match[number] for number in range(1, match.re.groups + 1) if number != match.re.groupindex.get("code"))
            yield File(name, stream, code, folder + "*".join(stars))

    def columns(self, code: str) -> tuple[dict[str, str], str]:
        """Code -> column, and the column of the key (""), in a file of that code."""
        found = {}
        for label, column in self.fields.items():
            codes = [code or self.code] if code or self.code else self.codes
            for one in codes if "{code}" in label else [""]:
                found[label.replace("{code}", one)] = column.replace("{code}", one)
        return found, found.pop("key", "")


def _expression(pattern: str, codes: str) -> str:
    first, *more = (re.escape(part).replace(r"\*", "(.*)").replace(r"\?", ".") for part in pattern.split("{code}"))
    return first + "".join((f"(?P<code>{codes})" if number == 0 else "(?P=code)") + part for number, part in enumerate(more))


def moses(source: Source) -> Iterator[Message]:
    """Files aligned line by line, one for each language (`*.{code}`): pairs in Moses format, NLLB-Seed, NTREX-128.

    Files whose names differ in nothing but the code belong together, two of a pair or many; the line number is the key.
    """
    counts: dict[str, dict[str, int]] = {}
    for file in source.files():
        if file.code in counts.setdefault(file.group, {}):
            raise UserError(f"{source.path}: two files for {file.code} that mean the same, {file.name} is the second. Mend `members`.")
        number = 0
        for number, line in enumerate(records.lines(f"{source.path}: {file.name}", file.stream), 1):
            yield f"{file.group}:{number:08}", file.code, line
        counts[file.group][file.code] = number
    for group, lengths in counts.items():
        if len(set(lengths.values())) > 1:
            account = ", ".join(f"{code} {length}" for code, length in sorted(lengths.items())[:6])
            raise UserError(f"{source.path}: {group or 'the files'} are not aligned: lines {account}. Fetch them again.")


def tsv(source: Source) -> Iterator[Message]:
    """Columns separated by tabs, with a first line that names them, or named by number (`en=1 {code}=2`) where there is none."""
    for file in source.files():
        where = f"{source.path}: {file.name}"
        columns, key = source.columns(file.code)
        rows = enumerate(records.lines(where, file.stream), 1)
        if all(column.isdigit() for column in [*columns.values(), key or "0"]):
            places, key_place = {code: int(column) - 1 for code, column in columns.items()}, int(key or 0) - 1
        else:
            header = next(rows, (1, ""))[1].split("\t")
            places = {code: header.index(column) for code, column in columns.items() if column in header}
            key_place = header.index(key) if key in header else -1
            if len(places) < 2 or (key and key_place < 0):
                raise UserError(
                    f"{where}: its first line names {', '.join(header)[:200]}; `fields` asks for "
                    f"{' '.join(f'{label}={column}' for label, column in source.fields.items())}."
                )
        last = max([*places.values(), key_place])
        for number, line in rows:
            cells = line.split("\t")
            if len(cells) <= last:
                raise UserError(f"{where}: line {number} has {len(cells)} columns, but {last + 1} are needed.")
            identity = cells[key_place] if key else f"{file.name}:{number:08}"
            for code, place in places.items():
                yield identity, code, unquoted(cells[place])


def jsonl(source: Source) -> Iterator[Message]:
    """One JSON object a line; a column may lie deeper (`translation.{code}`)."""
    for file in source.files():
        yield from _rows(source, file, records.json_lines(f"{source.path}: {file.name}", file.stream))


def parquet(source: Source) -> Iterator[Message]:
    """Parquet, as data sets on the hub are; a column may lie deeper (`translation.{code}`)."""
    for file in source.files():
        columns, key = source.columns(file.code)
        top = [column.split(".")[0] for column in dict.fromkeys([*columns.values(), *([key] if key else [])])]
        yield from _rows(source, file, records.parquet(f"{source.path}: {file.name}", file.stream, list(dict.fromkeys(top))))


def _rows(source: Source, file: File, rows: Iterator[dict[str, Any]]) -> Iterator[Message]:
    columns, key = source.columns(file.code)
    for number, row in enumerate(rows, 1):
        identity = _value(row, key) if key else f"{file.name}:{number:08}"
        if identity is None:
            raise UserError(f"{source.path}: {file.name}: row {number} has no {key}, but `fields` calls it the key.")
        for code, column in columns.items():
            if isinstance(text := _value(row, column), str):
                yield str(identity), code, text


def _value(row: Any, path: str) -> Any:
    for name in path.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return row


LANGUAGE = ("{http://www.w3.org/XML/1998/namespace}lang", "lang")  # TMX 1.4, and 1.1
CODES_OF_A_PROGRAM = {"bpt", "ept", "ph", "it", "ut"}  # inline elements whose text is markup of the document the segment is from


def tmx(source: Source) -> Iterator[Message]:
    """Translation memories (TMX 1.1 to 1.4), one unit at a time. Entities are not expanded, and nothing outside of the file is read.

    `de-DE` counts as `de` where the corpus has no code for it, but not where the region tells scripts apart (zh-TW, sr-Latn).
    """
    from lxml import etree

    known = {_tag(code): code for code in source.codes}
    with_regions = {tag for tag in known if not any(other.startswith(f"{tag}-") for other in known)}
    for file in source.files():
        try:
            units = etree.iterparse(file.stream, tag="{*}tu", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
            for number, (_, unit) in enumerate(units, 1):
                for variant in unit.iterchildren("{*}tuv"):
                    tag = _tag(next((variant.get(name) for name in LANGUAGE if variant.get(name)), ""))
                    short, _, region = tag.partition("-")
                    code = known.get(tag) or (
                        known.get(short) if short in with_regions and re.fullmatch(r"[a-z]{2}|\d{3}", region) else None
                    )
                    segment = variant.find("{*}seg")
                    if code is not None and segment is not None:
                        yield f"{file.name}:{number:08}", code, "".join(_segment(segment))
                unit.clear()
                while unit.getprevious() is not None:
                    del unit.getparent()[0]
        except etree.XMLSyntaxError as error:
            raise UserError(f"{source.path}: {file.name} is not whole XML ({error}).") from error


def _tag(code: str) -> str:
    return code.lower().replace("_", "-")


def _segment(element: Any) -> Iterator[str]:
    """The text of a segment and of what is marked in it, without the document's own codes and without entities."""
    if isinstance(element.tag, str) and element.tag.rpartition("}")[2] not in CODES_OF_A_PROGRAM:
        yield element.text or ""
        for child in element:
            yield from _segment(child)
            yield child.tail or ""


def json_keys(source: Source) -> Iterator[Message]:
    """`<folder>/<language>.json` files of {key: text}, as MediaWiki and Scratch keep them; the folder is part of the key.

    A text may also stand in an object under "string" or "message". Keys that start with "@" are metadata; qqq.json describes the messages.
    """
    for name, content in _contents(source):
        path = PurePosixPath(name)
        if path.stem == "qqq":
            continue
        for key, value in _parse_json(source.path, name, content).items():
            text = value.get("string", value.get("message")) if isinstance(value, dict) else value
            if isinstance(text, str) and not key.startswith("@"):
                yield f"{path.parent}/{key}", path.stem, text


def gettext(source: Source) -> Iterator[Message]:
    """`<language>/LC_MESSAGES/*.po` or `.mo`, `<language>.mo`, or where `{code}` stands in the pattern; the English message is the key.

    Fuzzy, obsolete and plural entries are left out.
    """
    import polib

    for file in source.files():
        name, content, path = file.name, archives.whole(f"{source.path}: {file.name}", file.stream), PurePosixPath(file.name)
        language = file.code or (path.parent.parent.name if path.parent.name == "LC_MESSAGES" else path.stem)
        try:
            if path.suffix == ".mo":
                with tempfile.NamedTemporaryFile(suffix=".mo") as copy:
                    copy.write(content)
                    copy.flush()
                    entries = list(polib.mofile(copy.name))
            else:
                entries = [entry for entry in polib.pofile(content.decode("utf-8")) if not entry.fuzzy]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{source.path}: {name} is not a gettext catalogue ({error}).") from error
        for entry in entries:
            if entry.msgid and entry.msgstr and not entry.msgid_plural and not entry.obsolete:
                key = f"{entry.msgctxt or ''}\x04{entry.msgid}"
                yield key, language, entry.msgstr
                yield key, "en", entry.msgid


def cldr_annotations(source: Source) -> Iterator[Message]:
    """CLDR's names of emoji and symbols, `annotations/<language>/annotations.json`: a lexicon of words and phrases keyed by character."""
    for name, content in _contents(source):
        (annotations,) = _parse_json(source.path, name, content).values()
        for character, entry in annotations.get("annotations", {}).items():
            for spoken in entry.get("tts", []):
                yield character, PurePosixPath(name).parent.name, spoken


def _contents(source: Source) -> Iterator[tuple[str, bytes]]:
    yield from ((file.name, archives.whole(f"{source.path}: {file.name}", file.stream)) for file in source.files())


def _parse_json(archive: Path, name: str, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{archive}: {name} is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise UserError(f"{archive}: {name} is not a JSON object of messages.")
    return value


READERS: dict[str, Callable[[Source], Iterator[Message]]] = {
    reader.__name__: reader for reader in (moses, tsv, jsonl, parquet, tmx, json_keys, gettext, cldr_annotations)
}
