"""A clean copy of the repository in a folder of its own, and Snakemake run in it as a user would."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REHEARSAL = ("--configfile", "tests/rehearsal.yaml")
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "results", "logs", ".snakemake", "__pycache__", ".*_cache")


def copy(folder: Path) -> Path:
    """Copy the repository without anything that was made in it."""
    return Path(shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True))


def snakemake(folder: Path, *arguments: str, check: bool = True, env: Mapping[str, str] | None = None) -> str:
    """Run Snakemake in `folder`; what it printed. With `check`, a failure fails the test and shows the output's end."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | dict(env or {}))
    output = done.stdout + done.stderr
    if check and done.returncode:
        raise AssertionError(f"snakemake {' '.join(arguments)} failed:\n{output[-6000:]}")
    return output


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Jobs that a dry run plans, counted by rule (all shards as one), the target itself left out; {} if there is nothing to do."""
    return counted(snakemake(folder, *arguments, "--dry-run"))


def counted(output: str) -> dict[str, int]:
    """The same from what a dry run printed."""
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", output, re.DOTALL | re.MULTILINE)
    if table is None:
        assert "Nothing to be done" in output, output[-2000:]
        return {}
    counts: Counter[str] = Counter()
    for line in table[1].strip().splitlines():
        rule, count = line.split()
        counts[re.sub(r"_\S+_\d+$", "", rule)] += int(count)  # the shards of predictions and of scores, each
    counts.pop("all", None)
    return dict(counts)
