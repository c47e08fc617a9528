"""Every rule, with real packages and the real model, on tiny input; then what a change of config or a deleted file plans.

`make rehearsal` runs it; it takes some minutes and downloads about 300 MB.
"""

import csv
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import workspace

pytestmark = pytest.mark.rehearsal

CONFIG = workspace.REHEARSAL
TUNED, BASE = "gemma-3-270m-lifted", "gemma-3-270m-trimmed"


def plan(run: Path, *arguments: str, change: dict | None = None) -> dict[str, int]:
    """What is planned, with `change` laid over the rehearsal's config."""
    if change is None:
        return workspace.planned(run, *arguments, *CONFIG)
    path = run / "changed.yaml"
    path.write_text(yaml.safe_dump(change), encoding="utf-8")
    return workspace.planned(run, *arguments, *CONFIG, "changed.yaml")


def rehearsal_config(run: Path) -> dict:
    return yaml.safe_load((run / "tests/rehearsal.yaml").read_text(encoding="utf-8"))


def test_report_scores_and_ledger_are_there(run):
    assert "<html" in (run / "results/reports/index.html").read_text(encoding="utf-8")
    languages = rehearsal_config(run)["languages"]
    with (run / "results/reports/scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["language"] for row in rows} == set(languages)
    assert {row["model"] for row in rows} == {TUNED, BASE}
    assert all(bool(row["value"]) != bool(row["reason"]) for row in rows)
    assert all(row["signature"] for row in rows if row["value"])
    assert {row["baseline"] for row in rows if row["model"] == TUNED and row["metric"] == "chrF++" and row["value"]} >= {f"{BASE}/0-shot"}
    for language in languages:
        assert (run / f"results/reports/languages/{language}.html").is_file()


def test_rerun_is_a_no_op(run):
    assert plan(run) == {}


def test_touching_every_source_plans_nothing(run):
    for path in [*(run / "workflow_scripts").rglob("*.py"), *(run / "resources").iterdir()]:
        path.touch()
    assert plan(run) == {}


def test_no_benchmark_text_was_trained_on(run):
    with (run / "results/mixtures/laptop.audit.csv").open(encoding="utf-8") as file:
        facts = list(csv.DictReader(file))
    counted = [fact["value"] for fact in facts if fact["measure"].startswith("rows_contaminated:")]
    assert counted == ["0"] * (5 * 4)
    assert len((run / "results/mixtures/laptop.contaminated.csv").read_text().splitlines()) == 1  # its header


def test_how_much_may_be_contaminated_changes_nothing_but_the_gate(run):
    assert set(plan(run, change={"decontamination": {"max_contaminated_rows": 1}})) == {"gate", "tables", "report", "run_config"}


def test_what_tokens_must_keep_changes_nothing_but_the_gate(run):
    assert set(plan(run, change={"audit": {"max_rows_cut": 0.2}})) == {"token_gate", "tables", "report", "run_config"}


def test_rows_that_are_cut_too_much_stop_the_run_before_training(run):
    change = {"models": {TUNED: {"sft": {"max_length": 16}}}}
    (run / "changed.yaml").write_text(yaml.safe_dump(change), encoding="utf-8")
    output = workspace.snakemake(run, f"results/models/{TUNED}/manifest.json", *CONFIG, "changed.yaml", check=False)
    assert "is not trained, because its tokens fail the audit" in output
    assert "swh_Latn 100.0%" in output and "(max_rows_cut: 0.05)" in output
    assert "rule trained_model" not in output and (run / f"results/models/{TUNED}/manifest.json").exists()
    workspace.snakemake(run, f"results/models/{TUNED}/tokens.passed", f"results/models/{TUNED}/settings.json", *CONFIG)
    assert plan(run) == {}


def test_contaminated_rows_stop_the_run_before_training(run):
    found, passed = (run / f"results/mixtures/laptop.{name}" for name in ("contaminated.csv", "passed"))
    clean = found.read_text(encoding="utf-8")
    passed.unlink()
    found.write_text(f"{clean}row,swh_Latn,udhr,eng_Latn,devtest,3\n", encoding="utf-8")
    target = f"results/models/{TUNED}/manifest.json"
    output = workspace.snakemake(run, target, "--forcerun", "trained_model", *CONFIG, check=False)
    assert "1 rows of the mixture hold benchmark text" in output and "udhr 1 (swh_Latn 1)" in output
    assert not passed.exists()
    found.write_text(clean, encoding="utf-8")
    workspace.snakemake(run, "results/mixtures/laptop.passed", *CONFIG)
    assert plan(run) == {}


def test_one_language_again_is_one_job(run):
    target = f"results/scores/{TUNED}/udhr/swh_Latn.json"
    before = (run / target).read_bytes()
    (run / target).unlink()
    assert plan(run, target) == {"score": 1}
    workspace.snakemake(run, target, *CONFIG)
    assert (run / target).read_bytes() == before


def test_one_language_predicted_again_reuses_the_others(run):
    target = f"results/predictions/{BASE}/udhr/swh_Latn.jsonl"
    before = (run / target).read_bytes()
    (run / target).unlink()
    assert plan(run, target) == {"predict": 1}
    workspace.snakemake(run, target, *CONFIG)
    assert (run / target).read_bytes() == before
    (log,) = (path for path in (run / f"logs/predict/{BASE}/udhr").iterdir() if "answered 4, reused" in path.read_text())
    assert "answered 4" in log.read_text()  # two directions of two sentences
    workspace.snakemake(run, *CONFIG)


def test_one_more_metric_plans_no_model(run):
    jobs = plan(run, change={"evaluate": {"metrics": ["chrF++"]}})
    assert set(jobs) == {"score", "tables", "report", "run_config"}
    assert jobs["score"] == 2 * 4  # models, benchmarks


def test_one_more_benchmark_plans_no_training(run):
    folder = run / "flores"
    for split, count in (("dev", 997), ("devtest", 1012)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for code in rehearsal_config(run)["languages"]:
            (folder / split / f"{code}.{split}").write_text(f"{code} sentence\n" * count, encoding="utf-8")
    settings = {"path": "flores", "directions": ["X-eng"], "shots": [0], "limit": 2, "max_new_tokens": 8}
    jobs = plan(run, change={"evaluate": {"benchmarks": {"flores200": settings}}})
    assert jobs["benchmark"] == 5 and jobs["predict"] == jobs["score"] == 2  # models
    assert set(jobs) <= {"benchmark", "audit", "predict", "score", "tables", "report", "run_config"}


def test_one_more_language_plans_its_own_data_and_one_training(run):
    jobs = plan(run, change={"languages": [*rehearsal_config(run)["languages"], "ukr_Cyrl"]})
    assert jobs["corpus"] == jobs["translation"] == 1
    assert jobs["benchmark"] == 4
    assert jobs["mixture"] == jobs["trained_model"] == jobs["token_audit"] == 1
    assert not {"download", "read_corpus", "given_model", "trimmed_model", "general"} & set(jobs)


def test_another_learning_rate_plans_only_training_and_what_follows(run):
    jobs = plan(run, change={"models": {TUNED: {"sft": {"learning_rate": 1e-4}}}})
    assert jobs["trained_model"] == 1
    assert not {"download", "corpus", "translation", "mixture", "given_model", "trimmed_model"} & set(jobs)
    assert jobs["predict"] == 4


def digests(folder: Path, *patterns: str) -> dict[str, str]:
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_second_run_elsewhere_gives_the_same_bytes(run, tmp_path):
    """Data from the same packages, in another folder, with another number of cores."""
    other = workspace.copy(tmp_path / "elsewhere")
    shutil.copytree(run / "results/downloads", other / "results/downloads")
    workspace.snakemake(
        other, "results/mixtures/laptop.parquet", "results/instructions/translation/nld_Latn.parquet", *CONFIG, "--cores", "1"
    )
    made = ("results/corpora/*.*", "results/instructions/*/*", "results/mixtures/*.parquet", "results/mixtures/*.ledger.csv")
    assert digests(other, *made) == digests(run, *made)
    assert len(digests(other, *made)) > 20


def test_scores_from_the_same_answers_are_the_same(run):
    made = digests(run, "results/scores/**/*.json")
    for stage in ("scores", "reports"):
        shutil.rmtree(run / "results" / stage)
    workspace.snakemake(run, *CONFIG)
    assert digests(run, "results/scores/**/*.json") == made


def test_no_secret_and_no_benchmark_text_in_logs(run):
    sentence = json.loads((run / "results/benchmarks/udhr/deu_Latn.json").read_text(encoding="utf-8"))["items"][0]["text"]
    for path in (run / "logs").rglob("*.log"):
        text = path.read_text(encoding="utf-8", errors="replace")
        assert sentence not in text and "HF_TOKEN" not in text, path


def test_a_full_disk_is_one_clear_message_and_loses_nothing(run, tmp_path):
    """The data side on a file system of 30 MB: it stops with one line; after making room the same command finishes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        folder = workspace.copy(tmp_path / "small")
        (folder / "results").symlink_to(disk)
        target = "results/corpora/raw/scratch-l10n.parquet"
        (disk / "filler").write_bytes(b"0" * (28 << 20))
        output = workspace.snakemake(folder, target, *CONFIG, check=False)
        assert "the disk is full" in output and "Traceback" not in output
        assert not list(disk.rglob("*.archive"))
        (disk / "filler").unlink()
        workspace.snakemake(folder, target, *CONFIG)
        assert (folder / target).stat().st_size > 1_000_000
    finally:
        subprocess.run(["umount", str(disk)], check=True)
