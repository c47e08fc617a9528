"""Before anything is submitted: what the run will take, whether the disk has room for it, and whether the cluster accepts such jobs.

Called by the Snakefile with the jobs that Snakemake planned. Every refusal is one `UserError` that says what to change.
"""

import csv
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..common import files, hub
from ..common.cli import UserError
from .description import Cluster

ESTIMATE = Path("results/cost/estimate.csv")
WHERE = "profiles/slurm/cluster.yaml"
STATUS_SECONDS = 60  # least time that Slurm must remember a finished job, or the run waits for it for ever


@dataclass(frozen=True)
class Planned:
    """One planned job: a row of results/cost/estimate.csv. `expected` and `minutes`: estimated, and asked of the cluster."""

    rule: str
    wildcards: str
    expected: int
    minutes: int
    cpus: int
    gpus: int
    mem_mb: int
    disk_mb: int
    local: bool


def need(job: Any, name: str) -> int:
    """A resource of a job as a number; 0 where it has none, or Snakemake cannot know it yet (it depends on files that are not made)."""
    value = job.resources.get(name, 0)
    return value if isinstance(value, int) else 0


def plan(jobs: Iterable[Any], local_rules: set[str]) -> list[Planned]:
    """Snakemake's jobs as plain rows, sorted; without targets, which have nothing to run."""
    rows = []
    for job in jobs:
        if job.rule.norun:
            continue
        rows.append(
            Planned(
                rule=job.rule.name,
                wildcards=",".join(f"{name}={value}" for name, value in sorted(job.wildcards.items())),
                expected=need(job, "expected_minutes"),
                minutes=need(job, "runtime"),
                cpus=need(job, "cpus_per_task") * max(1, need(job, "nodes")) or job.threads,
                gpus=need(job, "gpu"),
                mem_mb=need(job, "mem_mb"),
                disk_mb=need(job, "disk_mb"),
                local=job.rule.name in local_rules,
            )
        )
    return sorted(rows, key=astuple)


def gpu_hours(rows: Iterable[Planned]) -> float:
    """Those that the run is expected to use; it asks for more, so that no job is cut off."""
    return sum(row.gpus * row.expected for row in rows) / 60


def summary(rows: list[Planned]) -> str:
    """The estimate as a table, one line a kind of job; rules that differ only in their last number are one kind."""
    kinds: dict[str, list[Planned]] = {}
    for row in rows:
        kinds.setdefault(row.rule.rstrip("0123456789").rstrip("_"), []).append(row)
    lines = [f"{'estimate':32} {'jobs':>6} {'of them local':>14} {'GPU-hours':>10} {'disk GB':>8}"]
    for kind, few in [*sorted(kinds.items()), ("whole run", rows)]:
        local, disk = sum(row.local for row in few), sum(row.disk_mb for row in few) / 1000
        lines.append(f"{kind:32} {len(few):6} {local:14} {gpu_hours(few):10.1f} {disk:8.1f}")
    return "\n".join(lines)


