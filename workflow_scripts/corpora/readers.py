"""One reader a format: from the files of a source to messages: key, code of the language there, text.

A key names one message in all its languages; what shares a key is a translation of each other. Languages are found by
any spelling of their tag (`common.language_tags`); a tag that no language takes is counted in `Source.untaken`.
"""

import json
import re
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from ..common import archives, languages, records
from ..common.cli import UserError
from ..common.language_tags import ANY, Codes
from ..common.text import unquoted


class Message(NamedTuple):
    """One text. `code`: as the corpus' column of languages.tsv has it; `tag`: as the file writes it.

    `row`: where it stands in a table whose key is a column, since such a key may stand on several rows; else "".
    """

    key: str
    code: str
    text: str
    tag: str
    row: str = ""


ENDINGS = {"txt", "md", "xml", "ids", "log", "zip", "tar"}  # of file names, where a tag may stand as well
LISTED = 20  # tags that a message names


@dataclass(frozen=True)
class File:
    """One file of a source. `code`, `tag`: what stood for `{code}` in its name; `group`: its name without it."""

    name: str
    stream: IO[bytes]
    code: str
    group: str
    tag: str


@dataclass(frozen=True)
class Source:
    """Where a corpus is read from, and how.

    path: package, folder, archive or single file; `name` is what it is called as a file
    members: glob patterns of the files in it; `{code}` stands for a language's code, `*` for anything
    codes: how this corpus writes the languages' codes, a column of languages.tsv
    fields: which column holds what: a code, `{code}` or `key` -> column
    code: the language that is read for, where each language has a source of its own; else ""
    untaken: tags that no language takes, and how often each was met
    """

    path: Path
    members: list[str]
    codes: Codes = field(default_factory=lambda: languages.codes("iso639"))
    fields: dict[str, str] = field(default_factory=dict)
    name: str = ""
    code: str = ""
    untaken: Counter[str] = field(default_factory=Counter)

    def files(self) -> Iterator[File]:
        """The files whose name ends like one of the patterns, in the order of the archive or by name; streams are good until the next."""
        for name, stream in archives.streams(self.path, self._wanted, self.name):
            code, tag, group = next(filter(None, (self._match(member, name) for member in self.members)))
            yield File(name, stream, code, group, tag)

    def _wanted(self, name: str) -> bool:
        if any(self._match(member, name) for member in self.members):
            return True
        matches = (_pattern(member, ANY).fullmatch(name) for member in self.members if "{code}" in member)
        tag = next((match["code"] for match in matches if match), "")
        if tag and tag not in ENDINGS:
            self.untaken[tag] += 1
        return False

    def _match(self, member: str, name: str) -> tuple[str, str, str] | None:
        """Code, tag and group of a file whose name is like the pattern; None for another, and for one of no language.

        Several parts of a name may be read as a tag. One that is the corpus' own code is the one that is meant, else the
        longest that means a language: `x.en-zh_CN` is not in Chinese of some country, nor `x-pt-br` in Breton.
        """
        if "{code}" not in member:
            match = _pattern(member, ANY).fullmatch(name)
            return ("", "", _group(match)) if match else None
        found = []
        for tag in _parts(name):
            if (code := self.codes.find(tag)) and (match := _pattern(member, re.escape(tag)).fullmatch(name)):
                own = tag == code or (self.codes.is_exact(tag) and len(code) > 3)
                found.append((not own, -len(tag), code, tag, _group(match)))
        return min(found)[2:] if found else None

    def find(self, tag: str) -> str | None:
        """The corpus' own code for a tag; None and counted for one that no language takes."""
        code = self.codes.find(tag)
        if code is None:
            self.untaken[tag] += 1
        return code

    def columns(self, file: File, names: list[str] | None = None) -> list[tuple[str, str, str]]:
        """Code, tag and column of each language in a file.

        `names` are its columns, where they are known: there `{code}` stands for any language's tag, else for the file's.
        """
        key = self.fields.get("key")
        fixed = {label: column for label, column in self.fields.items() if "{code}" not in label and label != "key"}
        found = [(code, label, column) for label, column in fixed.items() if (code := self.find(label))]
        own = file.code or self.code
        for label, column in self.fields.items():
            if "{code}" not in label:
                continue
            if own and names is None:
                found.append((own, file.tag or own, column.replace("{code}", file.tag or own)))
                continue
            for name in names or []:
                match = _pattern(column, ANY).fullmatch(name)
                if match is None or name == key or name in fixed.values():
                    continue
                code = self.find(match["code"]) if "{code}" in column else own
                if code and code == (own or code):
                    found.append((code, match["code"] if "{code}" in column else own, name))
        return found


def _group(match: re.Match[str]) -> str:
    folder, *stars = (match[number] for number in range(1, match.re.groups + 1) if number != match.re.groupindex.get("code"))
    return folder + "*".join(stars)


@cache
def _pattern(member: str, code: str) -> re.Pattern[str]:
    first, *more = (re.escape(part).replace(r"\*", "(.*)").replace(r"\?", ".") for part in member.split("{code}"))
    codes = "".join((f"(?P<code>{code})" if number == 0 else "(?P=code)") + part for number, part in enumerate(more))
    return re.compile(f"((?:.*/)?){first}{codes}", re.DOTALL)


