"""vLLM as an engine: what the config allows, its answers' keys; and real vLLM with a tiny model, against transformers one by one."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_model, workspace
from tests.test_predictions import mixed_requests
from workflow_scripts.common import files
from workflow_scripts.predictions.engine import Engine, Request

VLLM_PYTHON = workspace.ROOT / ".venv-vllm/bin/python"
needs_vllm = pytest.mark.skipif(not VLLM_PYTHON.exists(), reason="there is no .venv-vllm (make setup-vllm)")
ASK = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from workflow_scripts.predictions.engine import Request
from workflow_scripts.predictions.vllm_engine import VllmEngine

asked = json.load(sys.stdin)
engine = VllmEngine(Path(sys.argv[1]))
requests = [Request(**row) for row in asked["requests"]]
print(json.dumps([[[index, asdict(answer)] for index, answer in engine.generate(requests, stop)] for stop in asked["stops"]]))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with heads of 64, the smallest that vLLM takes."""
    folder = tiny_model.make_talkative(tmp_path_factory.mktemp("vllm") / "model", head=64)
    files.write_json(folder.parent / "manifest.json", {"fingerprint": "f" * 64})
    return folder


def ask(folder: Path, requests: list[Request], stops: list[str]) -> list[list[tuple[int, dict[str, Any]]]]:
    """What vLLM answers, with each of these stop strings, in the order in which the answers ended."""
    asked = json.dumps({"requests": [asdict(request) for request in requests], "stops": stops})
    call = [VLLM_PYTHON, "-c", ASK, folder]
    done = subprocess.run(call, input=asked, cwd=workspace.ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@needs_vllm
def test_answers_are_those_of_transformers(model: Path) -> None:
    engine = Engine(model, 8)
    requests = mixed_requests(engine)
    stops = ["", "r", "English", "ш"]
    for stop, found in zip(stops, ask(model, requests, stops), strict=True):
        expected = {index: asdict(answer) for index, answer in engine.generate(requests, stop)}
        different = {index: (answer, expected[index]) for index, answer in found if answer != expected[index]}
        assert len(found) == len(requests)
        print(stop, len(different), different)