def record(rows: list[Planned], path: Path = ESTIMATE) -> None:
    """Keep the estimate for `make cost`. Rows of earlier runs stay, unless the same job is planned again.

    Raises `UserError` where nothing can be written: the first that a run writes, so a read-only or full disk is told here.
    """
    names = [field.name for field in fields(Planned)]
    old: dict[tuple[str, str], list[Any]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            old = {(row["rule"], row["wildcards"]): [row[name] for name in names] for row in csv.DictReader(file)}
    new = old | {(row.rule, row.wildcards): list(astuple(row)) for row in rows}
    try:
        with files.whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(new[key] for key in sorted(new))
    except OSError as error:
        folder = path.parents[1].resolve()
        raise UserError(
            f"{folder} cannot be written to: {error.strerror} ({error.filename or path}). Results need a folder that is yours, on a disk "
            "with room that is not mounted read-only."
        ) from None


def check_disk(rows: list[Planned], folder: Path = Path()) -> None:
    """Raise `UserError` where less is free than the run is estimated to write."""
    free, wanted = shutil.disk_usage(folder).free / 1e9, sum(row.disk_mb for row in rows) / 1000
    if free < wanted:
        raise UserError(
            f"the run needs about {wanted:.0f} GB, but only {free:.0f} GB are free in {folder.resolve()}. Free some space, or take models "
            "out of the config."
        )


def check_hub(models: list[dict[str, Any]]) -> None:
    """Raise `UserError` for the first hub model that this account may not fetch, or that the hub's cache has no room for."""
    wanted = 0
    for model in models:
        wanted += hub.check(model["hub"], model["revision"], model.get("files", ["*.safetensors", "*.json"]))
    if models:
        from huggingface_hub import constants

        cache = Path(constants.HF_HUB_CACHE)
        free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.is_dir())).free
        if free < wanted:
            raise UserError(
                f"the models to fetch are {wanted / 1e9:.0f} GB, but only {free / 1e9:.0f} GB are free in {cache}. Free some space, or set "
                "HF_HOME to a folder on a larger disk."
            )


