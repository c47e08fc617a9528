"""What this process may use: CPUs and memory as affinity, control groups and Slurm leave them, which can be less than the machine has."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from .cli import UserError

ROOT = Path("/")
UNLIMITED_MB = 1e9  # control groups of version 1 write no limit as a number of about 2^63


def cpus(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """How many CPUs: the fewest of affinity, Slurm's CPUs of a task, and a control group's share of time; rounded down, but never 0."""
    found = [float(len(os.sched_getaffinity(0)))]
    if (slurm := environment.get("SLURM_CPUS_PER_TASK", "")).isdigit():
        found.append(int(slurm))
    for quota, period in (*_groups(root, "", "cpu.max", "cpu.max"), *_groups(root, "cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")):
        if quota[0].isdigit():  # "max" or -1 is no limit
            found.append(int(quota[0]) / int(period[-1]))
    return max(1, int(min(found)))


def gpus_given(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody gave this job GPUs: Slurm, or whoever named the visible ones. `CUDA_VISIBLE_DEVICES=""` asks for none."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return visible.strip() not in ("", "-1", "NoDevFiles")  # the last is what Slurm writes for none
    devices = (environment.get(name, "") for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS"))  # "0" is the first one
    return any(devices) or environment.get("SLURM_GPUS_ON_NODE", "0") not in ("", "0")


def free_mb(root: Path = ROOT) -> float:
    """Megabytes that can still be taken: what the machine has available, or less where a control group's limit is nearer.

    Pages of files that a group holds count as taken, so under a limit this is rather too little than too much.
    """
    (line,) = (line for line in (root / "proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    found = [int(line.split()[1]) * 1024 / 1e6]
    versions = (("", "memory.max", "memory.current"), ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))
    for limit, used in (pair for version in versions for pair in _groups(root, *version)):
        if limit[0].isdigit() and int(limit[0]) / 1e6 < UNLIMITED_MB:
            found.append((int(limit[0]) - int(used[0])) / 1e6)
    return max(0.0, min(found))


def check_gpus(given: int = 0) -> None:
    """Raise `UserError` for a job that was given GPUs, by its rule or as `gpus_given` tells, and whose PyTorch sees none.

    On CPUs it would take a hundred times as long. `PIVOTLIFT_CPU=1` says that this is meant.
    """
    import torch

    if not (given or gpus_given()) or os.environ.get("PIVOTLIFT_CPU") == "1" or torch.cuda.is_available():
        return
    built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "has no CUDA"
    named = {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES", "SLURM_GPUS_ON_NODE", "SLURM_JOB_GPUS") if name in os.environ}
    said = f" ({', '.join(f'{name}={value}' for name, value in named.items())})" if named else ""
    raise UserError(
        f"this job was given GPUs{said}, but PyTorch sees none on {platform.node()}. See whether `nvidia-smi` works here (driver), whether "
        f"the environment's torch is built for its CUDA (this one, {torch.__version__}, {built}), and whether the job's --gres or --gpus "
        "reaches its steps. To compute on CPUs: PIVOTLIFT_CPU=1."
    )


def _groups(root: Path, controller: str, *names: str) -> list[tuple[list[str], ...]]:
    """The words of so named files of this process's control group and all above it; version 2 has no controller's name.

    In a container the path may be one of the host's, which does not exist here; then the groups that exist count.
    """
    found = []
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
            folder = top / path.lstrip("/")
            for group in (folder, *folder.parents):
                if all((group / name).is_file() for name in names):
                    found.append(tuple((group / name).read_text().split() for name in names))
                if group == top:
                    break
    return found
