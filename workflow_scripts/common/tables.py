"""The tables people edit (`resources/*.tsv`): tab-separated, read as text, each row checked against its schema."""

import csv
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .cli import UserError
from .files import read_json

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = ROOT / "resources"
SCHEMAS = ROOT / "schemas"


@cache
def _validator(schema: Path) -> Any:
    import jsonschema_rs  # not in COMET's environment, where nothing is checked

    return jsonschema_rs.Draft202012Validator(read_json(schema))


def check(row: Any, schema: Path, where: str, exact: bool = False) -> None:
    """Raise one `UserError` naming the place in `row` and the rule that it breaks.

    `exact`, for settings: 8.0 is no whole number, and neither NaN nor infinity is a number, which JSON Schema lets pass.
    """
    if not exact and _validator(schema).is_valid(row):
        return
    from . import mistakes  # imports jsonschema: slower, with what it takes to tell why

    if wrong := mistakes.find(row, read_json(schema)):
        raise UserError(f"{where}: {wrong}")


@cache
def read(name: str, folder: Path = RESOURCES) -> dict[str, dict[str, str]]:
    """Read `resources/<name>.tsv` as a dictionary of rows, keyed by its first column.

    Raises `UserError` for a row that breaks `schemas/<name>.schema.json`, has the wrong number of cells, or a key twice.
    """
    path = folder / f"{name}.tsv"
    rows: dict[str, dict[str, str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            numbered = [(number, line) for number, line in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1) if line]
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} is not a table in UTF-8 ({error}). Save it as tab-separated text in UTF-8.") from error
        if not numbered:
            raise UserError(f"{path} is empty.")
        (_, header), *lines = numbered
        for number, cells in lines:
            where = f"{path.name} line {number}"
            if len(cells) != len(header):
                raise UserError(f"{where}: {len(cells)} cells, but the header has {len(header)}. Cells are separated by tabs.")
            row = dict(zip(header, cells, strict=True))
            check(row, SCHEMAS / f"{name}.schema.json", f"{where} ({cells[0]})")
            if cells[0] in rows:
                raise UserError(f"{where}: {cells[0]} is there twice.")
            rows[cells[0]] = row
    return rows


def package_of(package: str, code: str) -> str:
    """The package of one language, where `{code}` in a package's name stands for the language's code."""
    return package.replace("{code}", code.lower())


def file_name(package: dict[str, str]) -> str:
    """What the file of a package of no registry is called, by the end of its address without the query; "" for others."""
    if package["registry"] not in ("hub", "url"):
        return ""
    return Path(unquote(urlsplit(package["name"]).path)).name.lstrip(".") or package["package"]


def name_at(path: Path, package: str) -> str:
    """What a file that is no archive is called: a download, kept under its package's name, as at its address; any other by its own name."""
    return file_name(row("packages", package)) if path.suffix == ".archive" else path.name


def columns(name: str) -> list[str]:
    """The columns of a table, in its order."""
    return list(next(iter(read(name).values())))


def row(name: str, key: str, folder: Path = RESOURCES, where: str = "") -> dict[str, str]:
    """One row of a table, or a `UserError` that names the nearest keys, and the place that asked for it."""
    rows = read(name, folder)
    if key not in rows:
        from . import codes, mistakes

        meant = codes.meant(key) if name == "languages" else mistakes.near(key, rows) or " Add a row for it."
        raise UserError(f"{where}{key} is not in resources/{name}.tsv.{meant}")
    return rows[key]
