"""Supervised fine-tuning of a base model on a mixture: TRL's SFTTrainer, LoRA (merged at the end) or full, loss on answers.

Killed at any moment, the same command goes on from the last complete checkpoint and ends with the same weights, bit for bit
(same machine, same number of processes and threads). The result is a plain Hugging Face folder, with `training.jsonl` (one line a step).

    python -m workflow_scripts.models.train --model NAME --base-model FOLDER --base-manifest FILE --mixture FILE.parquet \
        --settings JSON --work FOLDER --output FOLDER --manifest FILE --ledger FILE.csv

This is one process, with one GPU or none. `workflow_scripts.models.launch` starts as many as there are GPUs; they share weights, gradients
and optimiser state (FSDP2) and the rows of each step, so that the result is that of one process but for the order of sums.
"""

import argparse
import hashlib
import importlib.metadata
import math
import os
import random
import shutil
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from ..common import causal, cli, files, first_calls, ledger, lineage, machine, model_files
from . import checkpoints, folder, tokens

WINDOW = 16  # batches whose rows are sorted by length together
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
Row = tuple[array, tuple[int, ...]]  # token ids; where answers begin and end by turns (the last one ends with the row)


def encode(tokenizer: Any, mixture: Path, max_length: int, model: str, answers: str = "all") -> tuple[list[Row], list[ledger.Fact]]:
    """Tokenise a mixture in its order, cut rows to `max_length` tokens, and account for every language in it by `tokens.MEASURES`.

    `answers`: "all" of a conversation are learnt, or the "last" only.
    """
    rows: list[Row] = []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in tokens.read(tokenizer, mixture, answers):
        kept = row.cut(max_length)
        counts[row.language].update(tokens.count(row, kept))
        if kept:
            rows.append((array("i", chain(*kept)), tuple(accumulate(map(len, kept[:-1])))))
    if not rows:
        raise cli.UserError(f"{mixture}: no row has an answer within max_length={max_length} tokens. Raise max_length.")
    facts = [ledger.Fact("models", code, model, name, counts[code][name]) for code in sorted(counts) for name in tokens.MEASURES]
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
    """What a checkpoint belongs to: settings, base model, the very tokens in training order, and the libraries' versions.

    Which answers are learnt stands in the rows, so the setting plays no part: where there is one answer a row it changes nothing.
    """
    settings, data = {name: value for name, value in settings.items() if name != "answers"}, hashlib.sha256()
    for ids, (*earlier, last) in rows:
        # Below zero, places of earlier answers are no token ids, so rows that differ never read the same.
        data.update(array("i", [len(ids), last, *(~place for place in earlier)]).tobytes() + ids.tobytes())
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


def share(settings: dict[str, Any], processes: int) -> tuple[int, int]:
    """How the rows of a step are shared by several processes: rows a batch, and batches a step, of each.

    Raises `UserError` where they cannot be shared evenly.
    """
    batch, accumulation = settings["batch_size"], settings["gradient_accumulation"]

    def parts(processes: int) -> tuple[int, int]:
        """Into how many parts to cut the batches of a step, and each batch; whole batches first."""
        of_step = math.gcd(accumulation, processes)
        return of_step, processes // of_step

    of_step, of_batch = parts(processes)
    if batch % of_batch:
        good = [str(number) for number in range(1, batch * accumulation + 1) if batch % parts(number)[1] == 0]
        raise cli.UserError(
            f"batch_size {batch} x gradient_accumulation {accumulation} is {batch * accumulation} rows a step, which {processes} GPUs "
            f"cannot share evenly. These numbers of GPUs can: {', '.join(good)}."
        )
    return batch // of_batch, accumulation // of_step


