"""Everything a cluster can do to a run, in one run: `make chaos` (as root on Debian or Ubuntu; about half an hour on two cores).

The default recipe in small runs twice: undisturbed on this machine, and on a real Slurm cluster of three nodes while
the faults below strike, each as soon as there is something to hit. Whenever Snakemake ends or is killed, the same command is given again.
At the end the model and all scores must be the same, byte for byte. Prints a table of faults and outcomes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests import slurm_cluster, workspace
from workflow_scripts.common import files
from workflow_scripts.common.cli import UserError, run

MODEL = "gemma-3-270m-lifted"
CHECKPOINTS = f"results/models/{MODEL}/checkpoints/*/checkpoint-*/complete.json"
COMMAND = [sys.executable, "-m", "snakemake", "--profile", "slurm", *workspace.REHEARSAL, "--quiet", "rules"]
COMMAND += ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "20"]
DESCRIPTION = {
    "gpus_per_node": 2, "cpus_per_gpu": 2, "max_nodes": 2, "max_minutes": 5, "warning_seconds": 100,
    "gpu_jobs": {"slurm_partition": "preempt"},
}  # fmt: skip
LONGER = {"mixtures": {"laptop": {"examples": 400}}, "models": {MODEL: {"sft": {"save_steps": 4}}}}  # so that there is time to strike
SECONDS = 3600


@dataclass
class Fault:
    """`strike` hits what is there now and says what it hit, or gives "" when there is nothing to hit yet."""

    name: str
    strike: Callable[["Chaos"], str]
    hit: str = ""
    at: float = 0


class Chaos:
    """The run on the cluster, and what was done to it."""

    def __init__(self, folder: Path, cluster: slurm_cluster.Cluster) -> None:
        self.folder, self.cluster, self.start = folder, cluster, time.monotonic()
        self.environment = os.environ | cluster.environment
        self.output = (folder.parent / "snakemake.log").open("ab")
        self.starts, self.refusals, self.dead = 0, 0, ""
        self.snakemake = self.begin()

    def begin(self) -> "subprocess.Popen[bytes]":
        self.starts += 1
        options = {"stdout": self.output, "stderr": subprocess.STDOUT, "start_new_session": True}
        return subprocess.Popen(COMMAND, cwd=self.folder, env=self.environment, **options)  # type: ignore[call-overload, no-any-return]

    def running(self, *comments: str) -> tuple[str, str]:
        """Number and node of a running Slurm job whose comment begins like one of these; empty if there is none."""
        for line in self.cluster.run("squeue", "--noheader", "--states=RUNNING", "--format=%i %N %k").splitlines():
            number, node, comment = [*line.split(), ""][:3]
            if comment.startswith(comments):
                return number, node
        return "", ""

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, the newest last."""
        return sorted((path.parent for path in self.folder.glob(CHECKPOINTS)), key=lambda path: int(path.name.split("-")[1]))

    def step(self) -> int:
        return int(self.checkpoints()[-1].name.split("-")[1]) if self.checkpoints() else 0

    def again(self) -> None:
        """What the guide says after a kill: unlock, wait until the jobs of the killed run have ended, the same command."""
        subprocess.run([*COMMAND[:3], "--unlock", *workspace.REHEARSAL], cwd=self.folder, env=self.environment, capture_output=True)
        self.snakemake = self.begin()


def kill_node(chaos: Chaos) -> str:
    number, node = chaos.running("rule_language", "rule_read_corpus")
    if number:
        chaos.cluster.kill_node(node)
        chaos.dead = node
        return f"node {node} with job {number}"
    return ""


def training_since(chaos: Chaos, step: int) -> str:
    """The running training, once it has a checkpoint after this step."""
    return chaos.running("rule_trained_model")[0] if chaos.step() > step else ""


