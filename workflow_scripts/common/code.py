"""Which source files a step is made of: declared as its inputs, so that a change of code reruns what it touches and nothing else."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Plumbing: these write files whole, check rows and word errors. What a step computes is not in them, and a model must not be trained
# again because an error message changed.
LEFT_OUT = {"cli", "files", "ledger", "tables"}


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
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                candidates = [folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in node.names)]
                pending += [path for path in candidates if path.is_file() and path.stem not in LEFT_OUT]
    return sorted(str(path.relative_to(ROOT)) for path in found)
