"""The workflow on a real Slurm cluster: what the cluster refuses is one clear message, and a run that is disturbed ends like a calm one.

`make slurm-test` runs it, as root on Debian or Ubuntu; the cluster and its pretended GPUs are tests/slurm_cluster.py. Harder and longer:
`make chaos`.
"""

import csv
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import slurm_cluster, tiny_model, workspace
from workflow_scripts.common import files

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(slurm_cluster.skip_reason()), reason=slurm_cluster.skip_reason())]
TUNED, BASE = "gemma-3-270m-lifted", "gemma-3-270m-trimmed"
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "20", "--quiet", "rules")
AUDIT = "results/mixtures/laptop.audit.csv"
LATE = "nonempty,negative_timeout=60,entry_timeout=60,attr_timeout=60"
SMALL = {"gpus_per_node": 2, "cpus_per_gpu": 2, "max_nodes": 2, "warning_seconds": 20}  # what the test cluster is


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm_cluster.Cluster]:
    """Two nodes with two pretended GPUs each, and a partition whose only node has none."""
    folder = tmp_path_factory.mktemp("slurm")
    without = ["NodeName=c1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=9 CPUs=4 RealMemory=12000", "PartitionName=cpu Nodes=c1"]
    with slurm_cluster.Cluster.start(folder / "c", nodes=2, gpus=2, cpus=4, memory_mb=12000, extra=without) as started:
        yield started


def describe(folder: Path, **changes: Any) -> None:
    """Edit the description of the cluster, as its user would."""
    path = folder / "profiles/slurm/cluster.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which nothing was made."""
    folder = workspace.copy(tmp_path_factory.mktemp("fresh") / "pivotlift")
    describe(folder, **SMALL)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"account": "nobody"}, "the cluster has no account nobody for you. Yours: default"),
        ({"cpu_jobs": {"slurm_partition": "nowhere"}}, "partition nowhere, 0 GPU"),
        ({"gpu_jobs": {"slurm_partition": "cpu"}}, "the cluster refuses jobs like"),
        ({"gpu_jobs": {"slurm_partition": "main", "gpu_model": "h100"}}, "the cluster refuses jobs like"),
        ({"cpus_per_gpu": 64}, "64 CPUs"),
        ({"max_gpu_hours": 0.5}, "above max_gpu_hours: 0.5. Nothing was submitted"),
        ({"gpus": 8}, "gpus"),
    ],
)
def test_what_the_cluster_does_not_take_is_one_clear_message(
    cluster: slurm_cluster.Cluster, fresh: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = Path(shutil.copytree(fresh, tmp_path / "pivotlift", symlinks=True))
    describe(folder, **change)
    output = workspace.snakemake(folder, "--profile", "slurm", *workspace.REHEARSAL, *QUICK, check=False, env=cluster.environment)
    assert message in output and "Traceback" not in output, output
    assert not (folder / "results/downloads").exists()
    assert cluster.run("squeue", "--noheader") == ""


@pytest.fixture(scope="module")
def plain_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm_cluster.Cluster]:
    """One node, and no accounting: neither sacct nor sacctmgr answers."""
    with slurm_cluster.Cluster.start(tmp_path_factory.mktemp("plain") / "c", nodes=1, memory_mb=12000, accounting=False) as started:
        yield started


def test_a_cluster_without_accounting(plain_cluster: slurm_cluster.Cluster, run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "pivotlift", symlinks=True))
    describe(folder, **SMALL)
    (folder / AUDIT).unlink()
    call = (AUDIT, "--profile", "slurm", *workspace.REHEARSAL, *QUICK)
    refused = workspace.snakemake(folder, *call, check=False, env=plain_cluster.environment)
    assert "this cluster has no accounting" in refused and "Set `account: null`" in refused and "Traceback" not in refused
    describe(folder, account=None)
    output = workspace.snakemake(folder, *call, env=plain_cluster.environment)
    assert "sacct does not answer: `make cost` will show Snakemake's own measurements only" in output
    assert files.sha256_file(folder / AUDIT) == files.sha256_file(run / AUDIT)
    assert "rule_audit" in plain_cluster.run("squeue", "--noheader", "--states=COMPLETED", "--format=%k")


