"""Models are admitted by a test: what is asked of them when they are given, and what answering and training make of its result."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import architectures
from tests import tiny_model
from workflow_scripts.common import causal, files, machine, model_files
from workflow_scripts.common.cli import UserError
from workflow_scripts.models import fitness, gate, given, train
from workflow_scripts.predictions import admission, answer, choices, prompts
from workflow_scripts.predictions.engine import Engine, Request, load_tokenizer

TERMS = {"licence": "mit", "licence_note": ""}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make_talkative(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "source")


def changed(path: Path, **values: Any) -> None:
    """Change a JSON file; None takes a key out."""
    written = files.read_json(path) | values
    files.write_json(path, {key: value for key, value in written.items() if value is not None})


def refused(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        fitness.check(folder)
    assert "\n" not in str(caught.value)


def made(folder: Path, name: str) -> Path:
    return architectures.make(folder, *architectures.ARCHITECTURES[name])


# --- asked


@pytest.mark.parametrize(
    ("name", "answers", "packing"),
    [
        ("gemma3", "batched", True),
        ("gpt2", "batched", True),
        ("bloom", "batched", False),
        ("mamba2", "one by one", False),
        ("lfm2", "one by one", False),
    ],
)
def test_each_architecture_is_admitted_as_it_can_be_answered_with(tmp_path: Path, name: str, answers: str, packing: bool) -> None:
    folder = made(tmp_path / "model", name)
    fitness.check(folder)
    found = admission.examine(folder)
    assert (found["answers"], found["packing"]) == (answers, packing)
    assert ("reason" in found) is (answers == "one by one")


def test_one_by_one_answers_are_those_of_generate_and_of_a_plain_forward(tmp_path: Path) -> None:
    import torch

    folder = made(tmp_path / "model", "mamba2")
    engine = Engine(folder, one_by_one=True)
    text = load_tokenizer(folder)("The cat sits on the mat. Die Katze sitzt.", add_special_tokens=False)["input_ids"]
    requests = [Request(text[:length], limit, "g") for length, limit in ((3, 9), (20, 12), (7, 1), (31, 6))]
    found = dict(engine.generate(requests, stop=""))
    for index, request in enumerate(requests):
        tokens, ids = [], list(request.ids)
        while len(tokens) < request.max_new_tokens and not (tokens and tokens[-1] in engine.ends):
            with torch.inference_mode():
                tokens.append(int(engine.model(torch.tensor([ids + tokens]), use_cache=False).logits[0, -1].argmax()))
        assert found[index].tokens == len(tokens)
        assert found[index].text == engine.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    stop = next(answer.text[3] for answer in found.values() if len(answer.text) > 5 and answer.text[3].strip())
    for index, cut in engine.generate(requests, stop):
        assert cut.text == found[index].text.split(stop)[0].strip() and cut.tokens <= found[index].tokens
    asked = [choices.Choice(request.ids, [[30], [31, 32]], "g") for request in requests]
    for index, logprobs in choices.choose(engine, asked):
        with torch.inference_mode():
            rows = engine.model(torch.tensor([[*requests[index].ids, 31, 32]]), use_cache=False).logits[0].log_softmax(-1)
        end = len(requests[index].ids) - 1
        assert logprobs == pytest.approx([float(rows[end, 30]), float(rows[end, 31] + rows[end + 1, 32])], abs=1e-4)


def test_only_the_first_layers_of_a_large_model_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MOST_WEIGHTS", 1000)
    layers = ["conv", "conv", "full_attention", "conv", "conv", "conv"]
    kind, values = architectures.ARCHITECTURES["lfm2"]
    architectures.make(tmp_path / "lfm2", kind, values | {"num_hidden_layers": 6, "layer_types": layers})
    engine, tested = admission.engine_of(tmp_path / "lfm2")
    assert tested == "3 of 6" and engine.model.config.layer_types == layers[:3] and len(engine.model.model.layers) == 3
    layers = ["sliding_attention"] * 5 + ["full_attention"]
    kind, values = architectures.ARCHITECTURES["gemma3"]
    architectures.make(tmp_path / "gemma3", kind, values | {"num_hidden_layers": 6, "layer_types": layers})
    found = admission.examine(tmp_path / "gemma3")
    assert found == {"answers": "batched", "packing": True, "layers": "2 of 6"}
    assert admission.examine(made(tmp_path / "gpt2", "gpt2"))["layers"] == "2 of 2"


def test_a_model_that_reads_both_ways_is_refused(tmp_path: Path) -> None:
    """Its class says causal, its attention is not: no name tells."""
    kind, values = architectures.ARCHITECTURES["gemma3"]
    folder = architectures.make(tmp_path / "model", kind, values | {"use_bidirectional_attention": True})
    with pytest.raises(UserError, match="reads text in both directions"):
        admission.examine(folder)


def test_weights_that_are_not_finite_are_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = float("inf")
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="not finite"):
        admission.examine(copy)


def test_the_program_tests_what_it_gives_and_the_manifest_says_how(copy: Path, tmp_path: Path) -> None:
    place = tmp_path / "results"
    manifest = given.make("m", {"path": str(copy), **TERMS}, [], place / "model", place / "manifest.json", given.asked)
    assert manifest["admission"] == {"answers": "batched", "layers": "2 of 2", "packing": True}
    kind, values = architectures.ARCHITECTURES["gemma3"]
    folder = architectures.make(tmp_path / "both", kind, values | {"use_bidirectional_attention": True})
    with pytest.raises(UserError, match=rf"^{folder} \(Gemma3ForCausalLM\) reads text in both directions"):
        given.make("m", {"path": str(folder), **TERMS}, [], tmp_path / "no/model", tmp_path / "no/manifest.json", given.asked)
    assert not list((tmp_path / "no").glob("**/*"))


# --- weights, kinds of models, tokens


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t5", "encoder-decoder model, which is not supported yet"),
        ("xlm-r", "XLMRobertaForMaskedLM, which does not write text"),
        ("llama-classifier", "LlamaForSequenceClassification, which does not write text"),
        ("llama-headless", r"lacks weights of a LlamaForCausalLM: lm_head.weight\. They would be made up"),
    ],
)
def test_what_is_no_whole_causal_model_is_refused(tmp_path: Path, name: str, message: str) -> None:
    refused(made(tmp_path / "model", name), message)


def test_kinds_that_config_tells_are_refused_before_a_weight_is_copied(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "copy_model", lambda *_, **__: pytest.fail("copied"))
    kept = (copy / "config.json").read_bytes()
    for change, message in (
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"are quantised \(gptq\)"),
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, "does not write text"),
        ({"model_type": "mbart"}, "encoder-decoder"),
        ({"model_type": "vit"}, "no causal language model"),
        ({"model_type": "not-invented"}, "cannot read .*config.json .model_type not-invented"),
        ({"auto_map": {"AutoModel": "theirs.py"}}, "never runs such code"),
    ):
        (copy / "config.json").write_bytes(kept)
        changed(copy / "config.json", **change)
        with pytest.raises(UserError, match=message):
            given.make("m", {"path": str(copy), **TERMS}, [], tmp_path / "out/model", tmp_path / "out/manifest.json")
    (copy / "config.json").unlink()
    files.write_json(copy / "adapter_config.json", {"base_model_name_or_path": "org/base"})
    with pytest.raises(UserError, match="is a LoRA adapter, no whole model: merge it into org/base"):
        given.make("m", {"path": str(copy), **TERMS}, [], tmp_path / "out/model", tmp_path / "out/manifest.json")


def test_weights_that_do_not_fit_config_are_named(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    changed(copy / "config.json", vocab_size=600)
    refused(copy, r"model.embed_tokens.weight has the shape \(476, 32\) in the safetensors, but \(600, 32\) by config.json")
    changed(copy / "config.json", vocab_size=476, num_hidden_layers=1, layer_types=["full_attention"])
    refused(copy, r"holds weights that its config.json leaves out: model.layers.1")
    changed(copy / "config.json", num_hidden_layers=3, layer_types=["full_attention"] * 3)
    refused(copy, r"lacks weights of a Gemma3ForCausalLM: model.layers.2")
    with pytest.raises(UserError, match=r"model.layers.2.*They would be made up at random"):
        Engine(copy)
    with pytest.raises(UserError, match=r"model.layers.2.*They would be made up at random"):
        train.load(copy, {"method": "full", "dtype": "float32"})
    changed(copy / "config.json", num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"])
    weights = load_file(copy / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.bias"] = weights["model.layers.0.self_attn.q_proj.weight"][:, 0].clone()
    weights["vision.tower.weight"] = weights["model.norm.weight"].clone()
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    refused(copy, "leaves out: model.layers.0.self_attn.q_proj.bias")
    del weights["model.layers.0.self_attn.q_proj.bias"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert fitness.check(copy) == ["weights that a Gemma3ForCausalLM does not use: vision.tower.weight"]


def test_tokens_without_a_row_are_refused_where_they_can_come_up(copy: Path) -> None:
    tokenizer = load_tokenizer(copy)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(copy)
    assert fitness.check(copy) == ["marks without a row of the embedding, which no text may contain: <image>"]
    with pytest.raises(UserError, match=r"holds the token 476, but the model's embedding has 476 rows \(ids 0 to 475\)"):
        list(Engine(copy).generate([Request([2, 476], 3)], ""))
    message = r"has ids up to 476, but the embedding has 476 rows \(ids 0 to 475\): \"{}\" 476\. Enlarge .*resize_token_embeddings\(477\)"
    changed(copy / "tokenizer_config.json", pad_token="<image>")
    refused(copy, message.format("<image>"))
    changed(copy / "tokenizer_config.json", pad_token="<pad>")
    (copy / "chat_template.jinja").write_text("{{ bos_token }}<image>{{ messages[0].content }}")
    refused(copy, message.format("<image>"))
    fresh = load_tokenizer(copy)
    fresh.chat_template = "{{ bos_token }}{{ messages[0].content }}"
    fresh.add_tokens(["Wort"])
    fresh.save_pretrained(copy)
    refused(copy, r"has ids up to 477, .*\"Wort\" 477")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "generation_config.json",
            {"eos_token_id": [1, 900]},
            r"^generation_config.json of .* names eos_token_id 900, but",
        ),
        ("config.json", {"pad_token_id": 476}, "names pad_token_id 476"),
        ("tokenizer_config.json", {"eos_token": None}, "names no end mark"),
    ],
)
def test_marks_outside_the_vocabulary_are_refused(copy: Path, file: str, change: dict[str, Any], message: str) -> None:
    changed(copy / file, **change)
    refused(copy, message)


# --- generation_config.json


CONTENTS = {"absent": None, "blank": "", "empty": "{}", "null": '{"eos_token_id": null}'}
CONTENTS |= {"sampling": '{"temperature": 0.6, "eos_token_id": 1}'}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_any_generation_config_will_do_everywhere(copy: Path, tmp_path: Path, content: str | None) -> None:
    path = copy / "generation_config.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    fitness.check(copy)
    tokenizer = load_tokenizer(copy)
    assert causal.end_marks(tokenizer, causal.generation_config(copy)) == Engine(copy).ends == {tokenizer.eos_token_id}
    train.load(copy, {"method": "full", "dtype": "float32"}).save_pretrained(tmp_path / "saved")


def test_a_broken_generation_config_is_one_message(copy: Path) -> None:
    (copy / "generation_config.json").write_text("{eos")
    with pytest.raises(UserError, match=r"generation_config.json is not valid JSON"):
        causal.generation_config(copy)


# --- what answering and training make of it


def question(text: str = "The cat") -> prompts.Question:
    return prompts.Question(0, "d", "chat", [{"role": "user", "content": text}], kind="chat")


def test_a_limit_ends_where_positions_do_and_a_prompt_beyond_them_is_refused(copy: Path) -> None:
    changed(copy / "config.json", max_position_embeddings=20)
    engine = Engine(copy, 2)
    engine.ends = set()
    found = dict(engine.generate([Request([2, *range(300, 315)], 9), Request([2, 300], 9), Request([2, *range(300, 318)], 9)], ""))
    assert [(found[index].tokens, found[index].finish) for index in range(3)] == [(4, "length"), (9, "length"), (1, "length")]
    with pytest.raises(UserError, match=r"a prompt has 20 tokens, but the model reads 20 with its answer"):
        list(engine.generate([Request([2] * 20, 1)], ""))
    assert dict(choices.choose(engine, [choices.Choice([2] * 20, [[3]])]))
    with pytest.raises(UserError, match="but the model reads 20"):
        list(choices.choose(engine, [choices.Choice([2] * 20, [[3], [4, 5]])]))


def test_positions_follow_the_config() -> None:
    from transformers import BloomConfig, Gemma3Config, GPT2Config, LlamaConfig, MambaConfig, MptConfig

    scaled = LlamaConfig(max_position_embeddings=2048, rope_scaling={"rope_type": "linear", "factor": 4.0})
    whole = LlamaConfig(max_position_embeddings=131072, rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192})  # fmt: skip
    configs = (LlamaConfig(), scaled, whole, GPT2Config(), BloomConfig(), MambaConfig(), MptConfig(), Gemma3Config())
    assert [causal.positions(config) for config in configs] == [2048, 8192, 131072, 1024, None, None, 2048, 131072]


def test_a_folder_that_changed_after_its_manifest_is_refused(copy: Path, tmp_path: Path) -> None:
    place = tmp_path / "results"
    manifest = given.make("m", {"path": str(copy), **TERMS}, [], place / "model", place / "manifest.json")
    model_files.check_unchanged(shutil.copytree(place / "model", tmp_path / "moved"), manifest)
    for name, change in (("model.safetensors", "has another"), ("tokenizer.json", "has another"), ("new.safetensors", "has the new")):
        folder = shutil.copytree(place / "model", tmp_path / name)
        with (folder / name).open("ab") as file:
            file.write(b" ")
        with pytest.raises(UserError, match=f"is not the one of its manifest: it {change} {name}"):
            model_files.check_unchanged(folder, manifest)
    (place / "model/README.md").write_text("a card of my own")
    model_files.check_unchanged(place / "model", manifest)


def test_a_large_file_is_known_by_its_pieces(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(20_000_000))
    before = model_files.sample(path)
    for place in (0, 9_000_000, 19_999_999):
        with path.open("r+b") as file:
            file.seek(place // 312_000 * 312_000)
            file.write(b"x" * 320_000)
        assert model_files.sample(path) != before
        path.write_bytes(bytes(20_000_000))
    assert model_files.sample(path) == before


def test_packing_is_refused_before_a_gpu_where_rows_would_see_each_other(tmp_path: Path) -> None:
    files.write_json(tmp_path / "manifest.json", {"model": "bloom", "admission": {"packing": False}})
    (tmp_path / "tokens.csv").write_text("stage,language,subject,measure,value,reason\n")
    arguments = ["--tokens", str(tmp_path / "tokens.csv"), "--limits", "{}", "--output", str(tmp_path / "passed")]
    arguments += ["--base-manifest", str(tmp_path / "manifest.json")]
    with pytest.raises(UserError, match=r"model bloom cannot be trained with sft.packing: true"):
        gate.main([*arguments, "--packing"])
    model_files.check_packing({"admission": {"packing": False}}, packing=False)
    model_files.check_packing({"admission": {"packing": True}}, packing=True)
    model_files.check_packing({}, packing=True)


def test_a_gpu_that_was_given_and_is_not_seen_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE", "PIVOTLIFT_CPU"):
        monkeypatch.delenv(name, raising=False)
    machine.check_gpus()
    with pytest.raises(UserError, match="was given GPUs, but PyTorch sees none on"):
        machine.check_gpus(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match=r"was given GPUs \(CUDA_VISIBLE_DEVICES=0\), but PyTorch sees none on"):
        machine.check_gpus()
    monkeypatch.setenv("PIVOTLIFT_CPU", "1")
    machine.check_gpus(1)


def test_answering_keeps_to_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that was admitted one by one is answered so, and its keys say it; keys of others stay as they were."""
    folder, texts = made(tmp_path / "model", "mamba2"), tmp_path / "benchmark"
    items = [{"split": "devtest", "item": n, "text": "The cat sits" + " on the mat" * n} for n in range(3)]
    for language in ("eng_Latn", "deu_Latn"):
        data = {"benchmark": "b", "version": "1", "shape": "flores", "language": language, "reason": "", "items": items}
        files.write_json(texts / f"{language}.json", data)
    settings = {"template": "en-labelled", "pivots": ["eng_Latn", "zho_Hans"], "directions": ["eng-X"], "shots": [0], "limit": None}
    asking = {"stop": "\n", "system": "", "template_arguments": {}, "thinking_tokens": 0}
    settings |= {"max_new_tokens": 6, "batch_size": 4, "asking": asking}
    keys = {}
    for how in ("one by one", "batched"):
        place = tmp_path / how
        files.write_json(place / "manifest.json", {"fingerprint": "f" * 64, "admission": {"answers": how}})
        places = {"--model-folder": folder, "--manifest": place / "manifest.json", "--benchmark-folder": texts}
        places |= {"--work": place / "work", "--output-folder": place / "out"}
        arguments = ["--model", "m", "--benchmark", "b", "--languages", "deu_Latn", "--settings", json.dumps(settings), "--cpus", "1"]
        if how == "batched":
            with pytest.raises(UserError, match="was given GPUs"):
                answer.main([*arguments, *(str(part) for pair in places.items() for part in pair), "--gpus", "1"])
        answer.main([*arguments, *(str(part) for pair in places.items() for part in pair)])
        assert ("answered one by one" in capsys.readouterr().err) is (how == "one by one")
        keys[how] = [row["key"] for row in files.read_jsonl(place / "out/deu_Latn.jsonl")]
    asked = [row for row in prompts.questions(texts, "deu_Latn", settings) if isinstance(row, prompts.Question)]
    lengths = files.sha256_json(prompts.parallel(texts, "deu_Latn", settings)["eng_Latn-deu_Latn"])
    assert keys["batched"] == [answer.content_key("f" * 64, row, settings, lengths) for row in asked]
    assert not set(keys["batched"]) & set(keys["one by one"])


def test_the_table_of_architectures_is_made_by_its_program() -> None:
    program = [sys.executable, "benchmarks/architectures.py", "--only", "llama", "t5"]
    done = subprocess.run(program, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[2:][0] == "| llama | batched | yes |  |"
    assert "| t5 | refused | | FOLDER (T5ForConditionalGeneration) is an encoder-decoder" in done.stdout
