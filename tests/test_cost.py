"""`make cost`: what jobs took, beside the estimate; what Slurm accounted for, failed and repeated jobs included."""

import csv
import os
from pathlib import Path

import pytest

from tests import workspace
from workflow_scripts.cluster import cost, description, jobs, preflight
from workflow_scripts.common import config as settings
from workflow_scripts.common.cli import UserError

# Written by Snakemake 9.27; the second is of a job that ended before the first measurement.
MEASURED = """\
s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time
60.60\t0:01:00\t6.77\t13.94\t0.70\t1.15\t0.02\t0.00\t0.04\t36.00
"""
TOO_SHORT = """\
s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time
0.02\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA
"""
# sacct 22.05 with --duplicates and SACCT_COLUMNS, "|" for the separator. 13 was put back in the queue, 14 cancelled, 18 is another's with a
# command of two lines, 26 is a group, 41 and 42 are jobs of the plugin (2.8), 42 still runs, so accounting has no comment yet.
# Shortened: folders, and the command's last options.
SACCT = """\
13|REQUEUED|2026-11-24T20:17:17|2026-11-24T20:17:18|11|1|billing=1,cpu=1,gres/gpu=1,mem=1000M,node=1|||n1|/scratch/run|rule_predict_udhr_000_wildcards_gemma-3-270m-lifted|/usr/bin/sbatch --parsable -D /scratch/run --comment rule_predict_udhr_000_wildcards_gemma-3-270m-lifted --gres=gpu:1 --requeue --wrap srun sleep 25
13.batch|CANCELLED|2026-11-24T20:17:18|2026-11-24T20:17:18|11|1|cpu=1,gres/gpu=1,mem=1000M,node=1|10712K|0|n1|||
13.0|CANCELLED|2026-11-24T20:17:18|2026-11-24T20:17:18|11|1|cpu=1,gres/gpu=1,mem=1000M,node=1|1568K|0|n1|||/usr/bin/srun sleep 25
14|CANCELLED by 0|2026-11-24T20:17:17|2026-11-24T20:17:18|11|1|billing=1,cpu=1,gres/gpu=2,mem=1000M,node=1||0|n2|/scratch/run|rule_predict_udhr_001_wildcards_gemma-3-270m-lifted|/usr/bin/sbatch --parsable -D /scratch/run --comment rule_predict_udhr_001_wildcards_gemma-3-270m-lifted --gres=gpu:2 --wrap srun sleep 600
14.batch|CANCELLED|2026-11-24T20:17:18|2026-11-24T20:17:18|11|1|cpu=1,gres/gpu=2,mem=1000M,node=1|10796K|0|n2|||
18|COMPLETED|2026-11-24T20:17:17|2026-11-24T20:17:18|0|1|billing=1,cpu=1,mem=1000M,node=1|||n1|/scratch/run|other|/usr/bin/sbatch --parsable -D /scratch/run --comment other --wrap true
echo b
18.batch|COMPLETED|2026-11-24T20:17:18|2026-11-24T20:17:18|0|1|cpu=1,mem=1000M,node=1||0|n1|||
17|PENDING|2026-11-24T20:17:17|Unknown|0|1|||0|None assigned|/scratch/run||/usr/bin/sbatch --parsable -D /scratch/run --comment rule_mixture_wildcards_laptop --begin=now+600 --wrap true
13|COMPLETED|2026-11-24T20:17:29|2026-11-24T20:17:46|25|1|billing=1,cpu=1,gres/gpu=1,mem=1000M,node=1||0|n4|/scratch/run|rule_predict_udhr_000_wildcards_gemma-3-270m-lifted|/usr/bin/sbatch --parsable -D /scratch/run --comment rule_predict_udhr_000_wildcards_gemma-3-270m-lifted --gres=gpu:1 --requeue --wrap srun sleep 25
13.batch|COMPLETED|2026-11-24T20:17:46|2026-11-24T20:17:46|25|1|cpu=1,gres/gpu=1,mem=1000M,node=1|10792K|0|n4|||
26|FAILED|2026-11-24T20:26:11|2026-11-24T20:26:11|48|1|billing=1,cpu=1,mem=200M,node=1||0|n2|/scratch/run|rule_language_corpus_translation|/usr/bin/sbatch --parsable --export=ALL --comment rule_language_corpus_translation -A default -p main -t 4 --mem 200 --requeue --ntasks=1 --cpus-per-task=1 -D /scratch/run --wrap=python -m snakemake --snakefile '/scratch/run/Snakefile' --target-jobs 'translation:language=swh_Latn' 'corpus:language=swh_Latn' --allowed-rules corpus translation --mode 'remote'
26.batch|FAILED|2026-11-24T20:26:11|2026-11-24T20:26:11|48|1|cpu=1,mem=200M,node=1|175696K|0|n2|||
26.0|FAILED|2026-11-24T20:26:25|2026-11-24T20:26:25|31|1|cpu=1,mem=200M,node=1|170368K|0|n2|||/usr/bin/srun -n1 python -m snakemake --target-jobs corpus:language=swh_Latn translation:language=swh_Latn --allowed-rules corpus
41|COMPLETED|2026-11-24T20:34:58|2026-11-24T20:36:01|77|1|billing=1,cpu=1,gres/gpu=2,mem=200M,node=1||0|n1|/scratch/run|rule_predict_udhr_001_wildcards_gemma-3-270m-lifted|/usr/bin/sbatch --parsable --export=ALL --comment rule_predict_udhr_001_wildcards_gemma-3-270m-lifted -A default -p main -t 3 --mem 200 --requeue --cpus-per-task=1 -D /scratch/run --gres=gpu:2 --wrap=python -m snakemake --target-jobs 'predict_udhr_001:model=gemma-3-270m-lifted' --allowed-rules predict_udhr_001 --mode 'remote'
41.batch|COMPLETED|2026-11-24T20:36:01|2026-11-24T20:36:01|77|1|cpu=1,gres/gpu=2,mem=200M,node=1|181884K|0|n1|||
41.0|COMPLETED|2026-11-24T20:36:07|2026-11-24T20:36:07|68|1|cpu=1,gres/gpu=2,mem=200M,node=1|176396K|0|n1|||/usr/bin/srun -n1
42|RUNNING|2026-11-24T20:36:58|2026-11-24T20:37:01|14|1|billing=1,cpu=1,gres/gpu=2,mem=1000M,node=1|||n3|/scratch/run||/usr/bin/sbatch --comment rule_trained_model_wildcards_gemma-3-270m-lifted -D /scratch/run --wrap=python -m snakemake --target-jobs 'trained_model:model=gemma-3-270m-lifted' --allowed-rules trained_model
42.batch|RUNNING|2026-11-24T20:37:01|2026-11-24T20:37:01|14|1|cpu=1,gres/gpu=2,mem=1000M,node=1||0|n3|||
43|FAILED|2026-11-24T20:17:17|2026-11-24T20:17:18|0|1|billing=1,cpu=1,mem=1000M,node=1|||n1|/scratch/other|rule_corpus_wildcards_swh_Latn|/usr/bin/sbatch -D /scratch/other --comment rule_corpus_wildcards_swh_Latn --wrap exit 3
43.batch|FAILED|2026-11-24T20:17:18|2026-11-24T20:17:18|0|1|cpu=1,mem=1000M,node=1|99999K|0|n1|||
""".replace("|", cost.SEPARATOR)  # noqa: E501
RUN = Path("/scratch/run")
SHARD = jobs.Job("predict", ("gemma-3-270m-lifted", "udhr", "000"))