def test_a_file_system_that_shows_files_late(plain_cluster: slurm_cluster.Cluster, run: Path, tmp_path: Path) -> None:
    """Where Snakemake runs, a file that was looked for in vain stays invisible for 60 s, as on NFS; the node sees the files themselves."""
    folder = Path(shutil.copytree(run, tmp_path / "pivotlift", symlinks=True))
    describe(folder, **SMALL, account=None)
    for name in ("real", "probe"):
        (tmp_path / name).mkdir()
    shell = f"bindfs {tmp_path}/real {tmp_path}/probe && umount {tmp_path}/probe"
    probe = subprocess.run(["unshare", "--mount", "sh", "-c", shell], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"this machine mounts nothing: {probe.stderr.strip()}")
    mount = f"mount --bind {folder} {tmp_path}/real && bindfs -o {LATE} {tmp_path}/real {folder} && cd {folder}"
    for wait_seconds, message in (("1", "Missing files after 1 seconds. This might be due to filesystem latency"), ("90", "")):
        (folder / AUDIT).unlink(missing_ok=True)
        options = [AUDIT, "--profile", "slurm", *workspace.REHEARSAL, *QUICK, "--retries", "0", "--latency-wait", wait_seconds]
        call = shlex.join([sys.executable, "-m", "snakemake", *options])
        shell = f"{mount} && test ! -e {AUDIT} && {call}; status=$?; cd /; umount --lazy {folder}; exit $status"
        command = ["unshare", "--mount", "sh", "-c", shell]
        done = subprocess.run(command, env=os.environ | plain_cluster.environment, capture_output=True, text=True)
        assert (done.returncode != 0 and message in done.stderr) if message else done.returncode == 0, done.stderr
    assert files.sha256_file(folder / AUDIT) == files.sha256_file(run / AUDIT)


def test_a_machine_without_slurm_says_so(fresh: Path, tmp_path: Path) -> None:
    for program in ("bash", "sh", "env", "git", "which"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    path = f"{Path(sys.executable).parent}:{tmp_path}"
    output = workspace.snakemake(fresh, "--profile", "slurm", *workspace.REHEARSAL, *QUICK, check=False, env={"PATH": path})
    assert "sinfo was not found: this is not a machine from which Slurm jobs can be submitted" in output and "Traceback" not in output


def test_a_dry_run_shows_the_estimate(cluster: slurm_cluster.Cluster, fresh: Path) -> None:
    output = workspace.snakemake(fresh, "--profile", "slurm", *workspace.REHEARSAL, "--dry-run", env=cluster.environment)
    lines = {line.split()[0]: line.split()[1:] for line in output[output.index("\nestimate ") :].splitlines() if line.strip()}
    assert lines["benchmark"][:2] == ["20", "20"]  # local: all twenty
    assert lines["trained_model"][:2] == ["1", "0"] and float(lines["trained_model"][2]) > 0
    assert lines["whole"][0] == "run" and float(lines["whole"][3]) > 0


def wait(check: Callable[[], Any], what: str, seconds: float = 200) -> Any:
    return slurm_cluster.wait_until(check, what, seconds)


def running(cluster: slurm_cluster.Cluster, comment: str) -> str:
    """The number of the running Slurm job with this comment, or ""."""
    lines = cluster.run("squeue", "--noheader", "--states=RUNNING", "--format=%i %k").splitlines()
    return next((line.split()[0] for line in lines if line.split()[1].startswith(comment)), "")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_disturbed_run_ends_like_a_calm_one(run: Path, cluster: slurm_cluster.Cluster, tmp_path: Path) -> None:
    """Training is put back in the queue after its first checkpoint, and one evaluation is cancelled in the middle."""
    folder = Path(shutil.copytree(run, tmp_path / "pivotlift", symlinks=True))
    describe(folder, **SMALL)
    for made in ("mixtures", f"models/{TUNED}", f"predictions/{TUNED}", f"scores/{TUNED}", "reports", "cost"):
        shutil.rmtree(folder / "results" / made)
    environment = os.environ | cluster.environment
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *workspace.REHEARSAL, *QUICK]
    with (tmp_path / "output").open("w") as output:
        snakemake = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        training = wait(lambda: running(cluster, f"rule_trained_model_wildcards_{TUNED}"), "training ran")
        wait(lambda: list(folder.glob(f"results/models/{TUNED}/checkpoints/*/checkpoint-*/complete.json")), "a checkpoint was complete")
        status = subprocess.run(
            [sys.executable, "-m", "workflow_scripts.cluster.status", *workspace.REHEARSAL],
            cwd=folder,
            env=environment,
            capture_output=True,
        ).stdout.decode()
        assert next(line for line in status.splitlines() if line.startswith(f"model {TUNED}")).split()[6:8] == ["running", training], status
        cluster.run("scontrol", "requeue", training)
        shards = f"results/predictions/{TUNED}/*/.shard-*/*.jsonl"
        wait(lambda: list(folder.glob(shards)), "an answer was there", 400)
        shard = next(folder.glob(shards)).parent
        cancelled = running(cluster, f"rule_predict_{shard.parent.name}_{shard.name.removeprefix('.shard-')}_")
        cluster.run("scancel", cancelled)
        assert snakemake.wait(600) == 0, (tmp_path / "output").read_text()[-4000:]
    finally:
        snakemake.send_signal(signal.SIGINT)
        snakemake.wait()
    made = [f"results/models/{TUNED}/model/model.safetensors", f"results/models/{TUNED}/manifest.json"]
    made += [str(path.relative_to(run)) for path in sorted((run / "results/scores").rglob("*.json"))]
    assert len(made) > 2
    for name in made:
        assert files.sha256_file(folder / name) == files.sha256_file(run / name), name
    again = workspace.snakemake(folder, "--profile", "slurm", *workspace.REHEARSAL, "--dry-run", env=cluster.environment)
    assert "Nothing to be done" in again

    workspace_cost = [sys.executable, "-m", "workflow_scripts.cluster.cost", *workspace.REHEARSAL]
    wait(lambda: "COMPLETED" in cluster.run("sacct", "-X", "-n", "-j", training, "-o", "state"), "accounting knew the end", 30)
    subprocess.run(workspace_cost, cwd=folder, env=environment, check=True, capture_output=True)
    states = {(row["job_id"], row["state"]) for row in table(folder / "results/reports/slurm_jobs.csv")}
    assert {(training, "REQUEUED"), (training, "COMPLETED"), (cancelled, "CANCELLED")} <= states
    costs = {row["rule"]: row for row in table(folder / "results/reports/cost.csv")}
    assert float(costs["trained_model"]["gpu_hours"]) > 0 and float(costs["trained_model"]["estimated_gpu_hours"]) > 0
    assert not any(float(costs[rule]["gpus"] or 0) for rule in ("mixture", "audit", "score"))


