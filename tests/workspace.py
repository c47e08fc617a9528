"""A clean copy of the repository in a folder of its own, and Snakemake run in it as a user would."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "results", "logs", ".snakemake", "__pycache__", ".*_cache")


def copy(folder: Path) -> Path:
    """Copy the repository without anything that was made in it."""
    return Path(shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True))


def snakemake(folder: Path, *arguments: str, check: bool = True) -> str:
    """Run Snakemake in `folder`; what it printed. With `check`, a failure fails the test and shows the output's end."""
    done = subprocess.run([sys.executable, "-m", "snakemake", *arguments], cwd=folder, capture_output=True, text=True)
    output = done.stdout + done.stderr
    if check and done.returncode:
        raise AssertionError(f"snakemake {' '.join(arguments)} failed:\n{output[-6000:]}")
    return output


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Jobs that a dry run plans, counted by rule, the target itself left out; {} if there is nothing to do."""
    output = snakemake(folder, *arguments, "--dry-run")
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", output, re.DOTALL | re.MULTILINE)
    if table is None:
        assert "Nothing to be done" in output, output[-2000:]
        return {}
    counts = {rule: int(count) for rule, count in (line.split() for line in table[1].strip().splitlines())}
    counts.pop("all", None)
    return counts
