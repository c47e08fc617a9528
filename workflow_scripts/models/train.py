"""Supervised fine-tuning of a base model on a mixture: TRL's SFTTrainer, LoRA (merged at the end) or full, loss on answers.

Killed at any moment, the same command goes on from the last complete checkpoint and ends with the same weights, bit for bit
(same machine, same number of threads). The result is a plain Hugging Face folder, with `training.jsonl` (one line a step).

    python -m workflow_scripts.models.train --model NAME --base-model FOLDER --base-manifest FILE --mixture FILE.parquet \
        --settings JSON --work FOLDER --output FOLDER --manifest FILE --ledger FILE.csv
"""

import argparse
import hashlib
import importlib.metadata
import os
import random
import shutil
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..common import chat, cli, files, ledger
from . import checkpoints, folder

WINDOW = 16  # batches whose rows are sorted by length together
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
MEASURES = ("rows", "tokens", "completion_tokens", "rows_truncated", "rows_dropped")
Row = tuple[array, int]  # token ids of prompt and completion; length of the prompt


def encode(tokenizer: Any, mixture: Path, max_length: int, model: str) -> tuple[list[Row], list[ledger.Fact]]:
    """Tokenise a mixture in its order, cut rows to `max_length` tokens, and account for every language in it.

    `rows` counts what the mixture holds; `rows_dropped` those whose whole completion lies beyond the cut (not trained on);
    `rows_truncated` those that lose only part of it; `tokens` and `completion_tokens` what is trained on in one epoch.
    """
    import polars

    rows: list[Row] = []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for batch in polars.read_parquet(mixture, columns=["language", "messages"]).iter_slices(1000):
        for language, messages in batch.iter_rows():
            count = counts[language]
            prompt, completion = chat.encode_example(tokenizer, messages)
            ids = array("i", (prompt + completion)[:max_length])
            kept = max(0, len(ids) - len(prompt))
            count["rows"] += 1
            if not kept:
                count["rows_dropped"] += 1
                continue
            count["rows_truncated"] += kept < len(completion)
            count["tokens"] += len(ids)
            count["completion_tokens"] += kept
            rows.append((ids, len(prompt)))
    if not rows:
        raise cli.UserError(f"{mixture}: no row has an answer within max_length={max_length} tokens. Raise max_length.")
    facts = [ledger.Fact("models", code, model, name, counts[code][name]) for code in sorted(counts) for name in MEASURES]
    return rows, facts


def by_length(rows: Sequence[Row], batch_size: int, seed: int) -> list[Row]:
    """Put rows of similar length into the same batch, to save padding, without moving any far from its place in the mixture.

    Rows are sorted inside windows of 16 batches; the batches of a window are then shuffled, so that length is no curriculum.
    """
    rng, size, ordered = random.Random(seed), WINDOW * batch_size, []
    for start in range(0, len(rows), size):
        window = sorted(rows[start : start + size], key=lambda row: len(row[0]))
        batches = [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
        short = [batches.pop()] if len(batches[-1]) < batch_size else []  # must stay last, or it would shift all after it
        rng.shuffle(batches)
        ordered += [row for batch in batches + short for row in batch]
    return ordered


def run_key(settings: dict[str, Any], base: str, rows: Sequence[Row]) -> str:
    """What a checkpoint belongs to: settings, base model, the very tokens in training order, and the libraries' versions."""
    data = hashlib.sha256()
    for ids, prompt in rows:
        data.update(array("i", [len(ids), prompt]).tobytes() + ids.tobytes())
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "peft", "accelerate")}
    return files.sha256_json({"settings": settings, "base": base, "data": data.hexdigest(), "versions": versions})


@contextmanager
def answers_only(device: str) -> Iterator[None]:
    """On a CPU, let TRL's fused loss score the answer's positions only, as it does on a GPU; the loss stays the same.

    TRL 1.16 scores prompts and padding too wherever Triton is missing, to keep shapes constant for devices that compile. The
    switch is a private name, so a TRL without it trains at its own speed.
    """
    import trl.trainer.utils as utils

    usual = getattr(utils, "_use_triton", None)
    if device != "cpu" or usual is None:
        if device == "cpu":
            print(
                "this TRL has no switch to skip prompts in the loss on a CPU: training takes about 1.5 times as long.",
                file=sys.stderr,
            )
        yield
        return
    # The kernels' own module keeps its name, so they still run as torch operations.
    utils._use_triton = lambda device: True  # noqa: ARG005
    try:
        yield
    finally:
        utils._use_triton = usual


