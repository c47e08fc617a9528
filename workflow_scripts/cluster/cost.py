"""Write the ledger of cost: what every job took, beside what was estimated; and what Slurm accounted for.

results/reports/cost.csv has one row for each finished job: what Snakemake measured (results/cost/, of the last time that the job succeeded)
beside what was estimated before the run (results/cost/estimate.csv). results/reports/slurm_jobs.csv has one row for each Slurm job of this
folder, those that failed, were preempted or put back in the queue included, because they cost too; only where `sacct` answers
(it lags behind by some seconds: what has just ended may be shown as running).

    python -m workflow_scripts.cluster.cost

CPU: cpu_seconds and cpu_hours in cost.csv are time that was used; in slurm_jobs.csv, as in a bill, they are CPUs x elapsed time.
GPU: gpus are what Slurm gave to the job. Without accounting they are what it asked for; what ran without Slurm has none.
busy_seconds is the time in which a prediction job answered, and gpu_idle the rest of its GPU's time, as a share.
"""

import argparse
import csv
import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from ..common import cli, files
from ..common.cli import UserError
from . import description, preflight
from .jobs import Config, Job, add_config_options, expected, job_of, read_config, target_jobs

COST, REPORTS = Path("results/cost"), Path("results/reports")
SEPARATOR = "\x1f"
SACCT_SECONDS = 120
# SubmitLine comes last: it may hold line breaks. It tells comment and wildcards where accounting keeps no comments.
SACCT_COLUMNS = ("JobID", "State", "Submit", "Start", "ElapsedRaw", "AllocCPUS", "AllocTRES", "MaxRSS", "ConsumedEnergyRaw", "NodeList",
                 "WorkDir", "Comment", "SubmitLine")  # fmt: skip
ACTIVE = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "RESIZING")
UNITS = {"": 1 / 1024**2, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}  # to megabytes of 1024^2, as Snakemake counts
ENERGY_KNOWN = range(1, 10**18)  # joules; 0 and numbers near 2^64 mean that the cluster does not measure
BUSY = re.compile(r"load [\d.]+ s, answer ([\d.]+) s")


@dataclass
class Cost:
    """A row of cost.csv; None is an empty cell."""

    rule: str
    wildcards: str
    language: str
    seconds: float
    cpu_seconds: float | None = None
    cpu_hours: float | None = None
    peak_mb: float | None = None
    gpus: int | None = None
    gpu_hours: float | None = None
    estimated_minutes: float | None = None
    estimated_gpu_hours: float | None = None
    busy_seconds: float | None = None
    gpu_idle: float | None = None


@dataclass
class SlurmCost:
    """A row of slurm_jobs.csv; None is an empty cell. Times are local, as sacct prints them."""

    job_id: str
    rule: str
    wildcards: str
    state: str
    submitted: str
    started: str
    elapsed_seconds: int
    queued_seconds: int | None
    cpus: int
    gpus: int
    cpu_hours: float
    gpu_hours: float
    peak_mb: float | None
    energy_joules: int | None
    nodes: str

    @property
    def lost(self) -> bool:
        """Whether it ended without having completed."""
        return self.state != "COMPLETED" and self.state not in ACTIVE


def number(text: str | None) -> float | None:
    """A number of a table; None for what Snakemake writes where it has none."""
    return float(text) if text not in (None, "", "NA", "-") else None


def measured(path: Path) -> dict[str, float | None] | None:
    """Seconds, CPU seconds and megabytes of a benchmark file of Snakemake (9.27), the last row; None while it is being written."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    try:
        return {name: number(rows[-1][name]) for name in ("s", "cpu_time", "max_rss")} if rows else None
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is not a benchmark file of Snakemake ({error}). Delete it; the job's next run writes it anew.") from error


def estimates(path: Path) -> dict[Job, dict[str, str]]:
    """The estimate that preflight wrote, by job; {} if there is none."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and not {"rule", "wildcards", "expected", "gpus", "local"} <= rows[0].keys():
        raise UserError(f"{path} is not an estimate of this workflow. Delete it; the next run writes it anew.")
    pairs = ((row, dict(part.split("=", 1) for part in row["wildcards"].split(",") if part)) for row in rows)
    return {job_of(row["rule"], wildcards): row for row, wildcards in pairs}


