"""A training that diverges ends with one message, and never with a model; small trainings learn; what a model cannot read is said."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.test_train import base, command, kill_after, load_tokenizer, mixture, weights
from tests.test_train_distributed import launch
from workflow_scripts.common import cli, files
from workflow_scripts.models import audit, checkpoints, tokens, train

__all__ = ["base"]  # a fixture


def nothing_is_left(place: Path) -> bool:
    """No model, no manifest, and no finished training that a later run would take."""
    outputs = [place / "model", place / "manifest.json", *place.glob(f"work/*/{checkpoints.FINISHED}")]
    return not any(path.exists() for path in outputs)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e3},
        {"learning_rate": 1e4, "method": "full"},
        {"learning_rate": 1e30, "method": "full", "packing": True, "gradient_accumulation": 2, "schedule": "constant"},
        {"learning_rate": 1e4, "method": "full", "dtype": "bfloat16", "gradient_checkpointing": True, "save_steps": 1},
    ],
)
def test_a_training_that_diverges_stops_with_one_message(base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    arguments = command(base, mixture(tmp_path / "mixture.parquet", 240), tmp_path, **changes)
    said = []
    for _ in range(2):  # to go on from its checkpoints helps nothing
        with pytest.raises(cli.UserError, match="diverged") as error:
            train.main(arguments)
        said.append(str(error.value))
        assert nothing_is_left(tmp_path)
    assert said[0] == said[1]
    assert f"Lower sft.learning_rate (now {changes['learning_rate']:g})" in said[0] and "last good checkpoint: " in said[0]
    for checkpoint in tmp_path.glob(f"work/*/checkpoint-*/{checkpoints.MARK}"):
        step = int(said[0].split("at step ")[1].split()[0])
        assert checkpoints.step_of(checkpoint.parent) < step
        for path in checkpoint.parent.glob("*.safetensors"):
            assert not checkpoints.not_finite(load_file(path).items())


def test_all_processes_of_a_training_that_diverges_stop(base: Path, tmp_path: Path) -> None:
    arguments = command(base, mixture(tmp_path / "mixture.parquet", 120), tmp_path, learning_rate=1e3)
    process = launch(2, arguments)
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 1 and "Traceback" not in said
    assert said.count("error: training diverged at step") == 1 and "last good checkpoint" in said
    assert nothing_is_left(tmp_path)


def test_weights_that_overflow_in_the_last_step_are_not_saved(base: Path, tmp_path: Path) -> None:
    changes = {"learning_rate": 1e38, "method": "full", "schedule": "constant", "weight_decay": 10}
    arguments = command(base, mixture(tmp_path / "mixture.parquet", 4), tmp_path, **changes)
    with pytest.raises(checkpoints.Diverged, match="weights are n"):
        train.main(arguments)
    assert nothing_is_left(tmp_path)


def test_a_checkpoint_made_after_divergence_is_not_gone_on_from(base: Path, tmp_path: Path) -> None:
    """As an older version wrote them: marked as complete, with NaN in its weights."""
    arguments = command(base, mixture(tmp_path / "mixture.parquet", 64), tmp_path)
    kill_after(2, arguments)
    for checkpoint in tmp_path.glob("work/*/checkpoint-*"):
        adapter = checkpoint / "adapter_model.safetensors"
        broken = load_file(adapter)
        next(iter(broken.values()))[0, 0] = float("nan")
        save_file(broken, adapter, metadata={"format": "pt"})
        (checkpoint / checkpoints.MARK).unlink(missing_ok=True)
        checkpoints.mark(checkpoint)
    with pytest.raises(checkpoints.Diverged, match=r"weights are not finite .* last good checkpoint: "):
        train.main(arguments)
    assert nothing_is_left(tmp_path)


def test_a_base_model_with_broken_weights_is_said_to_be_at_fault(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    broken = load_file(folder / "model/model.safetensors")
    broken["model.layers.0.mlp.up_proj.weight"][0, 0] = float("inf")
    save_file(broken, folder / "model/model.safetensors", metadata={"format": "pt"})
    for method in ("lora", "full"):
        (tmp_path / method).mkdir()
        arguments = command(folder, mixture(tmp_path / "mixture.parquet", 16), tmp_path / method, method=method)
        with pytest.raises(checkpoints.Diverged, match="The base model or the first rows may be at fault"):
            train.main(arguments)
        assert nothing_is_left(tmp_path / method)


@pytest.mark.parametrize(
    ("rows", "changes"), [(1, {}), (13, {"gradient_accumulation": 4}), (3, {"packing": True}), (4, {"warmup_ratio": 1})]
)
def test_a_training_of_one_step_learns(base: Path, tmp_path: Path, rows: int, changes: dict[str, Any]) -> None:
    train.main(command(base, mixture(tmp_path / "mixture.parquet", rows), tmp_path, **changes))
    (line,) = files.read_jsonl(tmp_path / "model/training.jsonl")
    assert line["learning_rate"] == 5e-3
    assert weights(tmp_path) != (base / "model/model.safetensors").read_bytes()
    before, after = (load_file(place / "model/model.safetensors") for place in (base, tmp_path))
    assert any(not torch.equal(before[name].float(), after[name].float()) for name in before)


def test_a_warm_up_is_a_share_of_the_steps_whatever_the_share(base: Path, tmp_path: Path) -> None:
    assert [train.warmup_steps(ratio, 40) for ratio in (0, 0.1, 0.999, 1, 1.0)] == [0, 4, 40, 40, 40]
    assert [train.warmup_steps(0.05, steps) for steps in (1, 2, 20, 21, 125)] == [0, 1, 1, 2, 7]
    train.main(command(base, mixture(tmp_path / "mixture.parquet", 32), tmp_path, warmup_ratio=1))
    rates = [line["learning_rate"] for line in files.read_jsonl(tmp_path / "model/training.jsonl")]
    assert rates == pytest.approx([5e-3 * step / 8 for step in range(8)])


def test_longer_rows_than_the_model_reads_are_refused_before_training(base: Path, tmp_path: Path) -> None:
    data = mixture(tmp_path / "mixture.parquet", 8)
    arguments = ["--model", "lifted", "--base-model", str(base / "model"), "--mixture", str(data), "--output", str(tmp_path / "tokens.csv")]
    audit.main([*arguments, "--max-length", "512"])
    with pytest.raises(cli.UserError, match=r"sft.max_length is 513, but the base model reads 512 tokens .* Set sft.max_length to 512"):
        audit.main([*arguments, "--max-length", "513"])
    with pytest.raises(cli.UserError, match=r"sft.max_length is 5,000, but the base model reads 512"):
        train.main(command(base, data, tmp_path, max_length=5000))
    assert nothing_is_left(tmp_path)


def test_tokens_without_an_embedding_are_refused_before_training(base: Path, tmp_path: Path) -> None:
    """A pad token or chat marks that were added, or words; not a special token that no row can hold, as Gemma 3's for images."""
    folder = tmp_path / "model"
    shutil.copytree(base / "model", folder)
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content + eos_token if m.role == 'assistant' else m.content }}{% endfor %}"
    template += "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    tokenizer = load_tokenizer(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    tokens.check(tokenizer, folder, 512)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"special": {"pad_token": "[PAD]"}}, r"\[PAD\]"),
        ({"special": {"additional_special_tokens": ["<|user|>", "<|assistant|>"]}, "template": template}, r"<\|user\|>, <\|assistant\|>"),
        ({"words": ["Katze"]}, "Katze"),
    ]
    for change, named in changes:
        tokenizer = load_tokenizer(base)
        tokenizer.add_special_tokens(change.get("special", {}))
        tokenizer.add_tokens(change.get("words", []))
        tokenizer.chat_template = change.get("template", tokenizer.chat_template)
        tokenizer.save_pretrained(folder)
        loaded = transformers.AutoTokenizer.from_pretrained(folder)
        with pytest.raises(cli.UserError, match=f"without a row in the embedding, which has [0-9]+: {named}. Resize it"):
            tokens.check(loaded, folder, 512)


def test_the_start_of_lora_hangs_on_our_seed_alone(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trl.trainer.sft_trainer as sft_trainer

    tokenizer = load_tokenizer(base)
    rows, _ = train.encode(tokenizer, mixture(tmp_path / "mixture.parquet", 8), 96, "m")
    settings = dict(zip(command(base, tmp_path, tmp_path)[::2], command(base, tmp_path, tmp_path)[1::2], strict=True))["--settings"]

    def start(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)  # whatever came before
        trainer = train.make_trainer(base / "model", tokenizer, rows, cli.json_object(settings), tmp_path / "run")
        return [weight.clone() for name, weight in sorted(trainer.model.named_parameters()) if "lora_A" in name]

    usual = start(1)
    monkeypatch.setattr(sft_trainer, "set_seed", lambda *_: None, raising=False)
    monkeypatch.setattr(transformers.trainer, "set_seed", lambda *_: None)
    for seed in (2, 3):
        assert all(torch.equal(one, other) for one, other in zip(usual, start(seed), strict=True))
