"""Training on any number of GPUs and nodes: starts a process of `workflow_scripts.models.train` for each GPU, and ends as they end.

    python -m workflow_scripts.models.launch --nodes N --gpus G <all arguments of train>

G processes on each of N nodes, by torchrun where they are more than one. For several nodes this stands inside a Slurm job that has them, in
a rule with the resource `mpi`, which is one that has no `srun` around it.

SIGTERM is passed on; the training then saves, and this ends with status 75 (`checkpoints.EXIT_STOPPED`): the same command goes on. When
Slurm sent it only because the time limit is near, the job is put back in the queue instead, and goes on under its old number.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import psutil

from ..common import cli, machine
from . import checkpoints, train

TRAIN = "workflow_scripts.models.train"


def status(returncode: int) -> int:
    """Exit status as a shell has it: a process that a signal ended counts as 128 and the signal's number."""
    return 128 - returncode if returncode < 0 else returncode


def pass_on(signum: int, *_: Any) -> None:
    """Handle a signal by sending it to every child."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signum)


def with_one_process(arguments: list[str]) -> int:
    """Train with one GPU, or none; return the exit status."""
    signal.signal(signal.SIGTERM, pass_on)
    return status(subprocess.call([sys.executable, "-m", TRAIN, *arguments]))


def with_torchrun(nodes: int, gpus: int, arguments: list[str]) -> int:
    """Train with the GPUs of this node, as one of several where there are more; return the exit status.

    torchrun runs inside this process, which knows how each worker ended, and which leaves SIGTERM to `pass_on`: torchrun itself would give
    the workers 30 seconds to save, and end with the same status whatever became of them.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    rendezvous = ["--standalone", "--local-addr=127.0.0.1"]
    if nodes > 1:
        port = 20000 + int(os.environ["SLURM_JOB_ID"]) % 10000
        rendezvous = [f"--nnodes={nodes}", f"--node-rank={os.environ['SLURM_NODEID']}"]
        rendezvous += [f"--master-addr={os.environ['SLURM_LAUNCH_NODE_IPADDR']}", f"--master-port={port}"]
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // gpus)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it says of failed workers is said below, in a line
    options = [*rendezvous, f"--nproc-per-node={gpus}", "--signals-to-handle=SIGINT,SIGHUP,SIGQUIT"]
    signal.signal(signal.SIGTERM, pass_on)
    try:
        run.run(run.parse_args([*options, "-m", TRAIN, *arguments]))
    except ChildFailedError as error:
        codes = {rank: status(failure.exitcode) for rank, failure in sorted(error.failures.items())}
        if checkpoints.EXIT_STOPPED in codes.values():  # then all agreed on it, and the checkpoint is complete
            return checkpoints.EXIT_STOPPED
        ended = ", ".join(f"{rank} with status {code}" for rank, code in codes.items())
        print(f"error: training failed; see above. Processes ended: {ended}.", file=sys.stderr)
        # Those that only were ended because another one failed, or with the whole job, say less.
        return min(codes.values(), key=lambda code: (code in (128 + signal.SIGTERM, 128 + signal.SIGKILL), code))
    return 0


def squeue(job: str, column: str) -> str:
    """What Slurm says of a job; "" where it says nothing."""
    try:
        return subprocess.run(["squeue", "-h", "-j", job, "-o", column], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def with_srun(nodes: int, gpus: int, arguments: list[str]) -> int:
    """Start this program once on each node of the Slurm job; return the exit status. Raises `UserError` where there is no such job."""
    job = os.environ.get("SLURM_JOB_ID", "")
    cpus = squeue(job, "%C") if job else ""
    if not cpus:
        raise cli.UserError(f"--nodes {nodes} works only inside a Slurm job of {nodes} nodes, where srun and squeue are at hand.")

    def pass_on_to_nodes(*_: Any) -> None:
        """Not by srun, which would kill all at once; and only if Slurm has not begun to end the job, when it tells all nodes itself."""
        if squeue(job, "%T") == "RUNNING":
            with suppress(subprocess.TimeoutExpired):  # scancel tries again and again, and must not end up stopping a requeued job
                subprocess.run(["scancel", "--signal=TERM", job], timeout=10)

    signal.signal(signal.SIGTERM, pass_on_to_nodes)
    # All is stated: Snakemake's Slurm plugin removes the variables that would say it.
    flags = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={int(cpus) // nodes}"]
    flags += ["--kill-on-bad-exit=1", "--wait=0", "--export=ALL", "--input=none"]
    this = [sys.executable, "-m", "workflow_scripts.models.launch", "--one-of", f"--nodes={nodes}", f"--gpus={gpus}"]
    return status(subprocess.call(["srun", *flags, *this, *arguments]))


def requeue(job: str) -> None:
    """Put this Slurm job back in the queue where nothing but its time limit ends it, and wait for Slurm to kill it; else return."""
    if squeue(job, "%T") != "RUNNING":  # cancelled or preempted: what happens to the job is decided already
        return
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        print(f"Slurm did not put job {job} back in the queue: {done.stderr.strip() or done.stdout.strip()}", file=sys.stderr)
        return
    print(f"job {job} is back in the queue, and goes on from the checkpoint.", file=sys.stderr, flush=True)
    parent = os.getppid()
    while os.getppid() == parent:  # Slurm may lose sight of a process whose parent it has killed
        time.sleep(1)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True, help="processes on each node, each with a GPU of its own")
    parser.add_argument("--one-of", action="store_true", help=argparse.SUPPRESS)  # started by srun
    args, arguments = parser.parse_known_args(argv)
    if min(args.nodes, args.gpus) < 1:
        parser.error("--nodes and --gpus must be at least 1")
    train.share(train.command_line().parse_args(arguments).settings, args.nodes * args.gpus)
    if args.nodes == 1 or args.one_of:
        machine.check_gpus()
    # Threads that wait by spinning take the CPU from whatever else runs: see docs/decisions.md.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if args.nodes > 1 and not args.one_of:
        code = with_srun(args.nodes, args.gpus, arguments)
    elif args.nodes * args.gpus > 1:
        code = with_torchrun(args.nodes, args.gpus, arguments)
    else:
        code = with_one_process(arguments)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if code == checkpoints.EXIT_STOPPED and not args.one_of and (job := os.environ.get("SLURM_JOB_ID")):
        requeue(job)
    sys.exit(code)


if __name__ == "__main__":
    cli.run(main)