def busy_seconds(log: Path, cost: Path) -> float | None:
    """How long a prediction job answered, as its log says; None if it does not, or is of a later attempt than the cost."""
    with suppress(OSError):
        if log.stat().st_mtime <= cost.stat().st_mtime:
            found = BUSY.findall(log.read_text(encoding="utf-8", errors="replace"))
            return float(found[-1]) if found else None
    return None


def costs(root: Path, shards: Mapping[Job, Sequence[str]], slurm: Mapping[Job, SlurmCost]) -> list[Cost]:
    """The rows of cost.csv. `shards` has the languages of each shard, `slurm` the last completed Slurm job of each job in no group."""
    planned, rows = estimates(root / preflight.ESTIMATE), []
    for path in sorted((root / COST).rglob("*.tsv")):
        rule, *values = path.relative_to(root / COST).with_suffix("").parts
        job, record = Job(rule, tuple(values)), measured(path)
        if record is None or (seconds := record["s"]) is None:
            continue
        row = Cost(rule, job.wildcards, job.language or " ".join(shards.get(job, ())), seconds, record["cpu_time"])
        row.cpu_hours, row.peak_mb = None if row.cpu_seconds is None else row.cpu_seconds / 3600, record["max_rss"]
        plan, ran = planned.get(job), slurm.get(job)
        if plan and float(plan["expected"]):  # 0: preflight has no estimate for this rule
            row.estimated_minutes = float(plan["expected"])
            row.estimated_gpu_hours = int(plan["gpus"]) * row.estimated_minutes / 60
        if ran:
            row.gpus = ran.gpus
        elif plan and plan["local"] == "False":
            row.gpus = int(plan["gpus"])
        row.gpu_hours = None if row.gpus is None else row.gpus * seconds / 3600
        row.busy_seconds = busy_seconds(root / f"logs/{job.name}.log", path) if rule == "predict" else None
        if row.busy_seconds is not None and row.gpus:
            row.gpu_idle = 1 - row.busy_seconds / (ran.elapsed_seconds if ran else seconds)
        rows.append(row)
    return rows


def megabytes(text: str) -> float | None:
    """Memory as sacct prints it: 171616K."""
    found = re.fullmatch(r"([\d.]+)([KMGT]?)", text)
    return float(found[1]) * UNITS[found[2]] if found else None


def gpus_of(tres: str) -> int:
    """GPUs in AllocTRES: `gres/gpu=2`, or the sum over models (`gres/gpu:a100=2`) where only those are counted."""
    found = dict(re.findall(r"gres/gpu(:[^=,]+)?=(\d+)", tres))
    return int(found[""]) if "" in found else sum(map(int, found.values()))


def moment(text: str) -> datetime | None:
    """A time of sacct, which writes Unknown or None where there is none."""
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    return None


def parse_sacct(text: str, root: Path, known: Mapping[str, Job]) -> list[tuple[SlurmCost, list[Job]]]:
    """Rows of sacct in `SACCT_COLUMNS`: the Slurm jobs of this folder, each with the workflow's jobs in it (`known` by comment).

    A job's steps follow it; they bring its peak memory and energy. A job that was put back in the queue is there once for each time.
    """
    found: list[tuple[SlurmCost, list[Job]]] = []
    mine = False
    for line in text.split("\n"):
        if line.count(SEPARATOR) != len(SACCT_COLUMNS) - 1:
            continue  # a further line of the command of the job before
        row = dict(zip(SACCT_COLUMNS, line.split(SEPARATOR), strict=True))
        if "." not in row["JobID"]:
            submitted = re.search(r" --comment[ =](\S+)", row["SubmitLine"])
            comment = row["Comment"] or (submitted[1] if submitted else "")
            mine = comment.startswith(("rule_", "group_")) and os.path.realpath(row["WorkDir"]) == os.path.realpath(root)
            if mine:
                found.append(_slurm_cost(row, comment, known.get(comment)))
        elif mine:
            job, energy = found[-1][0], row["ConsumedEnergyRaw"]
            job.peak_mb = max(filter(None, (job.peak_mb, megabytes(row["MaxRSS"]))), default=None)
            if energy.isdigit() and int(energy) in ENERGY_KNOWN:
                job.energy_joules = max(job.energy_joules or 0, int(energy))
    return found


