"""Trimming a vocabulary: exact on its texts, smaller, the same bytes twice, and it refuses what it cannot do exactly."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import tiny_model
from workflow_scripts.common import files, model_files
from workflow_scripts.common.cli import UserError
from workflow_scripts.models import folder, trim

LATIN = [text for text in tiny_model.TEXT if text.isascii()]
SETTINGS = {"languages": ["eng_Latn", "deu_Latn"], "keep_ids_below": 0}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny model that begins every text with <bos>, as Gemma's tokenizer does, and has licence files."""
    from tokenizers import processors
    from transformers import AutoTokenizer

    place = tmp_path_factory.mktemp("base")
    made = tiny_model.make(place / "model")
    tokenizer = AutoTokenizer.from_pretrained(made)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    tokenizer.save_pretrained(made)
    (made / "LICENSE").write_text("terms\n")
    folder.finish(made, place / "manifest.json", model="tiny", kind="given", base="", settings={}, licence="gemma", licence_note="Note.")
    return place


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """The Latin lines, spread over the columns a corpus and a mixture have."""
    pq.write_table(pa.table({"source": LATIN[:1], "target": LATIN[1:2], "note": ["Кошка сидит"]}), tmp_path / "pairs.parquet")
    messages = [[{"role": "user", "content": text}] for text in LATIN[2:]]
    pq.write_table(pa.table({"id": ["a"] * len(messages), "messages": messages}), tmp_path / "mixture.parquet")
    return [tmp_path / "pairs.parquet", tmp_path / "mixture.parquet"]


def cut(base: Path, texts: list[Path], place: Path, settings: dict[str, Any] = SETTINGS) -> dict[str, Any]:
    return trim.make("cut", base / "model", base / "manifest.json", texts, settings, place / "model", place / "manifest.json")


def untie(base: Path, target: Path) -> Path:
    """The same model with an output matrix of its own."""
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(base, target)
    model = AutoModelForCausalLM.from_pretrained(base / "model")
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().flip(1).clone())
    model.save_pretrained(target / "model")
    return restated(target)


def restated(place: Path) -> Path:
    """The place of a model that was changed, with a manifest that says so."""
    manifest = files.read_json(place / "manifest.json")
    files.write_json(place / "manifest.json", manifest | {"samples": model_files.samples(place / "model")})
    return place


