"""The test cluster is a real one: GPUs are given out, jobs are requeued and preempted, nodes die and come back, nothing is left behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import slurm_cluster
from tests.slurm_cluster import Cluster, available, skip_reason, wait_until
from tests.workspace import ROOT
from workflow_scripts.common.cli import UserError

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(skip_reason()), reason=skip_reason())]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.start(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


def submit(cluster: Cluster, script: str, *options: str) -> str:
    return cluster.run("sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={script}").strip()


def state(cluster: Cluster, job: str) -> str:
    return cluster.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()


def wait_for_state(cluster: Cluster, job: str, *states: str) -> None:
    wait_until(lambda: state(cluster, job) in states, f"job {job} was {' or '.join(states)}")


def lives(file: Path) -> bool:
    """Whether the process whose id is in the file lives; a zombie does not."""
    command = Path("/proc", file.read_text().strip() or "none", "cmdline")
    return command.exists() and bool(command.read_bytes())


def test_gpu_jobs_get_their_devices_and_accounting_keeps_the_comment(cluster, tmp_path):
    # The inner srun finds the cluster without SLURM_CONF, as in Snakemake's jobs.
    script = f"env -u SLURM_CONF srun sh -c 'echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES' > {tmp_path}/$SLURM_JOB_ID"
    options = ("--account=default", "--comment=rule_x")
    jobs = [submit(cluster, script, f"--nodelist=n{count}", f"--gres=gpu:{count}", *options) for count in (1, 2)]
    for count, job in enumerate(jobs, 1):
        query = ("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State,Account,Comment,AllocTRES")
        record = wait_until(lambda query=query: (text := cluster.run(*query)).startswith("COMPLETED") and text, f"job {job} was complete")
        assert record.startswith("COMPLETED|default|rule_x|") and f"gres/gpu={count}" in record
        assert (tmp_path / job).read_text() == ("n1 0\n", "n2 0,1\n")[count - 1]
    with pytest.raises(UserError, match="not available"):
        submit(cluster, "true", "--gres=gpu:3")


def test_jobs_survive_requeue_preemption_and_a_dead_node_but_not_too_much_memory(cluster, tmp_path):
    script = f"echo $$ > {tmp_path}/$SLURM_JOB_ID.pid; echo ${{SLURM_RESTART_COUNT:-0}} >> {tmp_path}/$SLURM_JOB_ID; sleep 300"
    requeued = submit(cluster, script, "--nodelist=n1")
    preempted = submit(cluster, script, "--nodelist=n1", "--partition=preempt", "--gres=gpu:2")
    doomed = submit(cluster, script, "--nodelist=n2")
    lost = submit(cluster, script, "--nodelist=n2", "--no-requeue")
    hungry = submit(cluster, f"{sys.executable} -c 'import time; kept = b\"x\" * 3 * 10**8; time.sleep(300)'", "--nodelist=n1", "--mem=100")
    for job in (requeued, preempted, doomed, lost):
        wait_for_state(cluster, job, "RUNNING")
        wait_until((tmp_path / job).exists, f"job {job} wrote its file")

    cluster.run("scontrol", "requeue", requeued)
    cluster.kill_node("n2")
    assert not lives(tmp_path / f"{doomed}.pid") and lives(tmp_path / f"{preempted}.pid")
    cluster.revive_node("n2")
    wait_for_state(cluster, lost, "NODE_FAIL")
    winner = submit(cluster, script, "--nodelist=n1", "--gres=gpu:2")
    wait_for_state(cluster, winner, "RUNNING")
    wait_for_state(cluster, preempted, "PENDING")
    cluster.run("scancel", winner)
    wait_for_state(cluster, hungry, "FAILED", "OUT_OF_MEMORY")  # the former before Slurm 23
    for job in (requeued, doomed, preempted):
        wait_until(lambda job=job: (tmp_path / job).read_text() == "0\n1\n", f"job {job} ran again")


def test_from_the_command_line_a_cluster_outlives_its_starter_and_stops_without_a_trace(tmp_path):
    folder = tmp_path / "cluster"

    def command(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "tests.slurm_cluster", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout

    printed = command("start", str(folder), "--nodes=1", "--no-accounting")
    assert printed == f"export SLURM_CONF={folder}/slurm.conf PIVOTLIFT_CPU=1\nexport PATH={folder}/bin:$PATH\n"
    cluster = Cluster(folder)
    try:
        assert cluster.node_state("n1") == "idle"
        submit(cluster, f"setsid sleep 300 & echo $! > {tmp_path}/orphan; sleep 300")
        wait_until(lambda: (tmp_path / "orphan").exists() and lives(tmp_path / "orphan"), "the job started a process")
    finally:
        command("stop", str(folder))
    assert not lives(tmp_path / "orphan") and not cluster.processes() and not folder.exists()


def test_a_start_that_fails_tells_why_and_leaves_nothing(tmp_path):
    folder = tmp_path / "cluster"
    with pytest.raises(UserError, match=r"slurmctld ended with status 1; the end of its log:\n(.*\n)*.*sched/none_such"):
        Cluster.start(folder, accounting=False, extra=["SchedulerType=sched/none_such"])
    assert not folder.exists() and not Cluster(folder).processes()


def test_a_folder_with_something_else_in_it_is_refused_and_kept(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not empty"):
        Cluster.start(tmp_path)
    Cluster(tmp_path).stop()
    assert (tmp_path / "file").exists()


def test_missing_packages_are_named(tmp_path, monkeypatch):
    assert slurm_cluster.missing() == []
    monkeypatch.setattr(slurm_cluster, "PATH", str(tmp_path))
    assert slurm_cluster.missing() == ["munge", "slurmctld", "slurmd", "slurm-client", "slurmdbd", "mariadb-server", "bindfs"]
    assert available().startswith("missing, and no apt-get")
