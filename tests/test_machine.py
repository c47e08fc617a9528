"""What a process may use, read from made-up control groups beside this machine's real affinity."""

import os
from pathlib import Path

import pytest

from workflow_scripts.common import machine

HERE = len(os.sched_getaffinity(0))


def root(folder: Path, groups: str, files: dict[str, str]) -> Path:
    files = {"proc/self/cgroup": groups, "proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:    2000000 kB\n"} | files
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    unlimited = {"sys/fs/cgroup/job/cpu.max": "max 100000\n", "sys/fs/cgroup/job/memory.max": "max\n"}
    place = root(tmp_path, "0::/job\n", unlimited | {"sys/fs/cgroup/job/memory.current": "5\n"})
    assert (machine.cpus(place, {}), machine.free_mb(place)) == (HERE, 2048)


def test_the_nearest_limit_counts(tmp_path: Path) -> None:
    """Version 2: the job may take all, but the slice above it is limited."""
    limits = {"cpu.max": "150000 100000\n", "memory.max": "1000000000\n", "memory.current": "400000000\n"}
    place = root(tmp_path, "0::/slice/job\n", {f"sys/fs/cgroup/slice/{name}": text for name, text in limits.items()})
    assert (machine.cpus(place, {}), machine.free_mb(place)) == (1, 600)


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    files = {"cpu/job/cpu.cfs_quota_us": "100000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}
    files |= {"memory/job/memory.limit_in_bytes": "500000000\n", "memory/job/memory.usage_in_bytes": "600000000\n"}
    files |= {"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/memory.usage_in_bytes": "700000000\n"}
    place = root(tmp_path, "4:memory:/job\n1:cpu,cpuacct:/job\n", {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert (machine.cpus(place, {}), machine.free_mb(place)) == (1, 0)


@pytest.mark.parametrize(("slurm", "expected"), [("1", 1), ("9999", HERE), ("", HERE)])
def test_slurm_says_what_a_task_has(tmp_path: Path, slurm: str, expected: int) -> None:
    assert machine.cpus(root(tmp_path, "0::/\n", {}), {"SLURM_CPUS_PER_TASK": slurm}) == expected


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        ({}, False),
        ({"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": ""}, False),
        ({"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "2"}, True),
        ({"SLURM_JOB_GPUS": "0"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, True),
        ({"CUDA_VISIBLE_DEVICES": "GPU-6f", "SLURM_JOB_ID": "7"}, True),
        ({"CUDA_VISIBLE_DEVICES": ""}, False),
        ({"CUDA_VISIBLE_DEVICES": "-1", "SLURM_GPUS_ON_NODE": "1"}, False),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, False),
    ],
)
def test_whether_a_job_was_given_gpus(environment: dict[str, str], given: bool) -> None:
    assert machine.gpus_given(environment) == given


def test_this_machine_can_be_asked() -> None:
    assert 1 <= machine.cpus() <= HERE
    assert machine.free_mb() > 100
