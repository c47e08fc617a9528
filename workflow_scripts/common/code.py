"""Which source files a step is made of: declared as its inputs, so that a change of code reruns what it touches and nothing else."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Plumbing: these write files whole, check rows, word errors, name sources and count CPUs. What a step computes is not in them, and a model
# must not be trained again because an error message changed.
IMPORT = re.compile(r"^ *from (\.+)([\w.]*) import (\([^)]*|.*)", re.MULTILINE)
LEFT_OUT = {"cli", "files", "ledger", "lineage", "machine", "mistakes", "pieces", "strict_yaml", "tables"}


@cache
def imported(path: Path) -> list[Path]:
    """The project modules that a file itself imports, but the plumbing. Parsing the files would take a second of every job's start."""
    found = []
    for dots, module, names in IMPORT.findall(path.read_text(encoding="utf-8")):
        folder = path.parents[len(dots) - 1].joinpath(*module.split("."))
        candidates = [folder.with_suffix(".py"), *(folder / f"{name}.py" for name in re.findall(r"\w+", names))]
        found += [path for path in candidates if path.is_file() and path.stem not in LEFT_OUT]
    return found


@cache
def sources(module: str) -> list[str]:
    """The file of `workflow_scripts.<module>` and of every project module it imports, directly or not, but the plumbing."""
    found: set[Path] = set()
    pending = [ROOT / "workflow_scripts" / (module.replace(".", "/") + ".py")]
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found.add(path)
        pending += imported(path)
    return sorted(str(path.relative_to(ROOT)) for path in found)