def _parts(name: str) -> set[str]:
    """All runs of words in a name that look like a tag, wherever they begin and end."""
    words = list(re.finditer("[A-Za-z0-9]+", name))
    found = set()
    for place, word in enumerate(words):
        if re.fullmatch("[A-Za-z]{2,3}", word[0]):
            for last in words[place : place + 5]:
                if re.fullmatch(ANY, part := name[word.start() : last.end()]):
                    found.add(part)
    return found


def moses(source: Source) -> Iterator[Message]:
    """Files aligned line by line, one for each language (`*.{code}`): pairs in Moses format, NLLB-Seed, NTREX-128.

    Files whose names differ in nothing but the code belong together, two of a pair or many; the line number is the key.
    """
    counts: dict[str, dict[str, int]] = {}
    for file in source.files():
        if file.tag in counts.setdefault(file.group, {}):
            raise UserError(f"{source.path}: two files for {file.tag} that mean the same, {file.name} is the second. Mend `members`.")
        number = 0
        for number, line in enumerate(records.lines(f"{source.path}: {file.name}", file.stream), 1):
            yield Message(f"{file.group}:{number:08}", file.code, line, file.tag)
        counts[file.group][file.tag] = number
    for group, lengths in counts.items():
        if len(set(lengths.values())) > 1:
            account = ", ".join(f"{code} {length}" for code, length in sorted(lengths.items())[:6])
            raise UserError(f"{source.path}: {group or 'the files'} are not aligned: lines {account}. Fetch them again.")


def tsv(source: Source) -> Iterator[Message]:
    """Columns separated by tabs, with a first line that names them, or named by number (`en=1 {code}=2`) where there is none.

    Empty lines are passed over.
    """
    for file in source.files():
        where = f"{source.path}: {file.name}"
        rows: Iterator[tuple[int, str]] = (
            (number, line) for number, line in enumerate(records.lines(where, file.stream), 1) if line.strip()
        )
        number, first = next(rows, (1, ""))
        header = first.split("\t")
        key = source.fields.get("key", "")
        if all(column.isdigit() for column in source.fields.values()):
            places = [(code, tag, int(column) - 1) for code, tag, column in source.columns(file)]
            key_place = int(key or 0) - 1
            rows = chain([(number, first)] if first else [], rows)
            if len(places) < 2:
                raise UserError(f"{where}: `fields` has no two languages with a column here; `{{code}}` has to stand in `members` too.")
        else:
            names = {name: place for place, name in reversed(list(enumerate(header)))}
            places = [(code, tag, names[name]) for code, tag, name in source.columns(file, header) if name in names]
            key_place = names.get(key, -1)
            if len({place for *_, place in places}) < 2 or (key and key_place < 0):
                raise UserError(
                    f"{where}: its first line names {', '.join(header)[:200]}; `fields` asks for "
                    f"{' '.join(f'{label}={column}' for label, column in source.fields.items())}.{_untaken(source)}"
                )
        last = max(key_place, *(place for *_, place in places), -1)
        for number, line in rows:
            cells = line.split("\t")
            if len(cells) <= last:
                raise UserError(f"{where}: line {number} has {len(cells)} columns, but {last + 1} are needed.")
            if any(cells[len(header) :]):
                raise UserError(
                    f"{where}: line {number} has {len(cells)} columns, but the first line has {len(header)}. A tab inside a "
                    "text shifts what follows it: take it out."
                )
            row = f"{file.name}:{number:08}"
            for code, tag, place in places:
                yield Message(cells[key_place] if key else row, code, unquoted(cells[place]), tag, row if key else "")


def jsonl(source: Source) -> Iterator[Message]:
    """One JSON object a line; a column may lie deeper (`translation.{code}`)."""
    for file in source.files():
        yield from _rows(source, file, records.json_lines(f"{source.path}: {file.name}", file.stream))


def parquet(source: Source) -> Iterator[Message]:
    """Parquet, as data sets on the hub are; a column may lie deeper (`translation.{code}`)."""
    tops = [_pattern(column.split(".")[0], ANY) for column in source.fields.values()]
    for file in source.files():
        where = f"{source.path}: {file.name}"
        yield from _rows(source, file, records.parquet(where, file.stream, lambda name: any(top.fullmatch(name) for top in tops)))


def _rows(source: Source, file: File, rows: Iterator[dict[str, Any]]) -> Iterator[Message]:
    where, key = f"{source.path}: {file.name}", source.fields.get("key", "")
    known: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}
    for number, row in enumerate(rows, 1):
        place = f"{file.name}:{number:08}"
        identity = _value(row, key) if key else place
        if identity is None:
            raise UserError(f"{where}: row {number} has no {key}, but `fields` calls it the key.")
        names = tuple(_names(row, source.fields))
        if names not in known:
            known[names] = source.columns(file, list(names))
        for code, tag, column in known[names]:
            text = _value(row, column)
            if isinstance(text, str):
                yield Message(str(identity), code, records.whole_text(f"{where}: row {number}", text), tag, place if key else "")