def _slurm_cost(row: dict[str, str], comment: str, known: Job | None) -> tuple[SlurmCost, list[Job]]:
    # The command names every job in a group; where the plugin hands it over as a script, there is only the comment.
    jobs = target_jobs(row["SubmitLine"]) or ([known] if known else [])
    rule, _, values = comment.partition("_")[2].partition("_wildcards_")
    if jobs:
        rule = "+".join(sorted({job.rule for job in jobs}))
        values = ",".join(dict.fromkeys(part for job in jobs for part in job.wildcards.split(",") if part))
    elapsed, cpus, gpus, energy = int(row["ElapsedRaw"]), int(row["AllocCPUS"]), gpus_of(row["AllocTRES"]), row["ConsumedEnergyRaw"]
    submit, start = moment(row["Submit"]), moment(row["Start"])
    return SlurmCost(
        job_id=row["JobID"],
        rule=rule,
        wildcards=values,
        state=row["State"].split(" ")[0],  # "CANCELLED by 0"
        submitted=row["Submit"],
        started=row["Start"] if start else "",
        elapsed_seconds=elapsed,
        queued_seconds=int((start - submit).total_seconds()) if start and submit else None,
        cpus=cpus,
        gpus=gpus,
        cpu_hours=cpus * elapsed / 3600,
        gpu_hours=gpus * elapsed / 3600,
        peak_mb=None,
        energy_joules=int(energy) if energy.isdigit() and int(energy) in ENERGY_KNOWN else None,
        nodes=row["NodeList"].removeprefix("None assigned"),
    ), jobs  # fmt: skip