@pytest.fixture
def slurm() -> list[tuple[cost.SlurmCost, list[jobs.Job]]]:
    return cost.parse_sacct(SACCT, RUN, {SHARD.comment: SHARD})


def write(folder: Path, path: str, text: str = MEASURED) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def planned(rule: str, wildcards: str, expected: int, gpus: int = 0, local: bool = False) -> preflight.Planned:
    values = {"minutes": 3 * expected + 30, "cpus": 1, "mem_mb": 2000, "disk_mb": 10, "local": local}
    return preflight.Planned(rule=rule, wildcards=wildcards, expected=expected, gpus=gpus, **values)


def test_every_finished_job_has_a_row_beside_its_estimate(tmp_path):
    write(tmp_path, f"results/cost/{SHARD.name}.tsv")
    write(tmp_path, "results/cost/corpus/swh_Latn.tsv", TOO_SHORT)
    write(tmp_path, "results/cost/benchmark/udhr/deu_Latn.tsv")
    write(tmp_path, "results/cost/new_rule/a/b.tsv")
    write(tmp_path, "results/cost/audit/laptop.tsv", MEASURED.split("\n")[0] + "\n")  # just being written
    rows = [planned("predict_udhr_000", "model=gemma-3-270m-lifted", 12, 2), planned("benchmark", "benchmark=udhr,language=deu_Latn", 0)]
    preflight.record([*rows, planned("predict_udhr_000", "model=another", 99, 1)], tmp_path / preflight.ESTIMATE)

    cost.write_table(tmp_path / "cost.csv", cost.Cost, cost.costs(tmp_path, {SHARD: ["deu_Latn", "hin_Deva"]}, {}))
    found = {row["rule"]: row for row in table(tmp_path / "cost.csv")}
    assert list(found) == ["benchmark", "corpus", "new_rule", "predict"]
    predict = found["predict"]
    assert predict["wildcards"] == "model=gemma-3-270m-lifted,benchmark=udhr,shard=000" and predict["language"] == "deu_Latn hin_Deva"
    assert [predict[name] for name in ("seconds", "cpu_seconds", "cpu_hours", "peak_mb")] == ["60.6", "36.0", "0.01", "6.77"]
    assert [predict[name] for name in ("gpus", "gpu_hours", "estimated_minutes", "estimated_gpu_hours")] == ["2", "0.03367", "12.0", "0.4"]
    corpus, benchmark = found["corpus"], found["benchmark"]
    assert (corpus["seconds"], corpus["cpu_seconds"], corpus["peak_mb"], corpus["gpus"]) == ("0.02", "", "", "")  # nothing is known of it
    assert (benchmark["language"], benchmark["gpus"], benchmark["estimated_minutes"]) == ("deu_Latn", "0", "")  # expected 0: no estimate
    assert found["new_rule"]["wildcards"] == "a,b"


