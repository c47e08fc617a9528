"""Fine-tuning: what is learnt, and that a killed run ends with the very weights of one that was left alone."""

import hashlib
import importlib.metadata
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import polars
import pytest
import torch
import transformers

from tests import tiny_model
from workflow_scripts.common import chat, cli, files, ledger
from workflow_scripts.mixtures import mix
from workflow_scripts.models import checkpoints, launch, tokens, train

SETTINGS: dict[str, Any] = {
    "method": "lora",
    "rank": 4,
    "alpha": 8,
    "learning_rate": 5e-3,
    "schedule": "cosine",
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "batch_size": 4,
    "gradient_accumulation": 1,
    "epochs": 1,
    "max_length": 96,
    "save_steps": 4,
    "seed": 7,
    "dtype": "auto",
    "packing": False,
    "gradient_checkpointing": False,
}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)  # a training that has ended leaves it ignored


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model with its manifest beside it."""
    folder = tmp_path_factory.mktemp("base")
    tiny_model.make(folder / "model")
    manifest = {"model": "tiny", "kind": "given", "fingerprint": "0" * 64, "licence": "Apache-2.0", "licence_note": "made up"}
    files.write_json(folder / "manifest.json", manifest)
    return folder


def row(language: str, words: int, answer: str) -> dict[str, Any]:
    text = f"Translate from English to German.\nEnglish: The cat{' sits' * words}.\nGerman:"
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return {"language": language, "target_language": language, "messages": messages, "corpus": f"cats-{language[:3]}", "licence": "CC0-1.0"}


def mixture(path: Path, rows: int = 160) -> Path:
    polars.DataFrame(
        [row(("deu_Latn", "rus_Cyrl")[i % 2], i % 9, f"Die Katze sitzt {'auf der Matte ' * (i % 3)}{i}.") for i in range(rows)]
    ).write_parquet(path)
    return path


def test_a_mixture_opens_unchanged_in_trl(base: Path, tmp_path: Path) -> None:
    import datasets
    import trl

    folder = tmp_path / "instructions"
    rows = [row("deu_Latn", i, f"Antwort {i}.") | {"id": f"{i}", "template": "t"} for i in range(3)]
    codes = {"kind": "translation", "source_language": "eng_Latn", "target_language": "deu_Latn"}
    columns = ["id", *codes, "language", "messages", "corpus", "licence", "template"]
    folder.mkdir()
    polars.DataFrame([one | codes for one in rows]).select(columns).write_parquet(folder / "deu_Latn.parquet")
    settings = {"examples": 3, "shares": {"cross-lingual": 1}, "temperature": 1, "cap": 9, "repeats": 1, "corpus_caps": {}, "seed": 1}
    mix.mix([folder / "deu_Latn.parquet"], "m", settings, tmp_path / "m.parquet")
    data = datasets.load_dataset("parquet", data_files=str(tmp_path / "m.parquet"), split="train", cache_dir=str(tmp_path))
    arguments = trl.SFTConfig(output_dir=str(tmp_path), max_length=512, use_cpu=True, report_to=[])
    ready = trl.SFTTrainer(str(base / "model"), arguments, train_dataset=data).train_dataset
    tokenizer = transformers.AutoTokenizer.from_pretrained(base / "model")
    for ids, one in zip(ready["input_ids"], data, strict=True):
        assert tokenizer.decode(ids) == tokenizer.apply_chat_template(one["messages"], tokenize=False)


def command(base: Path, data: Path, place: Path, **settings: Any) -> list[str]:
    values = {
        "model": "lifted",
        "base-model": base / "model",
        "base-manifest": base / "manifest.json",
        "mixture": data,
        "settings": json.dumps(SETTINGS | settings),
        "work": place / "work",
        "output": place / "model",
        "manifest": place / "manifest.json",
        "ledger": place / "ledger.csv",
    }
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def weights(place: Path) -> bytes:
    return (place / "model/model.safetensors").read_bytes()


def load_tokenizer(base: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(base / "model")


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbs."""
    place = tmp_path_factory.mktemp("whole")
    train.main(command(base, mixture(place / "mixture.parquet"), place))
    return place