def choose_device(dtype: str) -> tuple[str, str]:
    """The device, and the dtype to compute in: "auto" is bfloat16 where a GPU supports it, else float32."""
    import torch

    if torch.cuda.device_count() > 1:
        raise cli.UserError("training runs on one GPU, but several are visible. Ask for one, or set CUDA_VISIBLE_DEVICES=0.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return device, dtype


def make_trainer(base: Path, tokenizer: Any, rows: Sequence[Row], settings: dict[str, Any], run: Path) -> Any:
    """SFTTrainer over rows that are already tokenised, cut and in training order."""
    import datasets
    import numpy
    import peft
    import torch
    import transformers
    import trl

    device, dtype = choose_device(settings["dtype"])
    lora = settings["method"] == "lora"
    # Frozen weights may be short; weights that are trained stay float32 (updates would vanish in bfloat16's 8 bits).
    weights = torch.bfloat16 if lora and dtype == "bfloat16" else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=weights, use_safetensors=True)
    adapter = peft.LoraConfig(
        r=settings["rank"],
        lora_alpha=settings.get("alpha", 2 * settings["rank"]),
        target_modules="all-linear",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    data = {
        "input_ids": [numpy.asarray(ids) for ids, _ in rows],
        "completion_mask": [(numpy.arange(len(ids)) >= prompt).astype(numpy.int8) for ids, prompt in rows],
    }
    arguments = trl.SFTConfig(
        output_dir=str(run),
        completion_only_loss=True,
        max_length=settings["max_length"],
        packing=settings["packing"],
        # Packing orders its blocks by length, so they are drawn at random (seeded); otherwise the order is that of `rows`.
        train_sampling_strategy="random" if settings["packing"] else "sequential",
        per_device_train_batch_size=settings["batch_size"],
        gradient_accumulation_steps=settings["gradient_accumulation"],
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type=SCHEDULES[settings["schedule"]],
        warmup_steps=settings["warmup_ratio"],  # below 1 it is a share of all steps
        weight_decay=settings["weight_decay"],
        seed=settings["seed"],
        bf16=dtype == "bfloat16",
        use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
        gradient_checkpointing=settings["gradient_checkpointing"],
        save_steps=settings["save_steps"],
        save_total_limit=checkpoints.KEEP,
        logging_steps=1,  # any other number would lose the loss between two logs when a run is resumed
        include_num_input_tokens_seen="non_padding",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = trl.SFTTrainer(
        model,
        arguments,
        train_dataset=datasets.Dataset.from_dict(data),
        processing_class=tokenizer,
        peft_config=adapter if lora else None,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def save(trainer: Any, base: Path, tokenizer: Any, target: Path) -> None:
    """Write the trained model as a plain Hugging Face folder, with training.jsonl in it (no times: same inputs, same bytes)."""
    import torch
    import transformers

    model = trainer.model.merge_and_unload() if hasattr(trainer.model, "merge_and_unload") else trainer.model
    if trainer.args.bf16:
        model = model.to(torch.bfloat16)
    model.config.use_cache = True  # the trainer switches it off
    model.generation_config = transformers.GenerationConfig.from_pretrained(base)  # the trainer may have changed where to stop
    model.save_pretrained(target)
    for name in tokenizer.save_pretrained(target):  # the base's own files where there are any: the tokenizer has not changed
        if (own := base / Path(name).name).is_file():
            shutil.copyfile(own, name)
    names = {"step": "step", "loss": "loss", "learning_rate": "learning_rate", "tokens": "num_input_tokens_seen"}
    steps = [line for line in trainer.state.log_history if "loss" in line]
    files.write_jsonl(target / "training.jsonl", ({name: line[key] for name, key in names.items()} for line in steps))


def corpora(mixture: Path) -> str:
    """One sentence for NOTICE: the corpora in a mixture, each with its licence."""
    import polars

    pairs = polars.scan_parquet(mixture).select("corpus", "licence").unique().sort("corpus", "licence").collect().iter_rows()
    return f"Fine-tuned on text of: {'; '.join(f'{corpus} ({licence})' for corpus, licence in pairs)}."


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name of the model in the config")
    parser.add_argument("--base-model", type=Path, required=True)
    parser.add_argument("--base-manifest", type=Path, required=True)
    parser.add_argument("--mixture", type=Path, required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="the model's `sft`")
    parser.add_argument("--work", type=Path, required=True, help="where checkpoints live; never an output of a rule")
    parser.add_argument("--output", type=Path, required=True, help="the model's folder")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    args = parser.parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is local; compute nodes often have no network

    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    settings, base = args.settings, files.read_json(args.base_manifest)
    folder.check(args.base_model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.base_model)
    rows, facts = encode(tokenizer, args.mixture, settings["max_length"], args.model)
    ledger.write(args.ledger, facts)
    if not settings["packing"]:
        rows = by_length(rows, settings["batch_size"], settings["seed"])
    with checkpoints.alone(args.work):
        key = run_key(settings, base["fingerprint"], rows)
        checkpoints.remove_others(args.work, key)
        run = args.work / key
        trainer = make_trainer(args.base_model, tokenizer, rows, settings, run)
        with answers_only(trainer.args.device.type):
            checkpoints.fit(trainer, run)
        args.manifest.unlink(missing_ok=True)
        with files.whole_folder(args.output) as target:
            save(trainer, args.base_model, tokenizer, target)
            folder.carry_terms(args.base_model, target)
        folder.finish(
            args.output,
            args.manifest,
            model=args.model,
            kind="trained",
            base=base["model"],
            settings=settings | {"languages": sorted({fact.language for fact in facts})},
            licence=base["licence"],
            licence_note=base["licence_note"],
            notices=[corpora(args.mixture)],
        )
        shutil.rmtree(run)


if __name__ == "__main__":
    cli.run(main)