def test_training_on_two_nodes_is_the_training_on_one(cluster: slurm_cluster.Cluster, run: Path, tmp_path: Path) -> None:
    """The description says that GPUs are small and nodes have one each, so that the workflow itself spreads the training."""
    import torch
    from safetensors.torch import load_file

    tiny_model.make(tmp_path / "tiny")
    sft = yaml.safe_load((run / "recipes/laptop.yaml").read_text(encoding="utf-8"))["models"][TUNED]["sft"] | {"rank": 4, "save_steps": 3}
    models = {
        "tiny": {"path": str(tmp_path / "tiny"), "licence": "none", "parameters": 1_000_000_000},
        "tiny-lifted": {"base": "tiny", "mixture": "laptop", "sft": sft},
    }
    weights = []
    small_gpus = {"gpus_per_node": 1, "gpu": {"memory_gb": 10.5, "tflops": 100, "bandwidth_gb_s": 900, "utilisation": 0.3}}
    for name, change in (("one", {}), ("two", small_gpus)):
        folder = Path(shutil.copytree(run, tmp_path / name, symlinks=True))
        describe(folder, **SMALL | change)
        config = yaml.safe_load((folder / "tests/rehearsal.yaml").read_text(encoding="utf-8"))
        config["models"] = config["models"] | models
        # The tiny tokenizer writes most letters byte by byte, so that many rows are cut.
        config["audit"] = {"max_rows_cut": 1, "max_rows_without_target": 1, "min_completion_kept": 0}
        (folder / "tests/rehearsal.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        target = "results/models/tiny-lifted/manifest.json"
        environment = cluster.environment | {"GLOO_SOCKET_IFNAME": "lo"}  # nodes of the test cluster are all this machine
        workspace.snakemake(folder, target, "--profile", "slurm", *workspace.REHEARSAL, *QUICK, env=environment)
        weights.append(load_file(folder / "results/models/tiny-lifted/model/model.safetensors"))
    lines = cluster.run("sacct", "-X", "-n", "-P", "-o", "comment,nnodes,alloctres").splitlines()
    nodes = [line.split("|")[1] for line in lines if line.startswith("rule_trained_model_wildcards_tiny-lifted|")]
    assert nodes == ["1", "2"]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], atol=1e-4, rtol=1e-3)
