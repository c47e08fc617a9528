"""One reader a format: from the members of a package to (key, language code of the package, text).

A key names one message in all its languages; what shares a key is a translation of each other.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ..common import archives
from ..common.cli import UserError

Message = tuple[str, str, str]


def json_keys(archive: Path, patterns: list[str]) -> Iterator[Message]:
    """`<folder>/<language>.json` files of {key: text}, as MediaWiki and Scratch keep them; the folder is part of the key.

    A text may also stand in an object under "string" or "message". Keys that start with "@" are metadata; qqq.json describes the messages.
    """
    for name, content in archives.members(archive, patterns):
        path = PurePosixPath(name)
        if path.stem == "qqq":
            continue
        for key, value in _parse_json(archive, name, content).items():
            text = value.get("string", value.get("message")) if isinstance(value, dict) else value
            if isinstance(text, str) and not key.startswith("@"):
                yield f"{path.parent}/{key}", path.stem, text


def gettext(archive: Path, patterns: list[str]) -> Iterator[Message]:
    """`<language>/LC_MESSAGES/*.po` or `.mo`, or `<language>.mo`; the English message is the key.

    Fuzzy, obsolete and plural entries are left out.
    """
    import polib

    for name, content in archives.members(archive, patterns):
        path = PurePosixPath(name)
        language = path.parent.parent.name if path.parent.name == "LC_MESSAGES" else path.stem
        try:
            if path.suffix == ".mo":
                with tempfile.NamedTemporaryFile(suffix=".mo") as file:
                    file.write(content)
                    file.flush()
                    entries = list(polib.mofile(file.name))
            else:
                entries = [entry for entry in polib.pofile(content.decode("utf-8")) if not entry.fuzzy]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{archive}: {name} is not a gettext catalogue ({error}).") from error
        for entry in entries:
            if entry.msgid and entry.msgstr and not entry.msgid_plural and not entry.obsolete:
                key = f"{entry.msgctxt or ''}\x04{entry.msgid}"
                yield key, language, entry.msgstr
                yield key, "en", entry.msgid


def cldr_annotations(archive: Path, patterns: list[str]) -> Iterator[Message]:
    """CLDR's names of emoji and symbols, `annotations/<language>/annotations.json`: a lexicon of words and phrases keyed by character."""
    for name, content in archives.members(archive, patterns):
        (annotations,) = _parse_json(archive, name, content).values()
        for character, entry in annotations.get("annotations", {}).items():
            for spoken in entry.get("tts", []):
                yield character, PurePosixPath(name).parent.name, spoken


def _parse_json(archive: Path, name: str, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{archive}: {name} is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise UserError(f"{archive}: {name} is not a JSON object of messages.")
    return value


READERS: dict[str, Callable[[Path, list[str]], Iterator[Message]]] = {
    "json_keys": json_keys,
    "gettext": gettext,
    "cldr_annotations": cldr_annotations,
}