def test_the_loss_is_on_answers_only(base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    data = mixture(tmp_path / "mixture.parquet", rows=8)
    rows, _ = train.encode(tokenizer, data, 96, "lifted")
    messages = polars.read_parquet(data)["messages"].to_list()
    trainer = train.make_trainer(base / "model", tokenizer, rows, SETTINGS, tmp_path / "run")
    seen = 0
    for batch in trainer.get_train_dataloader():
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            prompt, answer = chat.encode_example(tokenizer, messages[seen])
            real = int(mask.sum())
            assert ids[:real].tolist() == prompt + answer
            assert labels[:real].tolist() == [-100] * len(prompt) + answer
            assert labels[real:].tolist() == [-100] * (len(labels) - real)
            assert ids.tolist().count(tokenizer.bos_token_id) == 1
            assert answer[-1] == tokenizer.eos_token_id
            seen += 1
    assert seen == 8


def conversations(path: Path) -> Path:
    """Rows of one, two and three answers, behind labels that the tiny tokenizer makes no token of together with an answer."""
    given = []
    for number in range(8):
        turns = ["The cat：", "Die Katze.", f"The mat {number}：", "Die Matte." * (1 + number % 3), "Russian：", "Кошка."]
        messages = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns[: 2 + 2 * (number % 3)])]
        given.append(row("deu_Latn", 1, "") | {"messages": messages})
    polars.DataFrame(given).write_parquet(path)
    return path


def learnt_by_hand(tokenizer: Any, messages: chat.Messages, answers: str) -> tuple[list[int], list[int]]:
    """Tokens and labels of a row by the plain chat template, whose end mark no token crosses."""
    ids, labels = [tokenizer.bos_token_id], [-100]
    for number, turn in enumerate(messages):
        text = ("\n" * (number > 0) if turn["role"] == "user" else " ") + turn["content"]
        found = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] * (turn["role"] == "assistant")
        learnt = turn["role"] == "assistant" and (answers == "all" or number == len(messages) - 1)
        ids += found
        labels += found if learnt else [-100] * len(found)
    return ids, labels


