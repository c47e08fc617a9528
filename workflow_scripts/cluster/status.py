"""Show what is happening, one line a language: which stage it is in, how far, by which job, and what failed.

Reads only, at any time, with or without Slurm: run it in the run's folder with the same --config and --configfile as Snakemake.

    python -m workflow_scripts.cluster.status --config recipe=atlas

A file counts as done when it is there and is not marked as incomplete by Snakemake; whether it is still up to date, `snakemake -n` tells.
A step whose log or Slurm log is there without its file has failed. A marker without a living job means that the run was stopped half-way:
the next run makes that file again.
"""

import argparse
import binascii
import io
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from ..common import cli
from . import description
from .jobs import File, Job, add_config_options, expected, read_config, target_jobs

STATES = {"failed": 31, "running": 32, "queued": 36, "stopped": 33, "waiting": 2, "done": 0}  # the most urgent first, each with its colour
QUEUED = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
STOPPED = ("CANCELLED", "PREEMPTED")
BY_HAND = re.compile(r"CANCELLED AT \S+ (\*\*\*|DUE TO PREEMPTION)")  # by scancel; a job that fails is cancelled DUE TO something else
SEPARATOR = "\x1f"  # of Slurm's columns: a comment may hold any printable character
SQUEUE_COLUMNS = SEPARATOR.join(("%i", "%T", "%k", "%Z", "%N", "%r"))  # id, state, comment, folder, nodes, reason
SQUEUE_SECONDS = 10
LOG_BYTES = 8192  # read of a log, at its end or its beginning
MARKER_SECONDS = 2  # Snakemake marks a job of its own machine just after it started it
ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links and other strings, to their end
    r"|\x1b[ -/]*[0-~]"
)


@dataclass(frozen=True)
class SlurmJob:
    """One job as squeue shows it."""

    id: str
    state: str
    comment: str
    nodes: str
    reason: str

    @property
    def active(self) -> bool:
        return self.state in QUEUED + RUNNING


def clean(text: str) -> str:
    """One line of a log for a terminal: without escape codes, control characters and marks that turn the direction of writing."""
    text = ESCAPE.sub("", text).replace("\t", " ")
    return "".join(sign for sign in text if unicodedata.category(sign)[0] != "C" and sign not in "\u2028\u2029").strip()


def last_line(path: Path, pattern: str = "") -> str:
    """The newest line of a log that says something (and holds `pattern`); of a progress bar, what it shows now."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
            tail = file.read(LOG_BYTES).decode("utf-8", errors="replace")
    except OSError:  # gone meanwhile
        return ""
    lines = (clean(line) for line in reversed(re.split(r"[\r\n]", tail)))
    return next((line for line in lines if line and re.search(pattern, line)), "")


@dataclass
class Folder:
    """The run's folder as it is now. Each folder in it is listed once, whatever is asked of it."""

    root: Path

    def __post_init__(self) -> None:
        self.entries = cache(self._entries)

    def _entries(self, folder: str) -> dict[str, os.DirEntry[str]]:
        try:
            with os.scandir(self.root / folder) as entries:
                return {entry.name: entry for entry in entries}
        except OSError:
            return {}

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return name in self.entries(folder)

    def changed(self, path: str) -> float:
        """When an ordinary file was last written, in seconds since the epoch; 0 if it is not there."""
        folder, _, name = path.rpartition("/")
        entry = self.entries(folder).get(name)
        try:
            return entry.stat().st_mtime if entry and entry.is_file() else 0.0
        except OSError:  # gone meanwhile
            return 0.0

    @cached_property
    def markers(self) -> dict[str, tuple[str | None, float]]:
        """What Snakemake 9 marks as being made: path -> (number of the Slurm job while it waits, time)."""
        base, found = self.root / ".snakemake" / "incomplete", {}
        for path in base.rglob("*"):
            with suppress(OSError, binascii.Error, UnicodeDecodeError):  # gone meanwhile, or not a marker
                # A long name is cut into folders, each of which begins with @.
                name = urlsafe_b64decode("".join(part.removeprefix("@") for part in path.relative_to(base).parts)).decode()
                if path.is_file():
                    written = path.stat().st_mtime
                    with suppress(ValueError):  # just being written
                        found[name] = (json.loads(path.read_bytes())["external_jobid"], written)
                    found.setdefault(name, (None, written))
        return found

    @cached_property
    def slurm_logs(self) -> dict[str, tuple[str, float, list[str]]]:
        """Slurm's own logs, which outlive failed jobs: number of the Slurm job -> (path, time, comment and names of its jobs)."""
        found: dict[str, tuple[str, float, list[str]]] = {}
        for kind in self.entries("logs/slurm"):
            top = f"logs/slurm/{kind}"
            for wildcards in ("", *(name for name in self.entries(top) if not name.endswith(".log"))):
                folder = f"{top}/{wildcards}".rstrip("/")
                for name in self.entries(folder):
                    if name.endswith(".log") and (changed := self.changed(path := f"{folder}/{name}")):
                        names = [f"{kind}_wildcards_{wildcards}" if wildcards else kind]
                        if kind.startswith("group_"):  # its comment names no wildcards, but the command line does
                            names = [job.name for job in target_jobs(self.head(path))]
                        found[name.removesuffix(".log")] = (path, changed, names)
        return found

    def head(self, path: str) -> str:
        with suppress(OSError), (self.root / path).open("rb") as file:
            return file.read(LOG_BYTES).decode("utf-8", errors="replace")
        return ""


