"""`make status`: every state a run can be in, told from its files, from Snakemake's markers, and from what squeue and Slurm's logs say."""

import argparse
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import workspace
from workflow_scripts.cluster import description, jobs, status
from workflow_scripts.common.cli import UserError
from workflow_scripts.common.languages import registry

# squeue 22.05 with --states=all and SQUEUE_COLUMNS, two seconds after `scontrol requeue 13; scancel 14`; 15 ran into its time limit later.
# Only the folder's name is another.
SQUEUE = """\
14\x1fCANCELLED\x1frule_predict_udhr_001_wildcards_gemma-3-270m-trimmed\x1f{folder}\x1fn2\x1fNone
18\x1fCOMPLETED\x1fother\x1f{folder}\x1fn1\x1fNone
16\x1fFAILED\x1frule_corpus_wildcards_swh_Latn\x1f{folder}\x1fn1\x1fNonZeroExitCode
13\x1fPENDING\x1frule_predict_udhr_000_wildcards_gemma-3-270m-trimmed\x1f{folder}\x1f\x1fBeginTime
15\x1f{state}\x1frule_trained_model_wildcards_gemma-3-270m-lifted\x1f{folder}\x1fn3\x1f{reason}
17\x1fPENDING\x1frule_corpus_wildcards_deu_Latn\x1f/another/run\x1f\x1fBeginTime
"""
# The beginning of Slurm's log of a group (plugin 2.8); its comment is `rule_language_corpus_translation`, for every language.
GROUP_LOG = """\

SNAKEMAKE
=========
  Date: 2026-11-24 20:13:06
  Snakemake version: 9.27.1
  Command: __main__.py --snakefile Snakefile --target-jobs translation:language=deu_Latn corpus:language=deu_Latn --allowed-rules \
translation corpus --local-groupid 6b1fbdb2-1bd9-5f82-834c-3519e2663dec --cores all --attempt 1
  Working directory: /scratch/run
"""
TIME_LIMIT = """\
srun: Job step aborted: Waiting up to 7 seconds for job step to finish.
slurmstepd-n3: error: *** JOB 24 ON n3 CANCELLED AT 2026-11-24T20:27:18 DUE TO TIME LIMIT ***
srun: got SIGCONT
srun: forcing job termination
srun: error: n3: task 0: Exited with exit code 1
"""
SCANCEL = "slurmstepd-n2: error: *** STEP 14.0 ON n2 CANCELLED AT 2026-11-24T20:17:29 ***\nsrun: forcing job termination\n"
MODEL = "gemma-3-270m-trimmed"


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    jobs.add_config_options(parser)
    return parser.parse_args(words)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")  # lines are cut at the terminal's width, which parallel tests narrow
    (tmp_path / "config.yaml").write_text("recipe: laptop\nevaluate: {shards: 2}\n")
    return tmp_path


def files_of(run: Path) -> list[jobs.File]:
    return list(jobs.expected(jobs.read_config(options(), run), description.read()))


def make(run: Path, choose: Callable[[jobs.File], bool]) -> None:
    """The files that a finished job leaves: what it made, its log, its cost."""
    for file in filter(choose, files_of(run)):
        for path, text in (
            (file.path, ""),
            (f"logs/{file.job.name}.log", "all is well\n"),
            (f"results/cost/{file.job.name}.tsv", "s\n1.0\n"),
        ):
            (run / path).parent.mkdir(parents=True, exist_ok=True)
            (run / path).write_text(text)


def write(run: Path, path: str, text: str) -> None:
    (run / path).parent.mkdir(parents=True, exist_ok=True)
    (run / path).write_text(text)


def mark(run: Path, path: str, external: str | None = None) -> None:
    """Mark a file as being made, by Snakemake's own code."""
    from snakemake.persistence.file import FilePersistence

    FilePersistence(path=run / ".snakemake")._mark_incomplete(path, external)


def shown(run: Path, squeue: str = "", width: int = 200, **known: object) -> str:
    slurm = status.parse_squeue(squeue, run)
    return status.report(status.Run(files_of(run), status.Folder(run), slurm, **known), width)  # type: ignore[arg-type]


