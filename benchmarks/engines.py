"""vLLM against transformers: how many answers of a model differ, in text, ending or number of tokens.

    python benchmarks/engines.py --flores ARCHIVE --model FOLDER [--languages deu_Latn zho_Hans] [--lines 8] [--max-new-tokens 128]

The first lines of FLORES-200's devtest, both directions with English, 0-shot; no text is printed. Both run `predictions.answer` on
what this machine has, vLLM in .venv-vllm (`make setup-vllm`) or in the Python that PIVOTLIFT_VLLM_PYTHON names.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def answers(arguments: argparse.Namespace, folder: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """What one engine answers, a row an item."""
    from workflow_scripts.common import files

    output = folder / settings.get("engine", "transformers")
    command = [
        sys.executable, "-m", "workflow_scripts.predictions.answer", "--model", "model", "--model-folder", str(arguments.model),
        "--manifest", str(folder / "manifest.json"), "--benchmark", "flores200", "--languages", *arguments.languages,
        "--benchmark-folder", str(folder / "flores200"), "--settings", json.dumps(settings), "--work", str(output / "work"),
        "--output-folder", str(output),
    ]  # fmt: skip
    environment = {"PIVOTLIFT_VLLM_PYTHON": str(ROOT / ".venv-vllm/bin/python")} | os.environ
    done = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return [row for language in arguments.languages for row in files.read_jsonl(output / f"{language}.jsonl")]


def main() -> None:
    from workflow_scripts.benchmarks import prepare
    from workflow_scripts.common import files

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flores", type=Path, required=True, help="archive of FLORES-200 in its own layout")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--languages", nargs="+", default=["deu_Latn", "zho_Hans"])
    parser.add_argument("--lines", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    arguments = parser.parse_args()
    arguments.model = arguments.model.resolve()
    settings = {"template": "en-labelled", "pivots": ["eng_Latn"], "directions": ["X-eng", "eng-X"], "shots": [0]}
    settings["asking"] = {"stop": "\n", "system": "", "template_arguments": {}, "thinking_tokens": 0}
    settings |= {"limit": arguments.lines, "max_new_tokens": arguments.max_new_tokens, "batch_size": "auto"}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare.main(["--benchmark", "flores200", "--languages", "eng_Latn", *arguments.languages, "--material", str(arguments.flores),
                      "--sha256", files.sha256_file(arguments.flores), "--output-folder", str(folder / "flores200")])  # fmt: skip
        files.write_json(folder / "manifest.json", {"fingerprint": str(arguments.model)})
        one, other = (answers(arguments, folder, settings | engine) for engine in ({}, {"engine": "vllm"}))
    ended, tokens = sum(row["finish"] == "stop" for row in one), sum(row["tokens"] for row in one)
    print(f"{len(one)} answers of transformers, {ended} with an end of their own, {tokens} tokens")
    for field in ("answer", "finish", "tokens"):
        print(f"vLLM differs in {field}: {sum(a[field] != b[field] for a, b in zip(one, other, strict=True))}")


if __name__ == "__main__":
    main()