def test_what_ran_without_slurm_has_no_gpus_made_up(tmp_path):
    write(tmp_path, f"results/cost/{SHARD.name}.tsv")
    preflight.record([planned("predict_udhr_000", "model=gemma-3-270m-lifted", 12, 1, local=True)], tmp_path / preflight.ESTIMATE)
    (row,) = cost.costs(tmp_path, {}, {})
    assert row.gpus is None and row.gpu_hours is None and row.estimated_gpu_hours == pytest.approx(0.2)


def test_what_slurm_gave_goes_before_what_was_asked_and_idle_time_is_seen(tmp_path, slurm):
    write(tmp_path, f"logs/{SHARD.name}.log", "load 1.5 s, answer 9.0 s\nagain\nload 2.5 s, answer 20.0 s\nm udhr: answered 60, reused 0\n")
    write(tmp_path, f"results/cost/{SHARD.name}.tsv")
    preflight.record([planned("predict_udhr_000", "model=gemma-3-270m-lifted", 12, 7)], tmp_path / preflight.ESTIMATE)
    completed = {found[0]: job for job, found in slurm if len(found) == 1 and job.state == "COMPLETED"}
    (row,) = cost.costs(tmp_path, {}, completed)
    assert row.gpus == 1 and row.busy_seconds == 20.0 and row.gpu_idle == pytest.approx(1 - 20 / 25)
    os.utime(tmp_path / f"logs/{SHARD.name}.log", (2e9, 2e9))  # of a later attempt, which has not succeeded
    (row,) = cost.costs(tmp_path, {}, completed)
    assert row.busy_seconds is None and row.gpu_idle is None


def test_a_broken_measurement_is_one_clear_message(tmp_path):
    write(tmp_path, "results/cost/corpus/swh_Latn.tsv", "seconds\n1\n")
    with pytest.raises(UserError, match=r"swh_Latn[.]tsv is not a benchmark file of Snakemake"):
        cost.costs(tmp_path, {}, {})
    write(tmp_path, "results/cost/estimate.csv", "rule,wildcards\ncorpus,language=swh_Latn\n")
    with pytest.raises(UserError, match=r"estimate[.]csv is not an estimate"):
        cost.costs(tmp_path, {}, {})


def test_slurms_jobs_of_this_folder_each_time_they_ran(slurm):
    assert [(job.job_id, job.rule, job.wildcards, job.state) for job, _ in slurm] == [
        ("13", "predict", "model=gemma-3-270m-lifted,benchmark=udhr,shard=000", "REQUEUED"),
        ("14", "predict_udhr_001", "gemma-3-270m-lifted", "CANCELLED"),  # neither in its command nor in the config: as the comment has it
        ("17", "mixture", "laptop", "PENDING"),
        ("13", "predict", "model=gemma-3-270m-lifted,benchmark=udhr,shard=000", "COMPLETED"),
        ("26", "corpus+translation", "language=swh_Latn", "FAILED"),
        ("41", "predict", "model=gemma-3-270m-lifted,benchmark=udhr,shard=001", "COMPLETED"),
        ("42", "trained_model", "model=gemma-3-270m-lifted", "RUNNING"),
    ]
    by_place = [job for job, _ in slurm]
    assert [job.gpus for job in by_place] == [1, 2, 0, 1, 0, 2, 2]
    assert [job.elapsed_seconds for job in by_place] == [11, 11, 0, 25, 48, 77, 14]
    assert [job.queued_seconds for job in by_place] == [1, 1, None, 17, 0, 63, 3]
    assert [job.nodes for job in by_place] == ["n1", "n2", "", "n4", "n2", "n1", "n3"]
    assert [job.peak_mb and round(job.peak_mb) for job in by_place] == [10, 11, None, 11, 172, 178, None]
    assert by_place[5].gpu_hours == pytest.approx(2 * 77 / 3600) and by_place[5].cpu_hours == pytest.approx(77 / 3600)
    assert all(job.energy_joules is None for job in by_place)


