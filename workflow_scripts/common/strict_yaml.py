"""YAML and JSON settings, read strictly: what YAML would take in silence for something else is one error that names file and line.

PyYAML keeps the last of two equal keys, and reads `010` as 8, `1:30` as 90 and `2024-01-01` as a date (YAML 1.1, section 10.2 and
yaml.org/type). Here these are errors. Values that are right where they stand (`packing: no`) are left to the schema.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cli import UserError

TAG = "tag:yaml.org,2002:"
ODD_NUMBERS = {  # plain scalars that are numbers to YAML 1.1, by what it does with them
    re.compile(r"[-+]?0[0-7_]+"): "as octal",
    re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"): "to the base of 60",
    re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE): "as infinite or as no number at all",
}


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file. Raises `UserError` for anything else, a key twice, or a value that is easily misread."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    value = parse(text, str(path))
    if not isinstance(value, dict):
        found = "empty" if value is None else f"a {type(value).__name__}"
        raise UserError(f"{path} is {found}; it must be a mapping: lines of `key: value`.")
    return value


def parse(text: str, where: str) -> Any:
    """The value of a YAML or JSON text; `where` names it in errors."""
    import yaml

    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _without_doubles(pairs, where))
    except ValueError:
        pass  # not JSON, then YAML
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _check(root, where, set())
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {_reason(error, text)}") from None


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise `UserError` where Snakemake's command line sets a key twice (`--config a=1 a=2`), or a key twice within one value."""
    seen: dict[str, str] = {}
    reading = False
    for argument in arguments:
        option = re.fullmatch(r"(?:--config=|-C)(.*)|--config", argument, re.DOTALL)
        reading = bool(option) or (reading and not argument.startswith("-"))
        key, equals, value = ((option[1] or "") if option else argument).partition("=")
        if not reading or not equals:
            continue
        if seen.setdefault(key, value) != value:
            raise UserError(f"--config sets {key} twice, to {seen[key]} and to {value}: leave one out.")
        if value.lstrip().startswith(("{", "[")):
            parse(value, f"--config {key}")


def _without_doubles(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise UserError(f"{where}: the key {twice[0]} is there twice. Put both together, or take one out.")
    return dict(pairs)


def _check(node: Any, where: str, seen: set[int]) -> None:
    """Walk the nodes of a document, each once, since anchors may stand in several places."""
    import yaml

    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, where)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item, where, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"{where} line {line}: a key must be a word, not a list or a mapping.")
            if key.tag not in (f"{TAG}str", f"{TAG}merge"):
                kind = key.tag.removeprefix(TAG)
                raise UserError(f'{where} line {line}: YAML reads the key {key.value} as {kind}. Put it in quotation marks: "{key.value}".')
            if key.value in lines and key.tag != f"{TAG}merge":
                raise UserError(
                    f"{where}: the key {key.value} is there twice, in lines {lines[key.value]} and {line}; YAML would keep "
                    "the second only. Put both together, or take one out."
                )
            lines[key.value] = line
            _check(value, where, seen)


def _check_scalar(node: Any, where: str) -> None:
    """Raise `UserError` for a plain scalar that YAML 1.1 makes into something that its reader does not expect."""
    place, kind = f"{where} line {node.start_mark.line + 1}", node.tag.removeprefix(TAG)
    quoted = f'in quotation marks if it is text: "{node.value}"'
    if kind == "timestamp" and node.style is None:
        raise UserError(f"{place}: YAML reads {node.value} as a date. Put it {quoted}.")
    for pattern, how in ODD_NUMBERS.items():
        if kind in ("int", "float") and pattern.fullmatch(node.value):
            raise UserError(f"{place}: YAML reads {node.value} {how}. Write a plain decimal number, or put it {quoted}.")


def _reason(error: Any, text: str) -> str:
    """What PyYAML says in one line, and plainly where a tab is to blame."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    if "\t" in line[: mark.column + 1]:
        return f"line {mark.line + 1} holds a tab. Indent with blanks."
    context = f", {error.context}" if error.context else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{context}."
