"""Evaluation of many languages on Slurm: shards against one job a language. Submissions, model loads, and how long GPUs are held and idle.

    python benchmarks/shards.py --languages 100          # as root on Debian or Ubuntu; about 20 minutes on two cores

Both ways answer the same made-up sentences with the same tiny model, through the workflow, on a real Slurm cluster with pretended GPUs on
this machine. The seconds are those of a CPU and of a model that loads at once: what is compared is the overhead of a job and of a load,
which a real model only makes larger. The answers must be the same, byte for byte.
"""

import argparse
import csv
import random
import sys
import tempfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import slurm_cluster, tiny_model, workspace
from workflow_scripts.common import files, languages

PIVOTS = ["eng_Latn", "zho_Hans"]
ITEMS = {"dev": 997, "devtest": 1012}
ASKED = {"directions": ["X-eng", "eng-X"], "shots": [0], "max_new_tokens": 16, "limit": 4}
SMALL = {"gpus_per_node": 2, "cpus_per_gpu": 1, "max_nodes": 1}


def made_up(folder: Path, codes: list[str]) -> Path:
    """A folder in the layout of FLORES-200, with sentences of random words."""
    for code in codes:
        draw = random.Random(code)
        for split, items in ITEMS.items():
            path = folder / split / f"{code}.{split}"
            path.parent.mkdir(parents=True, exist_ok=True)
            words = (["".join(draw.choices("abdeiklmnorstu", k=draw.randint(2, 8))) for _ in range(8)] for _ in range(items))
            path.write_text("".join(" ".join(line) + "\n" for line in words), encoding="utf-8")
    return folder


def clone(folder: Path, codes: list[str], model: Path, flores: Path, shards: int | None) -> Path:
    """A clone that evaluates one tiny model on one benchmark. Without `shards`, the workflow says how many jobs there are."""
    workspace.copy(folder)
    evaluate = {"models": ["tiny"], "benchmarks": {"flores200": {"path": str(flores)} | ASKED}}
    config = {"models": {"tiny": {"path": str(model), "licence": "none", "parameters": 300_000_000}}, "evaluate": evaluate}
    recipe = yaml.safe_load((folder / "recipes/laptop.yaml").read_text(encoding="utf-8"))
    recipe["evaluate"] |= evaluate | ({"shards": shards} if shards else {})
    recipe["models"], recipe["decontamination"]["against"] = config["models"], ["flores200"]
    recipe["languages"], recipe["mixtures"] = codes, {name: entry | {"kept_out": []} for name, entry in recipe["mixtures"].items()}
    (folder / "recipes/laptop.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    path = folder / "profiles/slurm/cluster.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | SMALL), encoding="utf-8")
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measure(folder: Path, codes: list[str], cluster: slurm_cluster.Cluster) -> dict[str, float]:
    """Run it; give the row of the table."""
    targets = [f"results/predictions/tiny/flores200/{code}.jsonl" for code in codes]
    # What both ways share is made first, without Slurm: it is not what is compared.
    before = ["results/models/tiny/manifest.json", *(f"results/benchmarks/flores200/{code}.json" for code in codes)]
    workspace.snakemake(folder, *before, "--cores", "2", env=cluster.environment)
    quick = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "20")
    workspace.snakemake(folder, *targets, "--profile", "slurm", *quick, env=cluster.environment)
    slurm_cluster.wait_until(lambda: "RUNNING" not in cluster.run("sacct", "-X", "-n", "-o", "state"), "accounting knew the end", 30)
    cost = [sys.executable, "-m", "workflow_scripts.cluster.cost"]
    cluster.run("env", "--chdir", str(folder), *cost)
    jobs = [row for row in table(folder / "results/reports/slurm_jobs.csv") if row["rule"].startswith("predict")]
    answered = [row for row in table(folder / "results/reports/cost.csv") if row["rule"].startswith("predict")]
    held = sum(float(row["elapsed_seconds"]) * int(row["gpus"]) for row in jobs)
    busy = sum(float(row["busy_seconds"] or 0) for row in answered)  # a shard without a question loads nothing
    loads = sum("load " in path.read_text(encoding="utf-8") for path in (folder / "logs/predict").rglob("*.log"))
    return {"jobs submitted": len(jobs), "model loads": loads, "GPU seconds held": held, "answering": busy, "idle share": 1 - busy / held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", type=int, default=100)
    count = parser.parse_args().languages
    codes = list(dict.fromkeys([*PIVOTS, *sorted(languages.registry())]))[:count]
    with tempfile.TemporaryDirectory(prefix="shards-") as place:
        here = Path(place)
        model, flores = tiny_model.make(here / "tiny"), made_up(here / "flores200_dataset", codes)
        found, answers = {}, {}
        with slurm_cluster.Cluster.start(here / "slurm", nodes=1, gpus=2, cpus=2, memory_mb=40000) as cluster:
            for name, shards in (("shards", None), ("one job a language", 10 * count)):
                folder = clone(here / name.replace(" ", "-"), codes, model, flores, shards)
                found[name] = measure(folder, codes, cluster)
                answers[name] = [files.sha256_file(folder / f"results/predictions/tiny/flores200/{code}.jsonl") for code in codes]
                print(name, found[name], flush=True)
    first, second = answers.values()
    print(f"\n| {count} languages | {' | '.join(found)} |\n| --- | ---: | ---: |")
    for measure_name in next(iter(found.values())):
        cells = [f"{row[measure_name]:.0%}" if "share" in measure_name else f"{row[measure_name]:,.0f}" for row in found.values()]
        print(f"| {measure_name} | {' | '.join(cells)} |")
    print(f"\n{sum(a != b for a, b in zip(first, second, strict=True))} of {count} files of answers differ.")


if __name__ == "__main__":
    main()
