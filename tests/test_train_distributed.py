"""Training as several processes (gloo, CPU): the same result as in one, and the same again when it was killed or stopped on its way."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.test_train import ROOT, base, command, mixture, weights
from workflow_scripts.common import files
from workflow_scripts.models import checkpoints

__all__ = ["base"]  # a fixture
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
ROWS = 120  # 30 steps of four rows, a checkpoint every four


def launch(gpus: int, arguments: list[str]) -> "subprocess.Popen[str]":
    program = [sys.executable, "-m", "workflow_scripts.models.launch", "--nodes", "1", "--gpus", str(gpus), *arguments]
    options = {"cwd": ROOT, "env": ENVIRONMENT, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, **options)  # type: ignore[call-overload, no-any-return]


def finish(gpus: int, arguments: list[str]) -> str:
    process = launch(gpus, arguments)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    return said


def after_checkpoints(place: Path, count: int) -> None:
    """Wait until a training has written that many complete checkpoints beyond those that are there."""
    end, seen = time.monotonic() + 120, set(place.glob("work/*/checkpoint-*/complete.json"))
    while len(set(place.glob("work/*/checkpoint-*/complete.json")) - seen) < count:
        assert time.monotonic() < end, "no checkpoint"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def two(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two processes that nothing disturbs."""
    place = tmp_path_factory.mktemp("two")
    finish(2, command(base, mixture(place / "mixture.parquet", ROWS), place))
    return place


@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_learn_what_one_does(base: Path, two: Path, tmp_path: Path, method: str) -> None:
    changes = {} if method == "lora" else {"method": "full", "learning_rate": 1e-3}
    places = {1: tmp_path / "one", 2: two if method == "lora" else tmp_path / "two"}
    for gpus, place in places.items():
        if not (place / "model").exists():
            place.mkdir()
            finish(gpus, command(base, two / "mixture.parquet", place, **changes))
    one, other = (load_file(place / "model/model.safetensors") for place in places.values())
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, atol=2e-4, rtol=1e-3)
    losses = [[line["loss"] for line in files.read_jsonl(place / "model/training.jsonl")] for place in places.values()]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert losses[0][-1] < losses[0][0]


def test_killed_stopped_and_damaged_it_ends_bit_equal(base: Path, two: Path, tmp_path: Path) -> None:
    arguments = command(base, two / "mixture.parquet", tmp_path)
    process = launch(2, arguments)  # killed, all of it
    after_checkpoints(tmp_path, 1)
    subprocess.run(["pkill", "-KILL", "-f", str(tmp_path)])  # the workers are in sessions of their own
    process.communicate()
    assert not (tmp_path / "model").exists()

    process = launch(2, arguments)  # stopped, as Slurm does it
    after_checkpoints(tmp_path, 1)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == checkpoints.EXIT_STOPPED, said
    assert "a checkpoint is saved" in said

    newest = max(tmp_path.glob("work/*/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    shard = next(newest.rglob("__1_*.distcp"))  # what the second process wrote
    os.truncate(shard, shard.stat().st_size // 2)
    said = finish(2, arguments)
    assert f"{newest.name} is incomplete or altered: deleted" in said and "continuing from checkpoint-" in said
    assert weights(tmp_path) == weights(two)
    for name in ("model/training.jsonl", "manifest.json", "ledger.csv"):
        assert (tmp_path / name).read_bytes() == (two / name).read_bytes(), name


def test_rows_that_cannot_be_shared_are_refused(base: Path, two: Path, tmp_path: Path) -> None:
    process = launch(3, command(base, two / "mixture.parquet", tmp_path))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "Traceback" not in said
    assert "error:" in said and "4" in said
    shutil.rmtree(tmp_path)