@pytest.mark.parametrize("answers", ["all", "last"])
@pytest.mark.parametrize("packing", [False, True])
def test_the_loss_of_a_conversation_is_on_its_answers(base: Path, tmp_path: Path, answers: str, packing: bool) -> None:
    """Beside a loss computed here, row by row, from the model's own probabilities."""
    import datasets

    tokenizer = load_tokenizer(base)
    data = conversations(tmp_path / "mixture.parquet")
    by_hand = [learnt_by_hand(tokenizer, messages, answers) for messages in polars.read_parquet(data)["messages"].to_list()]
    settings = SETTINGS | {"max_length": 512, "packing": packing, "batch_size": 8 if not packing else 1}
    rows, _ = train.encode(tokenizer, data, 512, "lifted", answers)
    assert [list(ids) for ids, _ in rows] == [ids for ids, _ in by_hand]
    prepared, _ = train.in_training_order(rows, settings | {"packing": False}, 1)
    assert isinstance(prepared, datasets.Dataset) and prepared["labels"][:] == [labels for _, labels in by_hand]
    model, losses = transformers.AutoModelForCausalLM.from_pretrained(base / "model"), []
    for ids, labels in by_hand:
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        losses += [-logprobs[place - 1, token].item() for place, token in enumerate(labels) if token != -100]
    trainer = train.make_trainer(base / "model", tokenizer, rows, settings, tmp_path / "run")
    for device in ("cpu", "none"):
        with train.answers_only(device):
            batch = next(iter(trainer.get_train_dataloader()))
            assert int((batch["labels"] != -100).sum()) == len(losses)
            loss = trainer.compute_loss(trainer.model, batch).item()
        assert loss == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def test_a_cut_conversation_keeps_the_answers_before_the_cut(base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    data = conversations(tmp_path / "mixture.parquet")
    messages = polars.read_parquet(data)["messages"].to_list()[2]
    ids, labels = learnt_by_hand(tokenizer, messages, "all")
    polars.read_parquet(data)[2:3].write_parquet(data)
    for answers in ("all", "last"):
        learnt = learnt_by_hand(tokenizer, messages, answers)[1]
        for length in range(next(place for place, label in enumerate(learnt) if label != -100) + 1, len(ids) + 1):
            rows, facts = train.encode(tokenizer, data, length, "lifted", answers)
            left = max(place for place, label in enumerate(learnt[:length]) if label != -100) + 1  # nothing behind it is learnt
            prepared, _ = train.in_training_order(rows, SETTINGS, 1)
            assert (prepared["input_ids"][0], prepared["labels"][0]) == (ids[:left], learnt[:left])
            kept, whole = (sum(label != -100 for label in some) for some in (learnt[:length], learnt))
            assert [fact.value for fact in facts] == [1, left, kept, int(kept < whole), 0, 0]
    with pytest.raises(cli.UserError, match="Raise max_length"):
        train.encode(tokenizer, data, next(place for place, label in enumerate(labels) if label != -100), "lifted")


def test_rows_with_nothing_to_learn_are_counted(base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    given = [row("deu_Latn", 1, "Die Katze."), row("deu_Latn", 200, "Die Katze."), row("zul_Latn", 200, "Ikati.")]
    given.append(row("deu_Latn", 1, "Matte " * 200))
    polars.DataFrame(given).write_parquet(tmp_path / "mixture.parquet")
    rows, facts = train.encode(tokenizer, tmp_path / "mixture.parquet", 60, "lifted")
    found = {(fact.language, fact.measure): fact.value for fact in facts}
    assert [found["deu_Latn", name] for name in ("rows", "rows_truncated", "rows_dropped")] == [3, 1, 1]
    assert found["deu_Latn", "tokens"] == sum(len(ids) for ids, _ in rows)
    assert found["deu_Latn", "completion_tokens"] == sum(len(ids) - prompt for ids, (prompt,) in rows)
    assert [found["zul_Latn", name] for name in tokens.MEASURES] == [1, 0, 0, 0, 1, 0]
    polars.DataFrame(given[1:3]).write_parquet(tmp_path / "mixture.parquet")
    with pytest.raises(cli.UserError, match="Raise max_length"):
        train.encode(tokenizer, tmp_path / "mixture.parquet", 60, "lifted")


def test_order_saves_padding_and_loses_nothing() -> None:
    rows = [(train.array("i", [i] * (1 + i * 37 % 50)), (0,)) for i in range(203)]
    ordered = train.by_length(rows, 4, 0)
    assert sorted(row[0][0] for row in ordered) == list(range(203))
    assert ordered == train.by_length(rows, 4, 0)
    assert {row[0][0] for row in ordered[:64]} == set(range(64))  # a window stays in its place

    def slots(rows: list[train.Row]) -> int:
        return sum(4 * max(len(row[0]) for row in rows[i : i + 4]) for i in range(0, len(rows), 4))

    assert slots(ordered) < 0.8 * slots(rows)


@pytest.mark.parametrize("packing", [False, True])
def test_skipping_prompts_in_the_loss_changes_no_loss(base: Path, tmp_path: Path, packing: bool) -> None:
    import trl.trainer.utils as utils

    assert hasattr(utils, "_use_triton"), "this TRL has no such switch: remove it from train.py"
    tokenizer = load_tokenizer(base)
    rows, _ = train.encode(tokenizer, mixture(tmp_path / "mixture.parquet", rows=8), 96, "lifted")
    trainer = train.make_trainer(base / "model", tokenizer, rows, SETTINGS | {"packing": packing}, tmp_path / "run")
    results = []
    for device in ("cpu", "none"):
        with train.answers_only(device):
            assert utils._use_triton(torch.device("cpu")) == (device == "cpu")
            batch = next(iter(trainer.get_train_dataloader()))
            loss = trainer.compute_loss(trainer.model, batch)
            trainer.model.zero_grad()
            loss.backward()
            gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        results.append((loss.item(), gradient))
    (loss, gradient), (usual_loss, usual_gradient) = results
    assert loss == pytest.approx(usual_loss, abs=1e-6)
    assert gradient.abs().max() > 0
    torch.testing.assert_close(gradient, usual_gradient, atol=1e-6, rtol=1e-4)
    assert not utils._use_triton(torch.device("cpu"))


@pytest.mark.parametrize("changes", [{}, {"method": "full", "learning_rate": 1e-3, "packing": True, "gradient_accumulation": 2}])
def test_training_lowers_the_loss_and_leaves_a_plain_model(base: Path, whole: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    place = tmp_path if changes else whole
    if changes:
        train.main(command(base, mixture(place / "mixture.parquet"), place, **changes))
    model = transformers.AutoModelForCausalLM.from_pretrained(place / "model", use_safetensors=True)
    before = transformers.AutoModelForCausalLM.from_pretrained(base / "model")
    tokenizer = load_tokenizer(base)
    prompt, answer = chat.encode_example(tokenizer, row("deu_Latn", 3, "Die Katze sitzt auf der Matte 3.")["messages"])
    ids = torch.tensor([prompt + answer])
    labels = torch.tensor([[-100] * len(prompt) + answer])
    assert model(input_ids=ids, labels=labels).loss < before(input_ids=ids, labels=labels).loss - 0.1
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    changed = [name for name, value in before.state_dict().items() if not torch.equal(value, model.state_dict()[name])]
    assert any("layers" in name for name in changed)
    assert ("model.embed_tokens.weight" in changed) == bool(changes)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "config.json"):
        assert (place / "model" / name).read_bytes() == (base / "model" / name).read_bytes(), name
    log = files.read_jsonl(place / "model/training.jsonl")
    assert [line["step"] for line in log] == list(range(1, len(log) + 1))
    assert set(log[0]) == {"step", "loss", "learning_rate", "tokens"}
    trained = {fact.language: fact.value for fact in ledger.read(place / "ledger.csv") if fact.measure == "tokens"}
    assert log[-1]["tokens"] == sum(trained.values())
    assert set(trained) == {"deu_Latn", "rus_Cyrl"}
    manifest = files.read_json(place / "manifest.json")
    assert (manifest["kind"], manifest["model"], manifest["base"]) == ("trained", "lifted", "tiny")
    assert manifest["files"]["training.jsonl"] == files.sha256_file(place / "model/training.jsonl")
    assert "cats-deu (CC0-1.0); cats-rus (CC0-1.0)" in (place / "model/NOTICE").read_text(encoding="utf-8")
    assert not list((place / "work").glob("*/checkpoint-*"))


KILLED = """
import os, signal, sys
from workflow_scripts.models import checkpoints, train
mark, left = checkpoints.mark, int(sys.argv[1])
def mark_and_die(checkpoint):
    global left
    mark(checkpoint)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.mark = mark_and_die
train.main(sys.argv[2:])
"""


def kill_after(marks: int, arguments: list[str]) -> None:
    """Train in a process of its own, which gets SIGKILL once that many checkpoints are complete."""
    program = [sys.executable, "-c", KILLED, str(marks), *arguments]
    ended = subprocess.run(program, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_a_finished_training_is_not_lost_with_its_outputs(base: Path, whole: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Snakemake deletes the outputs of a job that ended badly, also where the model was whole already."""
    shutil.copytree(whole / "work", tmp_path / "work")
    arguments = command(base, whole / "mixture.parquet", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(train, "make_trainer", None)  # nothing is trained
        train.main(arguments)
    for name in ("model/model.safetensors", "model/training.jsonl", "model/README.md", "model/NOTICE", "ledger.csv", "manifest.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name
    finished = next((tmp_path / "work").glob(f"*/{checkpoints.FINISHED}/model.safetensors"))
    assert finished.samefile(tmp_path / "model/model.safetensors"), "the disk would hold the model twice"
    os.truncate(finished, finished.stat().st_size // 2)
    train.main(arguments)  # an altered one does not count
    assert weights(tmp_path) == weights(whole)


def test_a_killed_run_ends_with_the_same_weights(base: Path, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = command(base, whole / "mixture.parquet", tmp_path)
    kill_after(2, arguments)
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "manifest.json").exists()
    shutil.copytree(tmp_path / "work", tmp_path / "copy")
    for damage in (False, True):
        if damage:  # the newest checkpoint is half written, as after a kill in the middle of a save
            shutil.rmtree(tmp_path / "work")
            shutil.copytree(tmp_path / "copy", tmp_path / "work")
        steps = sorted(int(path.parent.name.split("-")[1]) for path in (tmp_path / "work").glob(f"*/*/{checkpoints.MARK}"))
        if damage:
            optimizer = next((tmp_path / "work").glob(f"*/checkpoint-{steps[-1]}/optimizer.pt"))
            os.truncate(optimizer, optimizer.stat().st_size // 2)
        train.main(arguments)
        said = capfd.readouterr().err
        assert f"continuing from checkpoint-{steps[-2 if damage else -1]}." in said
        assert (f"checkpoint-{steps[-1]} is incomplete or altered: deleted" in said) == damage
        assert weights(tmp_path) == weights(whole)
        for name in ("model/training.jsonl", "ledger.csv", "manifest.json"):
            assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name


def test_sigterm_saves_and_stops(
    base: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = command(base, whole / "mixture.parquet", tmp_path)
    mark = checkpoints.mark

    def mark_and_terminate(checkpoint: Path) -> None:
        mark(checkpoint)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "mark", mark_and_terminate)
        with pytest.raises(checkpoints.Stopped, match="stopped by SIGTERM after step 5 of 40; a checkpoint is saved"):
            train.main(arguments)
        os.kill(os.getpid(), signal.SIGTERM)  # a second one changes nothing
    assert not (tmp_path / "model").exists()
    capfd.readouterr()
    train.main(arguments)
    assert "continuing from checkpoint-5." in capfd.readouterr().err
    assert weights(tmp_path) == weights(whole)


def test_a_finished_run_that_was_not_saved_trains_nothing_anew(base: Path, whole: Path, tmp_path: Path) -> None:
    arguments = command(base, whole / "mixture.parquet", tmp_path)
    (tmp_path / "model").write_text("in the way of the finished model")
    with pytest.raises(NotADirectoryError):
        train.main(arguments)
    (tmp_path / "model").unlink()
    train.main(arguments)
    assert weights(tmp_path) == weights(whole)


def test_other_settings_do_not_resume(base: Path, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "work" / ("a" * 64) / "checkpoint-4").mkdir(parents=True)
    (tmp_path / "work" / "mine").mkdir()
    arguments = command(base, whole / "mixture.parquet", tmp_path)
    train.main(arguments)
    said = capfd.readouterr().err
    assert "other settings or data" in said
    assert "continuing" not in said
    names = {path.name for path in (tmp_path / "work").iterdir()}
    assert {"lock", "mine"} < names and len(names) == 3 and "a" * 64 not in names
    assert weights(tmp_path) == weights(whole)  # and so the same inputs give the same bytes
    assert (tmp_path / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()


def test_the_launcher_starts_one_process_and_ends_as_it_ends(base: Path, whole: Path, tmp_path: Path) -> None:
    arguments = command(base, whole / "mixture.parquet", tmp_path)
    program = [sys.executable, "-m", "workflow_scripts.models.launch", "--nodes", "1", "--gpus", "1", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"} | {"OMP_NUM_THREADS": "1"}
    log = tmp_path / "log"
    with log.open("w") as file, subprocess.Popen(program, cwd=ROOT, env=environment, stderr=file) as process:
        while not list((tmp_path / "work").glob(f"*/checkpoint-4/{checkpoints.MARK}")):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.01)
        process.terminate()
        assert process.wait() == checkpoints.EXIT_STOPPED == 75
    assert "error: stopped by SIGTERM after step" in log.read_text(encoding="utf-8")
    assert not (tmp_path / "model").exists()
    train.main(arguments)
    assert weights(tmp_path) == weights(whole)
    (base / "manifest.json").rename(tmp_path / "away")
    try:
        assert subprocess.run(program, cwd=ROOT, env=environment, capture_output=True).returncode == 1
    finally:
        (tmp_path / "away").rename(base / "manifest.json")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("gpus", [1, 2])
def test_a_job_that_was_given_gpus_and_sees_none_does_not_train(base: Path, whole: Path, tmp_path: Path, gpus: int) -> None:
    arguments = command(base, whole / "mixture.parquet", tmp_path, epochs=0.1)
    program = [sys.executable, "-m", "workflow_scripts.models.launch", "--nodes", "1", "--gpus", str(gpus), *arguments]
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "CUDA", "PIVOTLIFT"))}
    usual |= {"OMP_NUM_THREADS": "1"}
    for given in ({"CUDA_VISIBLE_DEVICES": "0,1"}, {"SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_GPUS": "0,1"}):
        ended = subprocess.run(program, cwd=ROOT, env=usual | given, capture_output=True, text=True)
        assert ended.returncode == 1 and "Traceback" not in ended.stderr
        for word in ("error: this job was given GPUs", "PyTorch sees none", "nvidia-smi", torch.__version__, "--gres", "PIVOTLIFT_CPU=1"):
            assert word in ended.stderr
        assert not (tmp_path / "work").exists()
    if gpus == 1:
        for told in ({"CUDA_VISIBLE_DEVICES": "0", "PIVOTLIFT_CPU": "1"}, {"CUDA_VISIBLE_DEVICES": ""}):
            assert subprocess.run(program, cwd=ROOT, env=usual | told).returncode == 0


def test_the_card_names_what_the_hub_knows(base: Path, tmp_path: Path) -> None:
    """The nearest given ancestor, through models that were made from it here, and corpora that the hub has."""
    import yaml

    manifest = files.read_json(base / "manifest.json") | {"settings": {"hub": "google/gemma-3-270m", "revision": "a"}}
    (tmp_path / "base").mkdir()
    (tmp_path / "base/model").symlink_to(base / "model")
    files.write_json(tmp_path / "base/manifest.json", manifest)
    data = mixture(tmp_path / "mixture.parquet", 4)
    named = polars.when(polars.int_range(polars.len()) % 2 == 0).then(polars.lit("nllb-seed")).otherwise("corpus").alias("corpus")
    polars.read_parquet(data).with_columns(named).write_parquet(data)
    train.main(command(tmp_path / "base", data, tmp_path))
    (tmp_path / "again").mkdir()
    train.main(command(tmp_path, data, tmp_path / "again"))
    for place in (tmp_path, tmp_path / "again"):
        front = yaml.safe_load((place / "model/README.md").read_text(encoding="utf-8").split("---")[1])
        assert front["base_model"] == "google/gemma-3-270m"
        assert front["datasets"] == ["openlanguagedata/oldi_seed"]
        assert files.read_json(place / "manifest.json")["hub"] == "google/gemma-3-270m"


def test_several_nodes_need_a_slurm_job(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(cli.UserError, match="only inside a Slurm job of 2 nodes"):
        launch.main(["--nodes", "2", "--gpus", "1", *command(base, tmp_path / "mixture.parquet", tmp_path)])


def test_rows_of_a_step_are_shared_evenly_or_not_at_all(base: Path, tmp_path: Path) -> None:
    for batch, accumulation in ((8, 4), (6, 1), (1, 12), (5, 3)):
        settings = {"batch_size": batch, "gradient_accumulation": accumulation}
        works = []
        for processes in range(1, 40):
            try:
                mine, steps = train.share(settings, processes)
            except cli.UserError as error:
                message = str(error)
                continue
            works.append(processes)
            assert mine * steps * processes == batch * accumulation
            assert mine <= batch
        assert message.endswith(f"These numbers of GPUs can: {', '.join(map(str, works))}.")
    with pytest.raises(cli.UserError, match="4 rows a step, which 3 GPUs cannot share evenly"):
        launch.main(["--nodes", "1", "--gpus", "3", *command(base, tmp_path / "mixture.parquet", tmp_path)])


def test_a_process_takes_its_cpus_and_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import os, torch
from workflow_scripts.models import train
torch.set_num_threads(7)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
train.limit_threads()
print(torch.get_num_threads())
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    for more, threads in (({}, "1"), ({"OMP_NUM_THREADS": "3"}, "7")):
        found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment | more, capture_output=True, text=True)
        assert found.stdout.strip() == threads, found.stderr
    for given, seen in ((None, "0" if torch.cuda.device_count() else None), ("2,3", "2"), ("", "")):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if given is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        train.take_one_gpu()
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == seen


def test_what_a_checkpoint_belongs_to(base: Path, tmp_path: Path) -> None:
    rows, _ = train.encode(load_tokenizer(base), mixture(tmp_path / "mixture.parquet", rows=6), 96, "lifted")
    key = train.run_key(SETTINGS, "base", rows)
    assert key == train.run_key(dict(reversed(SETTINGS.items())), "base", list(rows))
    (ids, (prompt,)), *rest = rows
    others = [
        train.run_key(SETTINGS | {"learning_rate": 1e-3}, "base", rows),
        train.run_key(SETTINGS, "other", rows),
        train.run_key(SETTINGS, "base", rows[::-1]),
        train.run_key(SETTINGS, "base", [(ids, (prompt - 1,)), *rest]),
        train.run_key(SETTINGS, "base", [(ids, (1, 2, prompt)), *rest]),
        train.run_key(SETTINGS, "base", [(ids, (1, 3, prompt)), *rest]),
        train.run_key(SETTINGS, "base", [(ids[:-1], (prompt,)), *rest]),
    ]
    assert len({key, *others}) == 8


def key_of_last_answers(tokenizer: Any, path: Path) -> str:
    """The key of a training that learns the last answer of each row: of its length, that of its prompt, and its tokens."""
    data = hashlib.sha256()
    for messages in polars.read_parquet(path)["messages"].to_list():
        prompt, answer = chat.encode_example(tokenizer, messages)
        data.update(array("i", [len(prompt + answer), len(prompt), *prompt, *answer]).tobytes())
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "peft", "accelerate")}
    return files.sha256_json({"settings": SETTINGS, "base": "base", "data": data.hexdigest(), "versions": versions})


def test_where_rows_have_one_answer_the_setting_changes_no_training(base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    single, several = mixture(tmp_path / "single.parquet", rows=9), conversations(tmp_path / "several.parquet")
    keys = {}
    for path in (single, several):
        for named in ({}, {"answers": "all"}, {"answers": "last"}):
            rows, _ = train.encode(tokenizer, path, 512, "lifted", named.get("answers", "all"))
            keys[path.stem, named.get("answers")] = train.run_key(SETTINGS | named, "base", rows)
    assert {keys["single", name] for name in (None, "all", "last")} == {key_of_last_answers(tokenizer, single)}
    assert keys["several", None] == keys["several", "all"] != keys["several", "last"] == key_of_last_answers(tokenizer, several)


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    for step in (4, 8, 12):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "weights").write_bytes(b"1234")
        checkpoints.mark(folder)
    (tmp_path / "checkpoint-12" / "weights").write_bytes(b"1239")  # altered
    (tmp_path / "checkpoint-16").mkdir()  # never marked
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-8"
    (tmp_path / "checkpoint-8" / "weights").unlink()  # partly deleted
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-4"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_nothing_in_a_checkpoint_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    shards = tmp_path / "checkpoint-4" / checkpoints.SHARDS
    shards.mkdir(parents=True)
    (shards / checkpoints.INDEX).write_bytes(pickle.dumps({"weights": Hostile()}))
    with pytest.raises(RuntimeError, match="would not be read again"):
        checkpoints.mark(shards.parent)
    monkeypatch.setattr(checkpoints, "is_harmless", lambda path: True)
    checkpoints.mark(shards.parent)
    monkeypatch.undo()
    assert checkpoints.newest(tmp_path) is None
    assert "posix.mkdir has no place in an index" in capfd.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_two_processes_never_train_in_one_folder(tmp_path: Path) -> None:
    other = f"""
from pathlib import Path
from workflow_scripts.models import checkpoints
with checkpoints.alone(Path({str(tmp_path)!r})):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", other], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(cli.UserError, match="another process is training"), checkpoints.alone(tmp_path):
            pass
        process.stdin.write(b"\n")
        process.stdin.close()
        process.wait()
    with checkpoints.alone(tmp_path):
        pass