def row(text: str, name: str) -> str:
    """The line of a language, each gap one blank."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(name + " "))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Every job that Snakemake plans in a fresh copy: its rule and what it prints of it."""
    output = workspace.snakemake(workspace.copy(tmp_path_factory.mktemp("plan") / "pivotlift"), "--dry-run")
    found = []
    for rule, text in re.findall(r"^ *(?:local)?rule (\S+):\n((?: +\w+: .*\n)+)", output, re.MULTILINE):
        found.append({"rule": rule} | dict(line.strip().split(": ", 1) for line in text.splitlines()))
    return found


def test_files_jobs_logs_costs_and_comments_have_the_names_that_the_rules_give_them(planned):
    by_path = {path.removesuffix(" (update)"): job for job in planned for path in job.get("output", "").split(", ")}
    expected = list(jobs.expected(jobs.read_config(options(), workspace.ROOT), description.read()))
    for file in expected:
        job = by_path[file.path]
        wildcards = dict(part.split("=") for part in job["wildcards"].split(", ")) if "wildcards" in job else {}
        assert jobs.job_of(job["rule"], wildcards) == file.job
        assert job["log"] == f"logs/{file.job.name}.log"
        assert job.get("benchmark", f"results/cost/{file.job.name}.tsv") == f"results/cost/{file.job.name}.tsv"
        values = f"_wildcards_{'_'.join(wildcards.values())}" if wildcards else ""
        assert file.job.comment == f"rule_{job['rule']}{values}"
        assert jobs.target_jobs(f"--target-jobs '{job['rule']}:{','.join(map('='.join, wildcards.items()))}' --x") == [file.job]
    # And nothing is left out but what is made beside these files.
    logs = {job["log"] for job in planned if job["rule"] != "all"}
    assert logs - {f"logs/{file.job.name}.log" for file in expected} == {"logs/run_config.log"}


def test_the_config_is_what_snakemake_makes_of_the_same_options(tmp_path):
    folder = workspace.copy(tmp_path / "pivotlift")
    (folder / "over.yaml").write_text("evaluate: {models: [gemma-3-270m-trimmed], shards: 3}\nmodels: {gemma-3-270m-lifted: null}\n")
    words = ["--configfile", "over.yaml", "--config", "recipe=laptop", "languages=[eng_Latn, zho_Hans, deu_Latn]", "empty_corpus=note",
             "mixtures={laptop: {kept_out: []}}", "models={gemma-3-270m-trimmed: {trim: {languages: [eng_Latn, deu_Latn]}}}",
             "evaluate={template: en-01}"]  # fmt: skip
    workspace.snakemake(folder, "results/reports/config.json", "--cores", "1", *words)
    chosen = options(*words)
    chosen.configfile = [folder / path for path in chosen.configfile]
    assert jobs.read_config(chosen, folder) == json.loads((folder / "results/reports/config.json").read_text())


def test_what_cannot_be_read_is_one_clear_message(run):
    with pytest.raises(UserError, match="expected KEY=VALUE"):
        jobs.read_config(options("--config", "recipe"), run)
    with pytest.raises(UserError, match=r"no-such[.]yaml cannot be read"):
        jobs.read_config(options("--configfile", "no-such.yaml"), run)
    (run / "config.yaml").unlink()
    with pytest.raises(UserError, match="Run this in the folder of the run"):
        jobs.read_config(options(), run)


def test_a_run_half_done_shows_each_language_in_its_stage(run):
    assert row(shown(run), "swh_Latn") == "swh_Latn benchmarks 0 of 4 waiting"
    make(run, lambda file: file.stage in ("downloads", "benchmarks") or file.title == "raw corpora")
    make(run, lambda file: file.language in ("swh_Latn", "eng_Latn") and file.stage == "corpora")
    make(run, lambda file: file.language == "eng_Latn" and file.stage == "instructions" and file.path.endswith("parquet"))
    make(run, lambda file: file.language == "deu_Latn")
    text = shown(run)
    assert row(text, "swh_Latn") == "swh_Latn instructions 0 of 2 waiting"
    assert row(text, "eng_Latn") == "eng_Latn instructions 2 of 4 waiting"
    assert row(text, "hin_Deva") == "hin_Deva corpora 0 of 2 waiting"
    assert row(text, "deu_Latn") == "deu_Latn scores 8 of 8 done"
    assert row(text, "downloads") == "downloads downloads 10 of 10 done"
    assert row(text, "model gemma-3-270m-lifted") == "model gemma-3-270m-lifted models 0 of 4 waiting"
    assert "corpora 9 of 27" in text and "benchmarks 48 of 48" in text and "instructions 4 of 28" in text and "scores 8 of 96" in text
    assert text.endswith("languages  1 done, 11 waiting")


