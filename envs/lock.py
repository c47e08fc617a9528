"""Make an environment's pinned files anew from its direct dependencies: `python envs/lock.py main` (or comet).

Installs envs/<name>.in into a fresh virtual environment, then writes what came of it to envs/<name>.txt (for pip) and envs/<name>.yaml
(for conda, the same pins). `--yaml` rewrites the .yaml from the .txt and installs nothing.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent


def lock(name: str) -> None:
    """Resolve `<name>.in` from scratch; a local build tag (+cpu) is cut off, so that a GPU machine may take its own build."""
    with tempfile.TemporaryDirectory() as folder:
        python = f"{folder}/bin/python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", FOLDER / f"{name}.in"], check=True)
        frozen = subprocess.run([python, "-m", "pip", "freeze", "--exclude", "pip"], check=True, capture_output=True, text=True).stdout
    pins = sorted(line.split("+")[0].lower() for line in frozen.splitlines())
    (FOLDER / f"{name}.txt").write_text("\n".join(pins) + "\n")


def yaml_text(name: str) -> str:
    """The conda file: Snakemake tells a changed environment by this text alone, so every pin is written out in it."""
    pins = (FOLDER / f"{name}.txt").read_text().split()
    return (
        "\n".join(
            [
                "channels: [conda-forge]",
                "dependencies:",
                "  - python =3.11",
                "  - pip",
                "  - pip:",
                *(f"      - {pin}" for pin in pins),
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    environment = sys.argv[1]
    if "--yaml" not in sys.argv:
        lock(environment)
    (FOLDER / f"{environment}.yaml").write_text(yaml_text(environment))