def requeue_and_corrupt(chaos: Chaos) -> str:
    """Both at once: between the two runs of the job nobody reads the checkpoint."""
    if number := training_since(chaos, 4):
        chaos.cluster.run("scontrol", "requeue", number)
        slurm_cluster.wait_until(lambda: not chaos.running("rule_trained_model")[0], "the training was requeued")
        newest = chaos.checkpoints()[-1]
        state = newest / "optimizer.pt"
        os.truncate(state, state.stat().st_size // 2)
        return f"job {number}; {newest.name} cut in half"
    return ""


def cancel_training(chaos: Chaos) -> str:
    if number := training_since(chaos, 8):
        chaos.cluster.run("scancel", number)
        return f"job {number} after step {chaos.step()}"
    return ""


def kill_snakemake(chaos: Chaos) -> str:
    if number := training_since(chaos, 12):
        os.killpg(chaos.snakemake.pid, signal.SIGKILL)
        return f"while job {number} trained, after step {chaos.step()}"
    return ""


def time_limit(chaos: Chaos) -> str:
    """Not done, but waited for: the training lasts longer than a job may."""
    log = chaos.folder / f"logs/trained_model/{MODEL}.log"
    return "training, 5 minutes" if log.exists() and "is back in the queue" in log.read_text(errors="replace") else ""


def preempt(chaos: Chaos) -> str:
    if number := chaos.running("rule_predict")[0]:
        job = ["sbatch", "--parsable", "--partition=main", "--nodes=3", "--exclusive", "--time=1", "--output=/dev/null", "--wrap=sleep 10"]
        return f"job {number} by job {chaos.cluster.run(*job).strip()}"
    return ""


def cancel_evaluation(chaos: Chaos) -> str:
    if list(chaos.folder.glob("results/predictions/*/*/.shard-*/*.jsonl")) and (number := chaos.running("rule_predict")[0]):
        chaos.cluster.run("scancel", number)
        return f"job {number}"
    return ""


def same(calm: Path, chaos: Path) -> list[str]:
    """Files of the model and the scores that differ."""
    made = [f"results/models/{MODEL}/model/model.safetensors", f"results/models/{MODEL}/manifest.json"]
    made += [str(path.relative_to(calm)) for path in sorted((calm / "results/scores").rglob("*.json"))]
    print(f"compared: the model and {len(made) - 2} files of scores")
    return [name for name in made if files.sha256_file(calm / name) != files.sha256_file(chaos / name)]


def clone(folder: Path) -> Path:
    workspace.copy(folder)
    path = folder / "tests/rehearsal.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["mixtures"]["laptop"] |= LONGER["mixtures"]["laptop"]
    config["models"][MODEL]["sft"] |= LONGER["models"][MODEL]["sft"]
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    path = folder / "profiles/slurm/cluster.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | DESCRIPTION), encoding="utf-8")
    return folder


def disturb(chaos: Chaos, faults: list[Fault]) -> None:
    """Let every fault strike, and give the command again until the run is done. Raises `UserError` if it does not end."""
    waiting = list(faults)
    while time.monotonic() - chaos.start < SECONDS:
        time.sleep(0.3)
        for fault in waiting[:2]:  # in order, but one that waits for its prey does not hold up the next
            if hit := fault.strike(chaos):
                fault.hit, fault.at = hit, time.monotonic() - chaos.start
                print(f"{fault.at:5.0f} s  {fault.name}: {hit}", flush=True)
                waiting.remove(fault)
                break
        if chaos.dead and chaos.cluster.node_state(chaos.dead).startswith("down"):
            chaos.cluster.revive_node(chaos.dead)
            chaos.dead = ""
        status = chaos.snakemake.poll()
        if status == 0:
            return
        if status is not None:
            print(f"{time.monotonic() - chaos.start:5.0f} s  Snakemake ended with status {status}; the same command again", flush=True)
            chaos.again()
            time.sleep(10 if status == 1 else 0)  # it may only have refused, as long as jobs of the killed run are there
    raise UserError(f"the run did not end within {SECONDS} s")


def main(argv: list[str] | None = None) -> None:
    place = Path(argv[0] if argv else sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="chaos-"))
    faults = [
        Fault("a node dies", kill_node),
        Fault("training requeued, its newest checkpoint damaged", requeue_and_corrupt),
        Fault("training cancelled", cancel_training),
        Fault("Snakemake killed", kill_snakemake),
        Fault("time limit of a job reached", time_limit),
        Fault("evaluation preempted", preempt),
        Fault("evaluation cancelled", cancel_evaluation),
    ]
    calm, disturbed = clone(place / "calm"), clone(place / "disturbed")
    workspace.snakemake(calm, *workspace.REHEARSAL)
    print("the calm run is done", flush=True)
    with slurm_cluster.Cluster.start(place / "slurm", nodes=3, gpus=2, cpus=4, memory_mb=12000) as cluster:
        chaos = Chaos(disturbed, cluster)
        disturb(chaos, faults)
        lines = cluster.run("sacct", "-D", "-X", "-n", "-P", "-o", "state").splitlines()
        states = [line.split()[0] for line in lines]  # "CANCELLED by 0"
    print("\n| fault | what it hit | after |\n| --- | --- | --- |")
    for fault in faults:
        print(f"| {fault.name} | {fault.hit or 'nothing: there was no such moment'} | {f'{fault.at:.0f} s' if fault.hit else ''} |")
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    print(f"\n{chaos.starts} starts of Snakemake; Slurm jobs: {counts}; {time.monotonic() - chaos.start:.0f} s.")
    if differing := same(calm, disturbed):
        raise UserError(f"not the same as in the calm run: {', '.join(differing)}")
    print("All the same, byte for byte, as in the calm run.")
    if missed := [fault.name for fault in faults if not fault.hit]:
        raise UserError(f"these faults never struck: {', '.join(missed)}")


if __name__ == "__main__":
    run(main)