@pytest.mark.parametrize("tied", [True, False])
def test_trimming_is_exact_and_smaller(base: Path, texts: list[Path], tmp_path: Path, tied: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = base if tied else untie(base, tmp_path / "untied")
    manifest = cut(source, texts, tmp_path)
    old, new = (AutoTokenizer.from_pretrained(place / "model") for place in (source, tmp_path))
    was, now = (AutoModelForCausalLM.from_pretrained(place / "model").eval() for place in (source, tmp_path))
    assert (now.lm_head.weight is now.model.embed_tokens.weight) is tied
    assert now.config.vocab_size == len(new) < len(old)
    assert manifest["parameters"] == was.num_parameters() - 32 * (len(old) - len(new)) * (1 if tied else 2)
    pieces = new.get_vocab()
    assert {f"<0x{byte:02X}>" for byte in range(256)} | {"<pad>", "<eos>", "<bos>", "<unk>", "К", "猫"} <= pieces.keys()
    dropped = old.get_vocab().keys() - pieces.keys()
    assert any("о" in piece for piece in dropped), "Russian words go; no text needs them"
    assert [now.config.bos_token_id, now.config.eos_token_id] == [new.bos_token_id, new.eos_token_id]
    for text in LATIN:
        before, after = old(text)["input_ids"], new(text)["input_ids"]
        assert new.convert_ids_to_tokens(after) == old.convert_ids_to_tokens(before)
        assert after[0] == new.bos_token_id
        kept = [old.get_vocab()[piece] for piece in sorted(pieces, key=pieces.__getitem__)]
        with torch.inference_mode():
            logits = was(torch.tensor([before])).logits[..., kept], now(torch.tensor([after])).logits
        assert torch.allclose(*logits, atol=1e-5)
    russian = tiny_model.TEXT[4]
    assert new.decode(new(russian)["input_ids"], skip_special_tokens=True) == russian, "still readable, in smaller pieces"


def test_folder_is_complete_and_names_its_base(base: Path, texts: list[Path], tmp_path: Path) -> None:
    manifest = cut(base, texts, tmp_path)
    assert (manifest["kind"], manifest["base"], manifest["licence"]) == ("trimmed", "tiny", "gemma")
    assert {"LICENSE", "NOTICE", "README.md", "chat_template.jinja", "tokenizer_config.json"} <= manifest["files"].keys()
    assert (tmp_path / "model/NOTICE").read_text() == f"Note.\n{folder.MODIFIED}\n"
    assert manifest["fingerprint"] != files.read_json(base / "manifest.json")["fingerprint"]


def test_two_runs_give_the_same_bytes(base: Path, texts: list[Path], tmp_path: Path) -> None:
    first = cut(base, texts, tmp_path / "a")
    assert cut(base, texts[::-1], tmp_path / "b") == first, "neither time nor the order of the files matters"


def test_frequent_pieces_stay(base: Path, texts: list[Path], tmp_path: Path) -> None:
    everything = cut(base, texts, tmp_path, SETTINGS | {"keep_ids_below": 10_000})
    assert everything["parameters"] == files.read_json(base / "manifest.json")["parameters"]


def test_the_step_proves_itself(base: Path, texts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # without the intermediate pieces the merges cannot be made
        patch.setattr(trim, "intermediates", lambda *_: set())
        with pytest.raises(UserError, match="tokenises differently"):
            cut(base, texts, tmp_path / "results")
    real = trim.slice_embeddings
    monkeypatch.setattr(trim, "slice_embeddings", lambda model, keep: real(model, keep[::-1]))
    with pytest.raises(UserError, match="logits changed"):
        cut(base, texts, tmp_path / "results")
    assert not list((tmp_path / "results").glob("**/*"))


def test_what_cannot_be_trimmed_is_refused(base: Path, texts: list[Path], tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    pq.write_table(pa.table({"words": ["x"]}), tmp_path / "odd.parquet")
    with pytest.raises(UserError, match="has no column source, target, text or messages"):
        cut(base, [tmp_path / "odd.parquet"], tmp_path)
    pq.write_table(pa.table({"text": ["", None]}), tmp_path / "empty.parquet")
    with pytest.raises(UserError, match="texts to trim by are empty"):
        cut(base, [tmp_path / "empty.parquet"], tmp_path)
    other = shutil.copytree(base, tmp_path / "other")
    pieces = files.read_json(base / "model/tokenizer.json")["model"]["vocab"]
    unigram = Tokenizer(models.Unigram([(piece, 0.0) for piece in sorted(pieces, key=pieces.get)], unk_id=3, byte_fallback=True))
    unigram.save(str(other / "model/tokenizer.json"))
    with pytest.raises(UserError, match="has a Unigram tokenizer; only byte-pair"):
        cut(restated(other), texts, tmp_path)


def test_ids_are_renumbered_wherever_a_tokenizer_names_them() -> None:
    new_id = {0: 0, 5: 1, 7: 2}
    tokenizer = {
        "added_tokens": [{"id": 7, "content": "<s>"}, {"id": 9, "content": "<no row>"}],
        "padding": {"pad_id": 5, "pad_token": "<s>"},
        "post_processor": {"processors": [{"type": "RobertaProcessing", "sep": ["<s>", 7], "cls": ["a", 5]}, {"ids": [5, 7]}]},
        "model": {"vocab": {"a": 0, "b": 5, "c": 6}, "merges": ["a b", "b c"]},
    }
    trimmed = trim.trim_tokenizer(tokenizer, new_id)
    assert trimmed["added_tokens"] == [{"id": 2, "content": "<s>"}]
    assert trimmed["padding"]["pad_id"] == 1
    assert trimmed["post_processor"]["processors"] == [
        {"type": "RobertaProcessing", "sep": ["<s>", 2], "cls": ["a", 1]},
        {"ids": [1, 2]},
    ]
    assert trimmed["model"] == {"vocab": {"a": 0, "b": 1}, "merges": []}
    config = {"added_tokens_decoder": {"7": {"content": "<s>"}, "9": {"content": "<no row>"}}, "tokenizer_class": "Odd"}
    assert trim.trim_tokenizer_config(config, new_id) == {
        "added_tokens_decoder": {"2": {"content": "<s>"}},
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def test_command_line(base: Path, texts: list[Path], tmp_path: Path) -> None:
    arguments = ["--model", "cut", "--base-model", str(base / "model"), "--base-manifest", str(base / "manifest.json")]
    arguments += ["--texts", *map(str, texts), "--settings", json.dumps(SETTINGS)]
    trim.main([*arguments, "--output", str(tmp_path / "out/model"), "--manifest", str(tmp_path / "out/manifest.json")])
    assert files.read_json(tmp_path / "out/manifest.json")["settings"] == SETTINGS
