"""What jobs ask of a cluster, and what is refused before anything is submitted. Real Slurm: tests/test_slurm.py."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from workflow_scripts.cluster import description, needs, preflight
from workflow_scripts.common import config as settings
from workflow_scripts.common.cli import UserError

GPU = {"memory_gb": 80, "tflops": 312, "bandwidth_gb_s": 2000, "utilisation": 0.35}


@pytest.fixture
def cluster() -> dict[str, Any]:
    return description.read() | {"gpu": GPU, "gpus_per_node": 4, "max_nodes": 4, "training_hours": 24, "max_minutes": 1440}


def config(parameters: int = 8_000_000_000, method: str = "full", examples: int = 3_200_000, rows: int = 128) -> dict[str, Any]:
    """The laptop recipe with a model and a mixture of another size."""
    models = {
        "gemma-3-270m": {"parameters": parameters},
        "gemma-3-270m-lifted": {"sft": {"method": method, "batch_size": rows, "gradient_accumulation": 1, "max_length": 1024}},
    }
    return settings.resolve({"recipe": "laptop", "models": models, "mixtures": {"laptop": {"examples": examples}}})


def test_a_training_takes_the_gpus_that_its_memory_and_its_hours_need(cluster: dict[str, Any]) -> None:
    small = needs.training(config(270_000_000, "lora", 1000), cluster, "gemma-3-270m-lifted", 1)
    assert (small.gpus, small.nodes) == (1, 1)
    memory = needs.training(config(8_000_000_000, "full", 1000), cluster, "gemma-3-270m-lifted", 1)
    assert memory.gpus == 4 and memory.nodes == 1  # 141 GB of states, 64 GB of room on each
    long = needs.training(config(), cluster, "gemma-3-270m-lifted", 1)
    assert (long.gpus, long.nodes) == (4, 1)  # 78 GPU-hours, 19.5 on four
    longer = needs.training(config(), cluster | {"training_hours": 6}, "gemma-3-270m-lifted", 1)
    assert (longer.gpus, longer.nodes) == (16, 4)
    assert longer.expected < long.expected
    uneven = needs.training(config(rows=24), cluster | {"training_hours": 1}, "gemma-3-270m-lifted", 1)
    assert uneven.gpus == 8  # the largest power of two that divides 24 rows a step


def test_a_failed_attempt_asks_for_more_up_to_the_longest_job(cluster: dict[str, Any]) -> None:
    first, second = (needs.training(config(examples=100_000), cluster, "gemma-3-270m-lifted", attempt) for attempt in (1, 2))
    assert second.minutes > first.minutes and second.mem_mb > first.mem_mb
    assert needs.training(config(), cluster | {"max_minutes": 60}, "gemma-3-270m-lifted", 9).minutes == 60
    shard = [needs.answering(config(), cluster, "gemma-3-270m-lifted", "messages", 20, attempt) for attempt in (1, 2)]
    assert shard[1].minutes > shard[0].minutes and shard[0].gpus == 1
    assert needs.answering(config(), cluster, "gemma-3-270m-lifted", "messages", 20, 1, cpus=3).mem_mb == shard[0].mem_mb + 2000


def test_beams_take_their_time_and_a_batch_found_by_memory_counts_as_32(cluster: dict[str, Any]) -> None:
    def minutes(**evaluate: Any) -> float:
        changed = config()
        changed["evaluate"] |= evaluate
        return needs.answer_minutes(changed, cluster, "gemma-3-270m-lifted", "messages")

    assert minutes(batch_size="auto") == minutes(batch_size=32) == minutes()
    assert minutes(batch_size=32, beams=4) == minutes(batch_size=8)


def test_what_no_gpu_can_hold_is_refused_at_once(cluster: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"training needs about 1232 GB.*Use method: lora"):
        needs.check(config(70_000_000_000), cluster)
    with pytest.raises(UserError, match=r"but 16 of 8 GB are the most"):  # no room beside the activations
        needs.check(config(270_000_000, "lora"), cluster | {"gpu": GPU | {"memory_gb": 8}})
    needs.check(config(30_000_000_000, "lora"), cluster)
    with pytest.raises(UserError, match=r"answering needs about 96 GB on one GPU"):
        needs.check(config(40_000_000_000, "lora"), cluster)


def test_shards_follow_minutes_and_seldom_change(cluster: dict[str, Any]) -> None:
    whole = config()
    del whole["evaluate"]["shards"]
    whole["evaluate"] |= {"shard_minutes": 10}
    whole["evaluate"]["benchmarks"]["messages"] |= {"limit": 50, "max_new_tokens": 256}
    counts = []
    for number in range(12, 205):
        whole["languages"] = [f"l{number}" for number in range(number)]
        counts.append(needs.shards(whole, cluster, "messages"))
    assert counts == sorted(counts) and len(set(counts)) <= 6
    assert all(count & (count - 1) == 0 for count in counts)
    assert all(languages / count <= needs.SHARD_LANGUAGES for languages, count in zip(range(12, 205), counts, strict=True))
    whole["evaluate"]["shard_minutes"] = 100
    assert needs.shards(whole, cluster, "messages") < counts[-1]


def job(rule: str, local: bool = False, **resources: Any) -> Any:
    """A planned job, as Snakemake gives it to the preflight."""
    rule_ = SimpleNamespace(name=rule, norun=False)
    return SimpleNamespace(rule=rule_, wildcards={"model": "m"}, resources=resources, threads=1, is_local=local, group=None)


def rows(**resources: Any) -> list[preflight.Planned]:
    return preflight.plan([job("trained_model", **resources), job("download")], {"download"})


def test_the_estimate_counts_jobs_gpus_and_disk() -> None:
    found = rows(gpu=8, nodes=2, cpus_per_task=16, expected_minutes=90, runtime=120, mem_mb=5, disk_mb=2000)
    assert [row.local for row in found] == [True, False]
    assert found[1].cpus == 32
    assert preflight.gpu_hours(found) == 12
    last = preflight.summary(found).splitlines()[-1].split()
    assert last == ["whole", "run", "2", "1", "12.0", "2.0"]


def test_a_budget_or_a_disk_that_is_too_small_stops_the_run(cluster: dict[str, Any], tmp_path: Path) -> None:
    found = rows(gpu=8, expected_minutes=90, disk_mb=10**12)
    preflight.check_budget(found, cluster | {"max_gpu_hours": 12})
    preflight.check_budget(found, cluster | {"max_gpu_hours": None})
    with pytest.raises(UserError, match=r"estimated at 12.0 GPU-hours, above max_gpu_hours: 11.*Nothing was submitted"):
        preflight.check_budget(found, cluster | {"max_gpu_hours": 11})
    with pytest.raises(UserError, match=r"needs about 1000000000 GB"):
        preflight.check_disk(found, tmp_path)


def test_estimates_of_earlier_runs_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "estimate.csv"
    preflight.record(rows(gpu=1, expected_minutes=5), path)
    preflight.record([preflight.Planned("trained_model", "model=m", 7, 9, 1, 2, 3, 4, False)], path)
    with path.open() as file:
        found = {row["rule"]: row["expected"] for row in csv.DictReader(file)}
    assert found == {"download": "0", "trained_model": "7"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"acount": "x"}, "acount"),
        ({"gpus_per_node": 0}, r"gpus_per_node: 0 is less than the minimum of 1. GPUs of one node."),
        ({"gpu_jobs": {"partition": "gpu"}}, r"gpu_jobs: .*partition"),
        ({"account": 7}, r"account: 7 is a number; it must be text or null"),
    ],
)
def test_a_wrong_description_is_one_clear_message(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(description.read() | change))
    with pytest.raises(UserError, match=r"^profiles/slurm/cluster.yaml: .*" + message):
        description.read(path)


def test_broken_yaml_is_one_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("account: [")
    with pytest.raises(UserError, match=r"cluster.yaml is not valid YAML: line 1"):
        description.read(path)


def test_a_machine_without_slurm_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sinfo was not found: this is not a machine from which Slurm jobs can be submitted"):
        preflight.check_slurm([], "default")