def _names(row: dict[str, Any], fields: dict[str, str]) -> Iterator[str]:
    """The columns of a row that may be a language's, deeper ones with their path."""
    for column in fields.values():
        if "{code}" not in column:
            yield column
            continue
        before, _, _ = column.partition("{code}")
        folder = before.rpartition(".")[0]
        after = column[len(before) :].partition(".")[2]
        inside = _value(row, folder) if folder else row
        for name in inside if isinstance(inside, dict) else ():
            yield ".".join(filter(None, (folder, name, after)))


def _value(row: Any, path: str) -> Any:
    for name in path.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _untaken(source: Source) -> str:
    """A sentence on the tags that nobody took; "" if there are none."""
    return f" No language takes the codes {untaken(source.untaken)}." if source.untaken else ""


def untaken(tags: Counter[str]) -> str:
    """Tags that no language took, the most frequent ones first, with how often each was met."""
    listed = sorted(tags.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(listed) - LISTED} others" if len(listed) > LISTED else ""
    return ", ".join(f"{tag} ({count})" for tag, count in listed[:LISTED]) + more


LANGUAGE = ("{http://www.w3.org/XML/1998/namespace}lang", "lang")  # TMX 1.4, and 1.1
CODES_OF_A_PROGRAM = {"bpt", "ept", "ph", "it", "ut"}  # inline elements whose text is markup of the document the segment is from


def tmx(source: Source) -> Iterator[Message]:
    """Translation memories (TMX 1.1 to 1.4), one unit at a time. Entities are not expanded, and nothing outside of the file is read."""
    from lxml import etree

    for file in source.files():
        try:
            units = etree.iterparse(file.stream, tag="{*}tu", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
            for number, (_, unit) in enumerate(units, 1):
                for variant in unit.iterchildren("{*}tuv"):
                    tag = next((variant.get(name) for name in LANGUAGE if variant.get(name)), "")
                    code, segment = source.find(tag), variant.find("{*}seg")
                    if code is not None and segment is not None:
                        yield Message(f"{file.name}:{number:08}", code, "".join(_segment(segment)), tag)
                unit.clear()
                while unit.getprevious() is not None:
                    del unit.getparent()[0]
        except etree.XMLSyntaxError as error:
            raise UserError(f"{source.path}: {file.name} is not whole XML ({error}).") from error


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
        code = None if path.stem == "qqq" else source.find(path.stem)
        if code is None:
            continue
        for key, value in _parse_json(source.path, name, content).items():
            text = value.get("string", value.get("message")) if isinstance(value, dict) else value
            if isinstance(text, str) and not key.startswith("@"):
                where = f"{source.path}: {name}: {key}"
                yield Message(f"{path.parent}/{key}", code, records.whole_text(where, text), path.stem)


def gettext(source: Source) -> Iterator[Message]:
    """`<language>/LC_MESSAGES/*.po` or `.mo`, `<language>.mo`, or where `{code}` stands in the pattern; the English message is the key.

    Fuzzy, obsolete and plural entries are left out.
    """
    import polib

    english = source.find("en")
    for file in source.files():
        name, content, path = file.name, archives.whole(f"{source.path}: {file.name}", file.stream), PurePosixPath(file.name)
        tag = file.tag or (path.parent.parent.name if path.parent.name == "LC_MESSAGES" else path.stem)
        code = file.code or source.find(tag)
        try:
            if path.suffix == ".mo":
                with tempfile.NamedTemporaryFile(suffix=".mo") as copy:
                    copy.write(content)
                    copy.flush()
                    entries = list(polib.mofile(copy.name))
            else:
                entries = [entry for entry in polib.pofile(content.decode("utf-8-sig")) if not entry.fuzzy]
        except (OSError, ValueError, struct.error) as error:
            raise UserError(f"{source.path}: {name} is not a gettext catalogue ({error}).") from error
        for entry in entries:
            if entry.msgid and entry.msgstr and not entry.msgid_plural and not entry.obsolete:
                key = f"{entry.msgctxt or ''}\x04{entry.msgid}"
                if code:
                    yield Message(key, code, entry.msgstr, tag)
                if english:
                    yield Message(key, english, entry.msgid, english)


def cldr_annotations(source: Source) -> Iterator[Message]:
    """CLDR's names of emoji and symbols, `annotations/<language>/annotations.json`: a lexicon of words and phrases keyed by character."""
    for name, content in _contents(source):
        tag = PurePosixPath(name).parent.name
        code = source.find(tag)
        if code is None:
            continue
        try:
            (annotations,) = _parse_json(source.path, name, content).values()
            entries = [(character, list(entry.get("tts", []))) for character, entry in annotations.get("annotations", {}).items()]
        except (ValueError, AttributeError, TypeError) as error:
            raise UserError(f"{source.path}: {name} is not one of CLDR's annotations ({error}).") from error
        for character, names in entries:
            for spoken in names:
                yield Message(character, code, spoken, tag)


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