def check_environment(key: str, package: str, python: str) -> None:
    """Raise `UserError` where this Python lacks what a key of the config needs, comet or vllm; to import them takes seconds."""
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{package}') is None)"
    try:
        found = subprocess.run([python, "-c", look], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        found = False
    if not found:
        raise UserError(
            f"{key} needs an environment of its own, and {python} is none: run `make setup-{package}` once, or set "
            f"PIVOTLIFT_{package.upper()}_PYTHON to the Python of one, or run with --sdm conda."
        )


def check_budget(rows: list[Planned], cluster: Cluster) -> None:
    """Raise `UserError` where the GPU-hours asked for are above the cap."""
    cap = cluster["max_gpu_hours"]
    if cap is not None and gpu_hours(rows) > cap:
        raise UserError(
            f"the run is estimated at {gpu_hours(rows):.1f} GPU-hours, above max_gpu_hours: {cap:g}. Nothing was submitted. Raise it in "
            f"{WHERE}, or ask for less (fewer models, languages, shots; a limit of items)."
        )


def ask(*command: str) -> str:
    """Standard output of a Slurm command. Raises `UserError` where it is missing or fails, in Slurm's own words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} was not found: this is not a machine from which Slurm jobs can be submitted. Run on a login node, or "
            "without --profile slurm."
        ) from None
    if done.returncode:
        raise UserError(f"`{shlex.join(command)}` failed: {' / '.join(done.stderr.split(chr(10))).strip(' /')}")
    return done.stdout


def sbatch_call(job: Any, account: str | None) -> list[str]:
    """The plugin's own sbatch command for a job, as a test that submits nothing."""
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    partition = job.resources.get("slurm_partition")
    params = {
        "run_uuid": "test",
        "slurm_logfile": "/dev/null",
        "comment_str": job.rule.name,
        "account": f"-A {shlex.quote(account)}" if account else "",
        "partition": f"-p {shlex.quote(partition)}" if partition else "",
        "workdir": "",
    }
    settings = SimpleNamespace(requeue=True, no_requeue=False, qos=None, reservation=None)
    call = shlex.split(get_submit_command(job, params, settings) + set_gres_string(job))
    return [call[0], "--test-only", *(word for word in call[1:] if word != "--parsable"), "--wrap=true"]


def check_account(account: str | None) -> None:
    """Raise `UserError` where the plugin could not use this account, or none: it asks accounting for every job, and gives up without it."""
    for program in ("sacct", "sacctmgr"):
        if shutil.which(program) is None:
            raise UserError(f"{program} was not found, without which no job can be submitted. It comes with Slurm's other client programs.")
    call = ["sacctmgr", "-n", "-P", "show", "associations", "user=" + ask("id", "-un").strip(), "format=account"]
    done = subprocess.run(call, capture_output=True, text=True)
    accounts = sorted(set(done.stdout.split())) if done.returncode == 0 else []
    if account and done.returncode:
        raise UserError(f"this cluster has no accounting ({done.stderr.strip()}), so no account either. Set `account: null` in {WHERE}.")
    if accounts and (account or "").lower() not in accounts:
        wrong = f"the cluster has no account {account} for you" if account else "the cluster wants an account"
        raise UserError(f"{wrong}. Yours: {', '.join(accounts)}. Set `account` in {WHERE}.")


def check_slurm(jobs: list[Any], account: str | None) -> list[str]:
    """Have Slurm judge one job of each sort that would be submitted; give remarks that do not stop the run.

    Raises `UserError` for an account, partition, GPU, time limit or size that the cluster refuses, and for jobs of an earlier run that
    are still making the same files.
    """
    partitions = ask("sinfo", "-h", "-o", "%R %l %G").splitlines()
    check_account(account)
    sorts: dict[str, Any] = {}
    for job in jobs:
        if not job.is_local:
            sorts.setdefault(shlex.join(sbatch_call(job, account)).replace(job.rule.name, ""), job)
    offered = "; ".join(sorted({" ".join(line.split()) for line in partitions}))
    for job in sorts.values():
        try:
            ask(*sbatch_call(job, account))
        except UserError as error:
            reason = str(error).split("failed: ", 1)[-1].removeprefix("allocation failure: ").removeprefix("sbatch: error: ")
            asked = (
                f"partition {job.resources.get('slurm_partition', 'default')}, {need(job, 'gpu')} GPU, "
                f"{need(job, 'cpus_per_task') or job.threads} CPUs, {need(job, 'mem_mb')} MB, {need(job, 'runtime')} min"
            )
            raise UserError(
                f"the cluster refuses jobs like {job.rule.name} ({asked}): {reason}. Edit {WHERE}. "
                f"Partitions here, with longest time and GPUs: {offered}."
            ) from None
    check_left_over(jobs)
    return remarks()


def check_left_over(jobs: list[Any]) -> None:
    """Raise `UserError` where Slurm jobs of an earlier run (whose Snakemake was killed) still make what this run would make."""
    here, comments, groups = str(Path.cwd()), set(), set()
    for job in jobs:  # the comments that the plugin gives its jobs; those of a group name no wildcards
        comments.add(f"rule_{job.rule.name}" + ("_wildcards_" + "_".join(map(str, job.wildcards)) if job.wildcards else ""))
        groups |= {f"rule_{job.group}_"} if job.group else set()
    found = []
    for line in ask("squeue", "-h", "--me", "-o", "%i|%Z|%k").splitlines():
        number, folder, comment = line.split("|", 2)
        if folder == here and (comment in comments or comment.startswith(tuple(groups))):
            found.append(number)
    if found:
        raise UserError(
            f"{len(found)} Slurm jobs of an earlier run in this folder still make files of this one. Wait until they end "
            f"(`squeue --me`), or cancel them and lose what came after the last checkpoint: scancel {' '.join(sorted(found))}"
        )


def remarks() -> list[str]:
    """What works less well on this cluster, one line each."""
    found = []
    if subprocess.run(["sacct", "-n", "-X"], capture_output=True).returncode:
        found.append("sacct does not answer: `make cost` will show Snakemake's own measurements only.")
    settings = dict(line.split("=", 1) for line in ask("scontrol", "show", "config").splitlines() if "=" in line)
    age = next((value.split()[0] for name, value in settings.items() if name.strip() == "MinJobAge"), "")
    if age.isdigit() and int(age) < STATUS_SECONDS:
        found.append(
            f"this cluster forgets finished jobs after {age} s (MinJobAge): set slurm-init-seconds-before-status-checks in "
            "profiles/slurm/profile.yaml to a third of that, or the run may wait for a job that has ended."
        )
    return found
