"""The files of a test set, found in the folder or archive that the config names by the layout in its row of benchmarks.tsv.

A row's `dev` and `test` hold file names in which `{code}` stands for the language's code in the row's column `codes` of languages.tsv;
several names, separated by spaces, are several layouts of the same set, the first one that is there counts. Everything asked for is
read in one pass: an archive is decompressed once, however many languages are wanted.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..common import archives, files, languages, records, tables
from ..common.cli import UserError

Row = dict[str, str]
Items = list[dict[str, Any]]
Found = Iterator[tuple[str, Items | str]]  # language, and its items or the reason why it has none
Place = tuple[str, str, int]  # split, language, rank of the layout in its row
SPLITS = {"dev": "dev", "devtest": "test"}  # a split of the items, and the column of benchmarks.tsv that names its files
ANEW = "Fetch it again."


@dataclass(frozen=True)
class Material:
    """What a benchmark is made from: a folder, archive, package or raw corpus; for sets made of two, BELEBELE's folder or archive too.

    `sums` are SHA-256 sums that are accepted beside the official archive's: those of archives that the user packed.
    """

    path: Path
    belebele: Path | None = None
    sums: Sequence[str] = ()


@dataclass(frozen=True)
class Text:
    """One file: its name, for messages and to know its format, and its content."""

    name: str
    content: bytes

    def lines(self) -> list[str]:
        """Lines end with a line feed and with nothing else: test sets hold other separators of Unicode inside their lines.

        A byte order mark and empty lines at the end are no text. Raises `UserError` for what is not UTF-8.
        """
        lines = [records.line_of(self.name, number, line) for number, line in enumerate(self.content.split(b"\n"), 1)]
        while lines and not lines[-1].strip():
            lines.pop()
        return lines

    def rows(self) -> list[tuple[int, dict[str, Any]]]:
        """The rows of a file in JSON lines or Parquet with their numbers; empty lines are passed over."""
        if self.name.endswith(".parquet"):
            import polars as pl

            try:
                return list(enumerate(pl.read_parquet(io.BytesIO(self.content)).to_dicts(), 1))
            except (pl.exceptions.PolarsError, OSError) as error:
                raise UserError(f"{self.name} is not a whole Parquet file ({error}). {ANEW}") from error
        return list(records.numbered_json_lines(self.name, io.BytesIO(self.content)))


def find(material: Material, row: Row, wanted: Sequence[str]) -> dict[tuple[str, str], Text]:
    """The files of the wanted languages, by split and language; a file that is not there is left out.

    Raises `UserError` for a path that is not there, an archive that is not the official one, and a folder or archive of another layout.
    """
    path = material.path
    if not path.exists():
        raise UserError(f"{path} does not exist. Set `path` of this benchmark in the config to its folder or archive.")
    _check_sum(material, row)
    places, globs = _places(row)
    right_layout = False
    best: dict[tuple[str, str], tuple[int, Text]] = {}
    for name, content in _files(path, globs):
        if (place := _place(name, places, globs)) is None:
            continue
        right_layout = True
        split, language, rank = place
        known = best.get((split, language))
        if language in wanted and (known is None or rank <= known[0]):
            where = Path(name) if path.is_dir() else path / name
            text = Text(str(where), where.read_bytes() if content is None else content)
            if known is not None and rank == known[0]:
                _check_same(path, known[1], text, row["benchmark"])
            else:
                best[split, language] = (rank, text)
    if not right_layout:
        layout = " or ".join(name.replace("{code}", "<code>") for column in SPLITS.values() for name in row[column].split())
        raise UserError(f"{path} has no file of {row['benchmark']} ({layout}). Set `path` to its folder or archive in that layout.")
    return {place: text for place, (_, text) in sorted(best.items())}


def _check_same(path: Path, one: Text, other: Text, benchmark: str) -> None:
    """Raise `UserError` where two files stand for one place and say different things: a backup, or another edition."""
    if one.content == other.content:
        return
    parts = [Path(text.name).relative_to(path).parts for text in (one, other)]
    shared = next((place for place, (first, second) in enumerate(zip(*parts, strict=False)) if first != second), 0)
    folders = [path.joinpath(*own[: shared + 1]) for own in parts]
    remedy = (
        f"set `path` to the right one of {folders[0]} and {folders[1]}" if all(map(Path.is_dir, folders)) else "leave one of them there"
    )
    raise UserError(f"{path} has two different files of {benchmark} for one language, {one.name} and {other.name}: {remedy}.")


@cache
def on_disk(path: Path, benchmark: str) -> dict[str, list[str]]:
    """The files of each language in a folder, as inputs of a rule: a folder's own time stamp does not tell when they change."""
    places, globs = _places(tables.row("benchmarks", benchmark))
    named: dict[str, list[str]] = {}
    for name, _ in _files(path, globs) if path.is_dir() else ():
        if (place := _place(name, places, globs)) is not None:
            named.setdefault(place[1], []).append(name)
    return named


def _places(row: Row) -> tuple[dict[str, Place], list[str]]:
    """What every file name of every language stands for; and the names as globs."""
    places: dict[str, Place] = {}
    globs = []
    for split, column in SPLITS.items():
        for rank, name in enumerate(row[column].split()):
            globs.append(name.replace("{code}", "*"))
            for language, known in languages.registry().items():
                # FLORES+ tells two varieties of a language apart by Glottocode: apc_Arab:sout3123 is in apc_Arab_sout3123.jsonl.
                if code := getattr(known, row["codes"]).replace(":", "_"):
                    places[name.replace("{code}", code)] = (split, language, rank)
    return places, globs


def _files(path: Path, globs: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Names of the files that match, sorted for a folder; with their content for an archive, since it is read in passing there."""
    if not path.is_dir():
        yield from archives.members(path, [*globs, *(f"*/{glob}" for glob in globs)])
        return
    names = {str(file) for glob in globs for file in path.rglob(glob.rpartition("/")[2]) if file.is_file()}
    yield from ((name, None) for name in sorted(names))


def _place(name: str, places: dict[str, Place], globs: Sequence[str]) -> Place | None:
    """What the end of a path, its name with as many folders as a layout has, stands for."""
    tails = ("/".join(Path(name).parts[-depth - 1 :]) for depth in {glob.count("/") for glob in globs})
    return next((places[tail] for tail in tails if tail in places), None)


def _check_sum(material: Material, row: Row) -> None:
    accepted = [one for one in (row["sha256"], *material.sums) if one]
    if not accepted or material.path.is_dir():
        return
    if (found := files.sha256_file(material.path)) not in accepted:
        raise UserError(
            f"{material.path} is not the official archive of {row['benchmark']}: its SHA-256 is {found}, expected {' or '.join(accepted)}. "
            "Fetch it again. If you packed it yourself, set `sha256` of this benchmark in the config, or unpack it and name the folder."
        )