def test_a_failed_rule_is_told_with_its_last_line_and_its_log(run):
    make(run, lambda file: file.stage == "benchmarks")
    write(run, "logs/corpus/swh_Latn.log", "reading\nerror: the corpus django has no pair of swh_Latn\n\n")
    write(run, "logs/translation/swh_Latn.log", "")  # Snakemake touches the logs of a whole group when one of its jobs fails
    text = shown(run)
    assert row(text, "swh_Latn") == "swh_Latn corpora 0 of 2 failed error: the corpus django has no pair of swh_Latn"
    assert row(text, "deu_Latn") == "deu_Latn corpora 0 of 2 waiting"
    failed = "failed     corpus language=swh_Latn: error: the corpus django has no pair of swh_Latn\n           logs/corpus/swh_Latn.log"
    assert text.endswith(f"languages  11 waiting, 1 failed\n{failed}")


def test_a_file_deleted_to_be_made_again_has_not_failed(run):
    make(run, lambda file: file.language == "swh_Latn")
    (run / "results/scores" / MODEL / "udhr/swh_Latn.json").unlink()
    assert row(shown(run), "swh_Latn") == "swh_Latn scores 7 of 8 waiting"
    log = next(run.glob(f"logs/score/{MODEL}/udhr/*.log"))
    os.utime(log, (time.time() + 5, time.time() + 5))  # it ran again, and failed
    assert row(shown(run), "swh_Latn") == "swh_Latn scores 7 of 8 failed all is well"


def test_a_job_of_slurm_is_shown_with_its_number_its_node_and_its_progress(run):
    make(
        run, lambda file: file.stage in ("benchmarks", "corpora", "instructions", "models") and file.job.values != ("gemma-3-270m-lifted",)
    )
    make(run, lambda file: file.stage in ("predictions", "scores") and "/udhr/" not in file.path)
    squeue = SQUEUE.format(folder=run, state="RUNNING", reason="None")
    write(run, "logs/trained_model/gemma-3-270m-lifted.log", "loading\n\r  2%|▏ | 1/63\r 50%|█████ | 32/63 [01:10<01:08, 2.2s/it]\r\x1b[A")
    text = shown(run, squeue)
    assert row(text, "model gemma-3-270m-lifted") == (
        "model gemma-3-270m-lifted models 0 of 4 running 15 n3 50%|█████ | 32/63 [01:10<01:08, 2.2s/it]"
    )
    shards = {file.language: file.job.values[2] for file in files_of(run) if file.stage == "predictions" and file.job.values[1] == "udhr"}
    assert set(shards.values()) == {"000", "001"}
    for language, shard in shards.items():  # one job, all languages of its shard
        assert ("queued 13 waits: BeginTime" in row(text, language)) == (shard == "000")
    assert "queued" not in shown(run, squeue.replace(str(run), "/another/run"))


def test_a_running_job_does_not_show_the_log_of_the_attempt_before(run):
    log, model = "logs/trained_model/gemma-3-270m-lifted.log", "results/models/gemma-3-270m-lifted/manifest.json"
    write(run, log, "error: of the first attempt\n")
    os.utime(run / log, (1, 1))
    mark(run, model)
    squeue = SQUEUE.format(folder=run, state="RUNNING", reason="None")
    assert row(shown(run, squeue), "model gemma-3-270m-lifted") == "model gemma-3-270m-lifted models 0 of 4 running 15 n3"
    write(run, log, "step 1\n")
    assert row(shown(run, squeue), "model gemma-3-270m-lifted").endswith("running 15 n3 step 1")


def test_jobs_that_slurm_ended_are_failed_or_stopped_whatever_snakemake_knows(run):
    make(run, lambda file: file.stage in ("benchmarks", "corpora", "instructions", "models"))
    (run / "results/models/gemma-3-270m-lifted/manifest.json").unlink()
    for file in files_of(run):
        if file.job.values in (("gemma-3-270m-lifted",), (MODEL, "udhr", "001")):
            mark(run, file.path)
    write(run, "logs/trained_model/gemma-3-270m-lifted.log", " 50%|█████ | 32/63")
    text = shown(run, SQUEUE.format(folder=run, state="TIMEOUT", reason="TimeLimit"))
    assert row(text, "model gemma-3-270m-lifted").endswith("failed 15 n3 TIMEOUT: 50%|█████ | 32/63")
    cancelled = next(file.language for file in files_of(run) if file.job.values == (MODEL, "udhr", "001"))
    assert row(text, cancelled).startswith(f"{cancelled} predictions 0 of 8 stopped")