def test_energy_only_where_the_cluster_measures_it():
    measured = SACCT.replace(f"181884K{cost.SEPARATOR}0{cost.SEPARATOR}", f"181884K{cost.SEPARATOR}5120{cost.SEPARATOR}")
    measured = measured.replace(f"175696K{cost.SEPARATOR}0{cost.SEPARATOR}", f"175696K{cost.SEPARATOR}{2**64 - 2}{cost.SEPARATOR}")
    found = {job.job_id: job.energy_joules for job, _ in cost.parse_sacct(measured, RUN, {})}
    assert found["41"] == 5120 and found["26"] is None


@pytest.mark.parametrize(
    ("tres", "gpus"),
    [
        ("", 0),
        ("billing=1,cpu=1,mem=200M,node=1", 0),
        ("billing=8,cpu=8,gres/gpu=4,mem=64G,node=2", 4),
        ("cpu=8,gres/gpu:a100=4,gres/gpu=4,node=2", 4),
        ("cpu=8,gres/gpu:a100=2,gres/gpu:h100=1,node=2", 3),
        ("cpu=8,gres/gpumem=80G,node=1", 0),
    ],
)
def test_gpus_are_counted_once(tres, gpus):
    assert cost.gpus_of(tres) == gpus


def test_memory_in_every_unit():
    assert [cost.megabytes(text) for text in ("2048K", "3M", "1.5G", "1048576", "", "?")] == [2, 3, 1536, 1, None, None]


def test_the_summary_says_what_was_lost(slurm):
    rows = [
        cost.Cost("predict", "shard=000", "", 100, 50, 0.5, 900, 2, 2.0, 2, 4.0, 60, 0.4),
        cost.Cost("predict", "shard=001", "", 300, 50, 0.5, 1200, 2, 6.0, None, None, 270, 0.1),
        cost.Cost("corpus", "language=swh_Latn", "swh_Latn", 7),
    ]
    text = cost.summary(rows, [job for job, _ in slurm])
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    gpu_seconds = {"predict": 11 + 25 + 2 * 77, "all": 11 + 22 + 25 + 2 * 77 + 2 * 14}
    assert lines["predict"].split() == [
        "predict", "2", "400", "1", "8", "4", "1,200", "18%", "3", f"{113 / 3600:.3g}", f"{gpu_seconds['predict'] / 3600:.3g}", "6%"
    ]  # fmt: skip
    assert lines["corpus"].split() == ["corpus", "1", "7"]
    assert lines["trained_model"].split()[-1] == "0%"  # what still runs is not lost
    assert lines["all"].split()[-1] == f"{(11 + 22) / gpu_seconds['all']:.0%}"
    assert text.endswith("Slurm jobs that did not complete: 1 CANCELLED, 1 FAILED, 1 REQUEUED; 0.00917 GPU-hours.")
    assert "Slurm" not in cost.summary(rows, [])


def test_without_accounting_there_is_one_clear_line_and_cost_csv(tmp_path, monkeypatch, capsys):
    (tmp_path / "config.yaml").write_text("recipe: laptop\nevaluate: {shards: 2}\n")
    config = settings.resolve({"recipe": "laptop", "evaluate": {"shards": 2}})
    job = next(file.job for file in jobs.expected(config, description.read()) if file.stage == "scores")
    write(tmp_path, f"results/cost/{job.name}.tsv")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    cost.main([])
    text = capsys.readouterr().out
    assert "The cluster's accounting is not available (no sacct here). Only results/reports/cost.csv is written." in text
    (row,) = table(tmp_path / "results/reports/cost.csv")
    assert row["rule"] == "score" and len(row["language"].split()) > 1
    assert not (tmp_path / "results/reports/slurm_jobs.csv").exists()


def test_a_real_measurement_of_snakemake_is_read(tmp_path):
    (tmp_path / "Snakefile").write_text(
        'rule corpus:\n    output: "done"\n    benchmark: "results/cost/corpus/swh_Latn.tsv"\n'
        '    shell: "end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do :; done; touch {output}"\n'
    )
    workspace.snakemake(tmp_path, "done", "--cores", "1")
    (row,) = cost.costs(tmp_path, {}, {})
    assert row.rule == "corpus" and row.language == "swh_Latn"
    assert row.seconds > 2 and row.cpu_seconds > 0 and row.peak_mb > 1


def test_a_folder_that_cannot_be_written_to_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^/proc/sys cannot be written to: .*on a disk with room that is not mounted read-only\.$"):
        preflight.record([], Path("/proc/sys/cost/estimate.csv"))
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"results cannot be written to: "):
        preflight.record([], tmp_path / preflight.ESTIMATE)