def limit_threads() -> None:
    """Compute with as many threads as this process may use CPUs (a cluster job often has few of many), or as OMP_NUM_THREADS says."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        cpus = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(max(1, min(torch.get_num_threads(), cpus)))


def take_one_gpu() -> None:
    """See the first visible GPU only; as one of torchrun's processes, leave it to torch to take the GPU of this process's number."""
    if "LOCAL_RANK" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def choose_device(dtype: str) -> tuple[str, str]:
    """The device, and the dtype to compute in: "auto" is bfloat16 where a GPU supports it, else float32."""
    import torch

    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
    if 0 < gpus < here:
        raise cli.UserError(f"{here} processes train on this node, but {gpus} GPUs are visible. Ask for one GPU a process.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return device, dtype


def load(base: Path, settings: dict[str, Any]) -> Any:
    """The base model, in the dtype in which its weights are kept."""
    import torch
    import transformers

    # Frozen weights may be short; weights that are trained stay float32 (updates would vanish in bfloat16's 8 bits).
    short = settings["method"] == "lora" and choose_device(settings["dtype"])[1] == "bfloat16"
    dtype = torch.bfloat16 if short else torch.float32
    model, found = causal.loaded(base, dtype=dtype)
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:  # where weights are sharded, the others load none
        causal.check_loaded(base, model, found)
    # The base's own stands in the result; here it would stop every save if it does not pass transformers' checks, as Llama 2's does not.
    model.generation_config = transformers.GenerationConfig.from_model_config(model.config)
    return model


def adapter(settings: dict[str, Any]) -> Any:
    """What LoRA adds to the base model; None for full training."""
    import peft

    if settings["method"] != "lora":
        return None
    return peft.LoraConfig(
        r=settings["rank"],
        lora_alpha=settings.get("alpha", 2 * settings["rank"]),
        target_modules="all-linear",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )


def in_training_order(rows: Sequence[Row], settings: dict[str, Any], processes: int) -> tuple[Any, Callable[[int], int]]:
    """The dataset to train on from first row to last, and how many of its tokens were seen after a number of steps.

    For several processes the last step is filled up with rows of one token, from which nothing is learnt, so that all have equally much
    to do; they do not count as seen.
    """
    import datasets
    import numpy
    import trl

    arrays = [(numpy.asarray(ids), numpy.searchsorted(places, numpy.arange(len(ids)), side="right")) for ids, places in rows]
    labels = [numpy.where(part % 2 == 1, ids, -100) for ids, part in arrays]  # every second part is an answer
    data = datasets.Dataset.from_dict({"input_ids": [ids for ids, _ in arrays], "labels": labels})
    lengths = [len(ids) for ids, _ in rows]
    if settings["packing"]:
        data = trl.pack_dataset(data, settings["max_length"])
        order = list(range(len(data)))
        random.Random(settings["seed"]).shuffle(order)  # packing orders its blocks by length
        data = data.select(order)
        lengths = [sum(block) for block in data["seq_lengths"]]
    in_step = settings["batch_size"] * settings["gradient_accumulation"]
    ends = numpy.cumsum([0, *(sum(lengths[start : start + in_step]) for start in range(0, len(lengths), in_step))])
    if processes > 1 and (missing := -len(data) % in_step):
        blank = {"input_ids": [[rows[0][0][0]]] * missing, "labels": [[-100]] * missing, "seq_lengths": [[1]] * missing}
        blank = {name: blank[name] for name in data.column_names}
        data = datasets.concatenate_datasets([data, datasets.Dataset.from_dict(blank, features=data.features)])

    def tokens_after(step: int) -> int:
        epochs, rest = divmod(step, len(ends) - 1)
        return int(epochs * ends[-1] + ends[rest])

    return data, tokens_after


def make_trainer(base: Path, tokenizer: Any, rows: Sequence[Row], settings: dict[str, Any], run: Path) -> Any:
    """SFTTrainer over rows that are already tokenised, cut and in training order."""
    import accelerate
    import torch
    import transformers
    import trl

    class Trainer(trl.SFTTrainer):
        tokens_after: Callable[[int], int]

        def compute_loss_context_manager(self) -> Any:
            """Compute in bfloat16 where weights are sharded, just as accelerate has it where they are not.

            Its own way for shards casts weights and all that passes between layers, which rounds more than training on one GPU does.
            """
            stack = super().compute_loss_context_manager()
            if self.is_fsdp_enabled and self.args.bf16:
                stack.enter_context(torch.autocast(self.args.device.type, torch.bfloat16, cache_enabled=False))
            return stack

    device, dtype = choose_device(settings["dtype"])
    processes = checkpoints.place()[1]
    batch_size, accumulation = share(settings, processes)
    sharding: dict[str, Any] = {}
    if processes > 1:
        sharding = {
            "fsdp": True,
            "fsdp_config": {
                "state_dict_type": "SHARDED_STATE_DICT",  # each process saves its own shard
                "cpu_ram_efficient_loading": True,  # one process a node reads the base model
            },
            "accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}},  # keeps gradients sharded
            "ddp_backend": "gloo" if device == "cpu" else "nccl",
        }
    data, tokens_after = in_training_order(rows, settings, processes)
    arguments = trl.SFTConfig(
        output_dir=str(run),
        max_length=settings["max_length"],
        packing=settings["packing"],
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
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
        report_to=[],
        disable_tqdm=True,
        **sharding,
    )
    if sharding:
        accelerate.utils.enable_fsdp_ram_efficient_loading()
        arguments.fsdp_plugin_args["mixed_precision_policy"] = torch.distributed.fsdp.MixedPrecisionPolicy()  # see Trainer above
    trainer = Trainer(load(base, settings), arguments, train_dataset=data, processing_class=tokenizer, peft_config=adapter(settings))
    if sharding and device == "cpu":
        # Accelerate shards on accelerators only, though FSDP2 works on a CPU as well: the same settings as it would make there.
        trainer.accelerator.state.fsdp_plugin = accelerate.utils.FullyShardedDataParallelPlugin(**arguments.fsdp_plugin_args)
        trainer.accelerator.state.distributed_type = accelerate.utils.DistributedType.FSDP
        trainer.is_fsdp_enabled = True
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.tokens_after = tokens_after
    return trainer


def whole_model(trainer: Any, base: Path, settings: dict[str, Any]) -> Any:
    """The trained model with all its weights; where they are sharded, gathered in the first process (None in the others)."""
    import peft
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    rank, processes = checkpoints.place()
    if processes == 1:
        return trainer.model
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    weights = get_model_state_dict(trainer.model, options=options)
    if rank:
        return None
    model = load(base, settings)
    if (config := adapter(settings)) is not None:
        model = peft.get_peft_model(model, config)
    strange = model.load_state_dict(weights, strict=False).unexpected_keys
    lost = {name for name, weight in model.named_parameters() if weight.requires_grad} - weights.keys()
    if strange or lost:
        raise RuntimeError(f"gathered weights do not fit the model: {sorted(strange)} {sorted(lost)}")
    return model


def save(trainer: Any, model: Any, base: Path, tokenizer: Any, target: Path) -> None:
    """Write the trained model as a plain Hugging Face folder, with training.jsonl in it (no times: same inputs, same bytes)."""
    import torch

    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    if trainer.args.bf16:
        model = model.to(torch.bfloat16)
    model.config.use_cache = True  # the trainer switches it off
    model.save_pretrained(target)
    causal.generation_config(base).to_json_file(target / "generation_config.json")
    for name in tokenizer.save_pretrained(target):  # the base's own files where there are any: the tokenizer has not changed
        if (own := base / Path(name).name).is_file():
            shutil.copyfile(own, name)
    steps = [line for line in trainer.state.log_history if "loss" in line]
    log = (
        {name: line[name] for name in ("step", "loss", "learning_rate")} | {"tokens": trainer.tokens_after(line["step"])} for line in steps
    )
    files.write_jsonl(target / "training.jsonl", log)


def corpora(sources: Sequence[lineage.Source]) -> str:
    """One sentence for NOTICE: the corpora in a mixture, each with its licence."""
    return f"Fine-tuned on text of: {'; '.join(f'{source.corpus} ({source.licence})' for source in sources)}."


def command_line() -> argparse.ArgumentParser:
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
    parser.add_argument("--gpus-given", type=int, default=0, help="GPUs that this job was given: where it sees none, that is an error")
    return parser


def main(argv: list[str] | None = None) -> None:
    args = command_line().parse_args(argv)
    rank, processes = checkpoints.place()

    import datasets
    import transformers

    limit_threads()
    first_calls.settle()
    take_one_gpu()
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    settings, base = args.settings, files.read_json(args.base_manifest)
    share(settings, processes)
    machine.check_gpus(args.gpus_given)
    model_files.check_packing(base, settings["packing"])
    folder.check(args.base_model)
    model_files.check_unchanged(args.base_model, base)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.base_model)
    rows, facts = encode(tokenizer, args.mixture, settings["max_length"], args.model, settings.get("answers", "all"))
    if rank == 0:
        ledger.write(args.ledger, facts)
    if not settings["packing"]:
        rows = by_length(rows, settings["batch_size"], settings["seed"])
    with checkpoints.alone(args.work) if rank == 0 else nullcontext():
        key = run_key(settings, base["fingerprint"], rows)
        if rank == 0:
            checkpoints.remove_others(args.work, key)
        run = args.work / key
        if not checkpoints.is_complete(run / checkpoints.FINISHED):
            trainer = make_trainer(args.base_model, tokenizer, rows, settings, run)
            with answers_only(trainer.args.device.type):
                checkpoints.fit(trainer, run)
            model = whole_model(trainer, args.base_model, settings)
            trainer.accelerator.end_training()
            if rank == 0:
                with checkpoints.finished(run) as target:
                    save(trainer, model, args.base_model, tokenizer, target)
        if rank:
            return
        args.manifest.unlink(missing_ok=True)
        with files.whole_folder(args.output) as target:
            checkpoints.link(run, target)
            folder.carry_terms(args.base_model, target)
        sources = lineage.sources(args.mixture)
        folder.finish(
            args.output,
            args.manifest,
            model=args.model,
            kind="trained",
            base=base["model"],
            settings=settings | {"languages": sorted({fact.language for fact in facts})},
            licence=base["licence"],
            licence_note=base["licence_note"],
            notices=[corpora(sources)],
            sources=sources,
            admission=base.get("admission"),
        )


def program(argv: list[str] | None = None) -> None:
    """`main`, where several processes say one thing once, and a training that was stopped has an exit status of its own."""
    try:
        main(argv)
    except checkpoints.Stopped as stopped:
        if checkpoints.place()[0] == 0:
            print(f"error: {stopped}", file=sys.stderr, flush=True)
        sys.exit(checkpoints.EXIT_STOPPED)
    except cli.UserError:
        if int(os.environ.get("LOCAL_RANK", 0)):  # the first process of this node says it
            sys.exit(1)
        raise


if __name__ == "__main__":
    cli.run(program)