def test_slurms_own_log_tells_why_a_job_ended(run):
    make(run, lambda file: file.stage in ("benchmarks", "corpora", "instructions", "models"))
    path = f"logs/slurm/rule_predict_udhr_000/{MODEL}/24.log"
    write(run, path, TIME_LIMIT)
    text = shown(run)
    said = "slurmstepd-n3: error: *** JOB 24 ON n3 CANCELLED AT 2026-11-24T20:27:18 DUE TO TIME LIMIT ***"
    assert f"failed     predict model={MODEL},benchmark=udhr,shard=000: {said}\n           {path}" in text
    log = f"logs/predict/{MODEL}/udhr/000.log"
    write(run, log, "40/60 items")
    assert f"shard=000: 40/60 items\n           {log}\n           {path}: {said}" in shown(run)
    write(run, path, SCANCEL)
    assert "failed" not in shown(run) and "stopped" in shown(run)


def test_a_group_is_found_by_its_command_and_before_it_starts_by_the_marker(run):
    make(run, lambda file: file.stage == "benchmarks")
    group = f"7\x1f{{}}\x1frule_language_corpus_translation\x1f{run}\x1f{{}}\x1f{{}}\n"
    for ending in ("parquet", "ledger.csv"):
        mark(run, f"results/corpora/deu_Latn.{ending}", "7")
        mark(run, f"results/instructions/translation/deu_Latn.{ending}", "7")
    assert row(shown(run, group.format("PENDING", "", "Priority")), "deu_Latn") == "deu_Latn corpora 0 of 2 queued 7 waits: Priority"
    write(run, "logs/slurm/group_language_corpus_translation/7.log", GROUP_LOG)
    for ending in ("parquet", "ledger.csv"):
        mark(run, f"results/corpora/deu_Latn.{ending}")  # the Snakemake inside of the job forgets the number
    text = shown(run, group.format("RUNNING", "n1", "None"))
    assert row(text, "deu_Latn") == "deu_Latn corpora 0 of 2 running 7 n1"
    assert row(text, "swh_Latn") == "swh_Latn corpora 0 of 2 waiting"


def test_hostile_text_in_a_log_does_nothing_to_the_terminal(run):
    make(run, lambda file: file.stage == "benchmarks")
    hostile = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\x9b1m \x1b]8;;http://x\x1b\\link \u202egnp.exe\x00\x08\x85 \x1bPq#0\x1b\\\x1b(0end"
    write(run, "logs/corpus/swh_Latn.log", "good\r\n" + hostile + "\n\x1b[0m\n\x00\n")
    (run / "logs/corpus/deu_Latn.log").write_bytes(b"\xff\xfe broken \x9b31m bytes\n" + b"x" * 20000)
    text = shown(run)
    assert row(text, "swh_Latn") == "swh_Latn corpora 0 of 2 failed red link gnp.exe end"
    assert "title" not in text and "http" not in text
    assert {sign for sign in text if unicodedata.category(sign)[0] == "C"} == {"\n"}
    assert max(map(len, text.splitlines())) <= 200
    assert status.clean("colour \x1b[38;5;1m\x1b]unfinished") == "colour"


def test_a_log_that_is_no_file_is_not_opened(run):
    make(run, lambda file: file.stage == "benchmarks")
    (run / "logs/corpus").mkdir(parents=True)
    os.mkfifo(run / "logs/corpus/swh_Latn.log")  # reading it would wait for ever
    assert row(shown(run, f"1\x1fRUNNING\x1frule_corpus_wildcards_swh_Latn\x1f{run}\x1fn1\x1fNone"), "swh_Latn").endswith("running 1 n1")


def test_colours_only_where_they_are_asked_for(run):
    known = status.Run(files_of(run), status.Folder(run))
    assert "\x1b" not in status.report(known)
    assert "\x1b[2mwaiting\x1b[0m" in status.report(known, colour=True)