def ask_sacct(root: Path, known: Mapping[str, Job]) -> tuple[list[tuple[SlurmCost, list[Job]]], str]:
    """The Slurm jobs of this folder since its oldest cost, or a remark why there are none to be had."""
    only = f"Only {REPORTS / 'cost.csv'} is written."
    if shutil.which("sacct") is None:
        return [], f"The cluster's accounting is not available (no sacct here). {only}"
    oldest = min((path.stat().st_mtime for path in (root / COST).rglob("*") if path.is_file()), default=None)
    if oldest is None:
        return [], f"No job has left its cost in {COST} yet, so Slurm's accounting was not asked."
    call = ["sacct", "--duplicates", "--parsable2", "--noheader", f"--delimiter={SEPARATOR}", f"--user={os.getuid()}",
            f"--starttime={datetime.fromtimestamp(oldest):%Y-%m-%d}", f"--format={','.join(SACCT_COLUMNS)}"]  # fmt: skip
    environment = os.environ | {"SLURM_TIME_FORMAT": "standard"}
    try:
        done = subprocess.run(
            call, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=environment, timeout=SACCT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return [], f"The cluster's accounting has not answered within {SACCT_SECONDS} s. {only}"
    if done.returncode:
        return [], f"The cluster's accounting is not available (sacct: {' '.join(done.stderr.split())}). {only}"
    return parse_sacct(done.stdout, root, known), ""


def write_table(path: Path, kind: type, rows: Iterable[Any]) -> None:
    """Rows of a dataclass as CSV; None is an empty cell."""
    names = [field.name for field in fields(kind)]
    with files.whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            cells = [getattr(row, name) for name in names]
            writer.writerow(["" if cell is None else round(cell, 5) if isinstance(cell, float) else cell for cell in cells])


def total(values: Iterable[float | None]) -> str:
    """The sum of what is known; "" where nothing is."""
    known = [value for value in values if value is not None]
    return "" if not known else f"{sum(known):,.0f}" if sum(known) >= 100 else f"{sum(known):.3g}"


def summary(rows: Sequence[Cost], slurm: Sequence[SlurmCost]) -> str:
    """A table by rule, and how much of what Slurm gave was spent on jobs that did not complete."""
    table = [["rule", "jobs", "seconds", "estimated", "CPU-hours", "GPU-hours", "estimated GPU-h", "peak MB", "GPU idle"]]
    table[0] += ["Slurm jobs", "Slurm CPU-h", "Slurm GPU-h", "not completed"] if slurm else []
    by_rule: dict[str, tuple[list[Cost], list[SlurmCost]]] = defaultdict(lambda: ([], []))
    for row in rows:
        by_rule[row.rule][0].append(row)
    for job in slurm:
        by_rule[job.rule][1].append(job)
    for rule, (few, jobs) in [*sorted(by_rule.items()), ("all", (list(rows), list(slurm)))]:
        peaks = [peak for peak in (*(row.peak_mb for row in few), *(job.peak_mb for job in jobs)) if peak is not None]
        cells = [rule, str(len(few) or ""), total(row.seconds for row in few)]
        minutes = [row.estimated_minutes for row in few if row.estimated_minutes is not None]
        # Where some jobs have no estimate, the sum would not stand beside the same jobs' seconds.
        cells.append(total(60 * value for value in minutes) if len(minutes) == len(few) else "")
        cells += [total(row.cpu_hours for row in few), total(row.gpu_hours for row in few), total(row.estimated_gpu_hours for row in few)]
        cells += [f"{max(peaks):,.0f}" if peaks else "", share_idle(few)]
        if slurm:
            cells += [str(len(jobs) or ""), total(job.cpu_hours for job in jobs), total(job.gpu_hours for job in jobs), share_lost(jobs)]
        table.append(cells)
    widths = [max(len(cells[place]) for cells in table) for place in range(len(table[0]))]
    lines = []
    for first, *others in table:
        numbers = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *numbers)).rstrip())
    if lost := [job for job in slurm if job.lost]:
        states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(job.state for job in lost).items()))
        lines += ["", f"Slurm jobs that did not complete: {states}; {total(job.gpu_hours for job in lost)} GPU-hours."]
    return "\n".join(lines)


def share_idle(rows: Sequence[Cost]) -> str:
    """Share of their GPU-hours in which prediction jobs did not answer; "" where it is not known."""
    known = [(row.gpu_idle, row.gpu_hours) for row in rows if row.gpu_idle is not None and row.gpu_hours]
    return f"{sum(idle * hours for idle, hours in known) / sum(hours for _, hours in known):.0%}" if known else ""


def share_lost(jobs: Sequence[SlurmCost]) -> str:
    """Share of GPU-hours spent in jobs that ended without having completed; "" where no GPU was given."""
    hours = sum(job.gpu_hours for job in jobs)
    return f"{sum(job.gpu_hours for job in jobs if job.lost) / hours:.0%}" if hours else ""


def write(config: Config, root: Path) -> None:
    """Write both tables of the run in `root` and print the summary."""
    wanted, shards = list(expected(config, description.read())), defaultdict(list)
    for file in wanted:
        if file.stage in ("predictions", "scores"):
            shards[file.job].append(file.language)
    slurm, remark = ask_sacct(root, {file.job.comment: file.job for file in wanted})
    completed = {jobs[0]: job for job, jobs in slurm if len(jobs) == 1 and job.state == "COMPLETED"}
    rows = costs(root, shards, completed)
    write_table(root / REPORTS / "cost.csv", Cost, rows)
    if not remark:
        write_table(root / REPORTS / "slurm_jobs.csv", SlurmCost, (job for job, _ in slurm))
    print(summary(rows, [job for job, _ in slurm]))
    print("\n" + (remark or f"Written: {REPORTS / 'cost.csv'}, {REPORTS / 'slurm_jobs.csv'}"))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    write(read_config(parser.parse_args(argv), Path.cwd()), Path.cwd())


if __name__ == "__main__":
    cli.run(main)