@dataclass(frozen=True)
class Snakemake:
    """The Snakemake that runs in the folder, on this machine."""

    pid: int
    started: float


def snakemake_here(root: Path) -> Snakemake | None:
    """The user's Snakemake whose working folder this is; those inside of jobs (--mode) do not count."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real != os.getuid():
                continue
            words = process.cmdline()
            named = any(Path(word).name == "snakemake" for word in words[:3])
            if named and "--mode" not in words and Path(process.cwd()) == root:
                return Snakemake(process.pid, process.create_time())
    return None


def parse_squeue(text: str, root: Path) -> list[SlurmJob]:
    """Rows of squeue in `SQUEUE_COLUMNS` that are jobs of this folder."""
    jobs, same = [], cache(lambda folder: os.path.realpath(folder) == os.path.realpath(root))
    for line in text.split("\n"):
        cells = line.split(SEPARATOR)
        if len(cells) == 6 and same(cells[3]):
            jobs.append(SlurmJob(cells[0], cells[1], cells[2], cells[4], cells[5]))
    return jobs


def ask_squeue() -> subprocess.Popen[str] | None:
    """Start asking for this user's jobs, those that ended lately too; None where there is no Slurm."""
    if shutil.which("squeue") is None:
        return None
    call = ["squeue", f"--user={os.getuid()}", "--states=all", "--noheader", f"--format={SQUEUE_COLUMNS}"]
    return subprocess.Popen(call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")


def squeue_answer(process: subprocess.Popen[str] | None, root: Path) -> tuple[list[SlurmJob], str]:
    """The jobs of this folder, and a remark for the user where Slurm did not tell."""
    if process is None:
        return [], ""
    try:
        text, complaint = process.communicate(timeout=SQUEUE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return [], f"squeue has not answered within {SQUEUE_SECONDS} s: Slurm's jobs are not shown."
    if process.returncode:
        return [], f"squeue failed ({clean(complaint.strip().split(chr(10))[-1])}): Slurm's jobs are not shown."
    return parse_squeue(text, root), ""


@dataclass
class Run:
    """All that is known of a run, and the state of each of its files."""

    files: list[File]
    folder: Folder
    slurm: list[SlurmJob] = field(default_factory=list)
    complaint: str = ""  # why Slurm's jobs are not known
    snakemake: Snakemake | None = None

    @cached_property
    def slurm_by_name(self) -> dict[str, SlurmJob]:
        """Slurm's jobs by comment, by name of what a group works on, and by number; a living one before one that ended, then the newest."""
        found: dict[str, SlurmJob] = {}
        for job in sorted(self.slurm, key=lambda job: (job.active, [int(part) for part in re.findall(r"\d+", job.id)])):
            names = self.folder.slurm_logs.get(job.id, ("", 0.0, []))[2]
            found |= dict.fromkeys((job.id, job.comment, *names), job)
        return found

    @cached_property
    def slurm_log_by_name(self) -> dict[str, tuple[float, str]]:
        """The newest of Slurm's own logs (time, path), by comment or name of a job."""
        found: dict[str, tuple[float, str]] = {}
        for path, written, names in self.folder.slurm_logs.values():
            for name in names:
                found[name] = max(found.get(name, (0.0, "")), (written, path))
        return found

    def slurm_log(self, job: Job) -> tuple[float, str]:
        return self.slurm_log_by_name.get(job.comment) or self.slurm_log_by_name.get(job.name) or (0.0, "")

    @cached_property
    def states(self) -> dict[str, tuple[str, SlurmJob | None]]:
        """Of every file, by path: one of `STATES`, and the Slurm job that it comes from."""
        return {file.path: self._state(file) for file in self.files}

    def _state(self, file: File) -> tuple[str, SlurmJob | None]:
        marker = self.folder.markers.get(file.path)
        if marker is None and file.path in self.folder:
            return "done", None
        slurm = self.slurm_by_name.get(file.job.comment) or self.slurm_by_name.get(file.job.name)
        if marker and marker[0] and (slurm is None or not slurm.active):
            slurm = self.slurm_by_name.get(str(marker[0]), slurm)
        if slurm and slurm.active:
            return "queued" if slurm.state in QUEUED else "running", slurm
        if marker:
            if marker[0] and self.complaint:
                return "queued", None
            if slurm and slurm.state not in ("COMPLETED", *STOPPED):
                return "failed", slurm
            mine = self.snakemake is not None and marker[1] >= self.snakemake.started and slurm is None and not marker[0]
            return "running" if mine else "stopped", None
        if file.after and file.after not in self.folder:
            return "waiting", None
        written = max(self.folder.changed(f"logs/{file.job.name}.log"), self.slurm_log(file.job)[0])
        # The cost is written after a success only: a newer one means that the file was made, and deleted to be made again.
        if written <= self.folder.changed(f"results/cost/{file.job.name}.tsv"):
            return "waiting", None
        by_hand = slurm.state in STOPPED if slurm else BY_HAND.search(self.slurm_complaint(file.job))
        return "stopped" if by_hand else "failed", slurm

    def told(self, file: File) -> str:
        """What to say of a file beside its state: the last line of its log, or why its job waits."""
        state, slurm = self.states[file.path]
        log = f"logs/{file.job.name}.log"
        if state == "queued":
            return f"waits: {clean(slurm.reason)}" if slurm else ""
        written, started = self.folder.changed(log), self.folder.markers.get(file.path, (None, 0.0))[1]
        if state == "running":  # a log older than the job is of an earlier attempt
            return last_line(self.folder.root / log) if written and written >= started - MARKER_SECONDS else ""
        if state != "failed":
            return ""
        why = slurm.state if slurm and slurm.state not in ("FAILED", "COMPLETED") else ""
        line = last_line(self.folder.root / log) if written else ""
        return ": ".join(part for part in (why, line or self.slurm_complaint(file.job)) if part)

    def slurm_complaint(self, job: Job) -> str:
        """What Slurm itself said at the end of a job: a time limit, a lost node, too much memory."""
        path = self.slurm_log(job)[1]
        return last_line(self.folder.root / path, r"^slurmstepd\S*: error: ") if path else ""


@dataclass
class Line:
    """What is shown of one language or shared thing: six cells, and the last line of a log."""

    name: str
    state: str
    cells: tuple[str, ...]
    text: str


def line_of(name: str, files: list[File], run: Run) -> Line:
    """The line of a language: the state of its most urgent file, in the first stage that has one."""
    states = [run.states[file.path] for file in files]
    state = next(state for state in STATES if any(found == state for found, _ in states))
    lead = files[-1] if state == "done" else next(file for file in files if run.states[file.path][0] == state)
    here = [run.states[file.path][0] for file in files if file.stage == lead.stage]
    slurm = run.states[lead.path][1]
    # A language may be worked on by several jobs at once: the first one is named.
    jobs = dict.fromkeys(job for job in (slurm, *(job for _, job in states if job and job.active)) if job)
    number = next(iter(jobs)).id + (f" +{len(jobs) - 1}" if len(jobs) > 1 else "") if jobs else ""
    counted = f"{here.count('done')} of {len(here)}"
    return Line(name, state, (name, lead.stage, counted, state, number, slurm.nodes if slurm else ""), run.told(lead))


def report(run: Run, width: int = 200, colour: bool = False) -> str:
    """The whole answer as text; every line but the table's cells is cut at `width`."""
    groups: dict[str, list[File]] = {}
    for file in run.files:
        groups.setdefault(file.language or file.title, []).append(file)
    lines = [line_of(name, files, run) for name, files in groups.items()]
    head = Line("", "", ("", "stage", "files", "state", "job", "node"), "last log line")
    widths = [max(len(line.cells[place]) for line in (head, *lines)) for place in range(len(head.cells))]
    shown = []
    for line in (head, *lines):
        cells = [cell.ljust(size) for cell, size in zip(line.cells, widths, strict=True)]
        text = line.text[: max(0, width - sum(widths) - 2 * len(widths))]
        if colour and line.state:
            cells[3] = f"\x1b[{STATES[line.state]}m{cells[3]}\x1b[0m"
        shown.append("  ".join((*cells, text)).rstrip())
    return "\n".join((*shown, "", *_totals(run, lines), *(text[:width] for text in _failures(run))))


def _totals(run: Run, lines: Iterable[Line]) -> Iterator[str]:
    """Files done in each stage, and languages in each state."""
    files: dict[str, list[bool]] = {}
    for file in run.files:
        files.setdefault(file.stage, []).append(run.states[file.path][0] == "done")
    yield "files      " + ", ".join(f"{stage} {sum(done)} of {len(done)}" for stage, done in files.items())
    languages = {file.language for file in run.files}
    counts = Counter(line.state for line in lines if line.name in languages)
    yield "languages  " + ", ".join(f"{counts[state]} {state}" for state in reversed(STATES) if counts[state])


def _failures(run: Run) -> Iterator[str]:
    """Each failed job once: which, the end of its log, the paths of its logs."""
    failed: dict[Job, File] = {}
    for file in run.files:
        if run.states[file.path][0] == "failed":
            failed.setdefault(file.job, file)
    for job, file in failed.items():
        text, log, (_, slurm_log) = run.told(file), f"logs/{job.name}.log", run.slurm_log(job)
        yield f"failed     {job.rule} {job.wildcards}".rstrip() + (f": {text}" if text else "")
        if run.folder.changed(log):
            yield f"           {log}"
        if slurm_log:
            complaint = run.slurm_complaint(job)
            yield f"           {slurm_log}" + (f": {complaint}" if complaint and complaint not in text else "")


def remarks(run: Run) -> Iterator[str]:
    """Who is at work: Snakemake, and Slurm."""
    if run.snakemake:
        yield f"Snakemake runs here (process {run.snakemake.pid})."
    elif run.folder.entries(".snakemake/locks"):
        yield "No Snakemake runs here, but the folder is locked: it runs on another machine, or was killed (then: snakemake --unlock)."
    else:
        yield "No Snakemake runs here."
    counts = Counter("queued" if job.state in QUEUED else "running" for job in run.slurm if job.active)
    if run.complaint:
        yield run.complaint
    elif counts:
        yield f"Slurm jobs of this folder: {counts['running']} running, {counts['queued']} queued."


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    options = parser.parse_args(argv)
    root = Path.cwd()
    asked = ask_squeue()  # Slurm answers while we look at the files
    files = list(expected(read_config(options, root), description.read()))
    folder, snakemake = Folder(root), snakemake_here(root)
    run = Run(files, folder, *squeue_answer(asked, root), snakemake)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a log may hold what this terminal cannot show
    try:
        print("\n".join((*remarks(run), "", report(run, shutil.get_terminal_size((200, 24)).columns, colour))), flush=True)
    except BrokenPipeError:  # whoever reads has seen enough: `make status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    cli.run(main)