def test_without_slurms_answer_waiting_jobs_are_still_queued(run, monkeypatch, capsys):
    mark(run, "results/corpora/deu_Latn.parquet", "7")
    assert "queued" in row(shown(run, complaint="squeue failed"), "deu_Latn")
    (run / "bin").mkdir()
    (run / "bin/squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    (run / "bin/squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{run / 'bin'}:/usr/bin:/bin")
    monkeypatch.chdir(run)
    status.main([])
    text = capsys.readouterr().out
    assert "squeue failed (slurm_load_jobs error: Unable to contact slurm controller): Slurm's jobs are not shown." in text
    assert "queued" in row(text, "deu_Latn")


SNAKEFILE = """
rule all:
    input: expand("results/corpora/{language}.parquet", language=["deu_Latn", "swh_Latn", "hin_Deva"])
rule corpus:
    output: pairs="results/corpora/{language}.parquet", ledger="results/corpora/{language}.ledger.csv"
    log: "logs/corpus/{language}.log"
    benchmark: "results/cost/corpus/{language}.tsv"
    shell:
        "(echo start of {wildcards.language}; touch {output.ledger}; case {wildcards.language} in "
        "deu_Latn) ;; swh_Latn) echo error: made to fail; exit 1;; *) sleep 600;; esac; touch {output.pairs}) > {log} 2>&1"
"""


def test_a_real_snakemake_run_that_fails_in_part_and_is_killed(run, monkeypatch, capsys):
    (run / "Snakefile").write_text(SNAKEFILE)
    make(run, lambda file: file.stage == "benchmarks")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no Slurm, whatever this machine has
    monkeypatch.chdir(run)

    def now() -> str:
        status.main([])
        return capsys.readouterr().out

    call = [sys.executable, "-m", "snakemake", "--cores", "3", "--keep-going", "--quiet", "all"]
    with subprocess.Popen(call, cwd=run, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 60
            while not all(part in (text := now()) for part in ("error: made to fail", "corpora 2 of", "start of hin_Deva")):
                assert time.monotonic() < end and process.poll() is None, text
                time.sleep(0.5)
            assert f"Snakemake runs here (process {process.pid})." in text
            assert row(text, "swh_Latn") == "swh_Latn corpora 0 of 2 failed error: made to fail"
            assert row(text, "deu_Latn") == "deu_Latn instructions 0 of 2 waiting"
            # The ledger is there already, but not finished as long as its job runs.
            assert row(text, "hin_Deva") == "hin_Deva corpora 0 of 2 running start of hin_Deva"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    text = now()
    assert "No Snakemake runs here, but the folder is locked" in text
    assert row(text, "hin_Deva") == "hin_Deva corpora 0 of 2 stopped"
    assert row(text, "swh_Latn") == "swh_Latn corpora 0 of 2 failed error: made to fail"


def test_a_marker_older_than_this_snakemake_is_not_its_work(run):
    mark(run, "results/corpora/deu_Latn.parquet")
    assert "running" in row(shown(run, snakemake=status.Snakemake(1, time.time() - 60)), "deu_Latn")
    assert "stopped" in row(shown(run, snakemake=status.Snakemake(1, time.time() + 60)), "deu_Latn")


def test_long_names_of_marked_files_are_put_together_again(run):
    path = f"results/predictions/{'a-long-name-of-a-model-' * 12}/udhr/deu_Latn.jsonl"
    mark(run, path, "12")
    assert status.Folder(run).markers[path][0] == "12"


def test_all_languages_take_less_than_two_seconds(run):
    (run / "config.yaml").write_text("recipe: laptop\nlanguages: all\nevaluate: {shards: 16}\n")
    files = files_of(run)
    assert len({file.language for file in files} - {""}) == len(registry()) and len(files) > 3000
    make(run, lambda file: file.stage in ("benchmarks", "corpora", "instructions", "models"))
    for file in files:
        if file.stage == "predictions":
            write(run, f"logs/{file.job.name}.log", "40/60 items\n" * 5000)
    mark(run, files[-1].path)
    before, call = resource.getrusage(resource.RUSAGE_CHILDREN), [sys.executable, "-m", "workflow_scripts.cluster.status"]
    environment = os.environ | {"PYTHONPATH": str(workspace.ROOT), "PATH": "/usr/bin:/bin"}
    output = subprocess.run(call, cwd=run, env=environment, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert f"{len(registry())} failed" in output and output.count("40/60 items") > len(registry())
    # Time on the processor: other work on this machine must not make the test fail.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
