"""Benchmarks that lm-evaluation-harness asks (`resources/harness_tasks.tsv`), and where a local folder has their files."""

from pathlib import Path

from . import languages, tables

TABLE = "harness_tasks"


def codes(row: dict[str, str]) -> dict[str, str]:
    """FLORES-200 code -> the harness's code, for the languages that the benchmark has."""
    return dict(entry.split("=") for entry in row["languages"].split())


def lack(row: dict[str, str], language: str) -> str:
    """Why a language has no questions, or ""."""
    return "" if language in codes(row) else f"n/a: {row['name']} has no {languages.get(language).name}"


def patterns(row: dict[str, str], code: str) -> dict[str, list[str]]:
    """Split of the harness -> where its files may lie below a local folder; `code` may be a *."""
    found: dict[str, list[str]] = {}
    for entry in row["files"].split():
        split, path = entry.split(":")
        found.setdefault(split, []).append(path.replace("{code}", code))
    return found


def local_files(row: dict[str, str], folder: Path, code: str) -> dict[str, Path]:
    """The file of each split that is there, for one code."""
    there = {split: [folder / path for path in paths if (folder / path).is_file()] for split, paths in patterns(row, code).items()}
    return {split: paths[0] for split, paths in there.items() if paths}


def inputs(benchmark: str, folder: Path, language: str) -> list[str]:
    """All files of a local folder that a language's questions may come from."""
    row = tables.row(TABLE, benchmark)
    code = codes(row).get(language)
    wanted = [path for paths in patterns(row, code).values() for path in paths] if code else []
    return sorted(str(path) for pattern in wanted for path in folder.glob(pattern))
