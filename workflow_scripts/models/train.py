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
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

from ..common import causal, chat, cli, files, first_calls, ledger, lineage, machine, model_files
from . import checkpoints, folder, tokens

WINDOW = 16  # batches whose rows are sorted by length together
PACKED = 1000  # rows that are packed together
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
Row = tuple[array, tuple[int, ...]]  # token ids; where answers begin and end by turns (the last one ends with the row)


class Rows(list[Row]):
    """Rows in their order; `phases` says how many are of each phase of the mixture, one after the other."""

    def __init__(self, rows: Iterable[Row] = (), phases: Sequence[int] = ()) -> None:
        super().__init__(rows)
        self.phases = list(phases) or [len(self)]


def phases_of(rows: Sequence[Row]) -> list[int]:
    return rows.phases if isinstance(rows, Rows) else [len(rows)]


def encode(
    tokenizer: Any,
    mixture: Path,
    max_length: int,
    model: str,
    answers: str = "all",
    ends: Collection[int] = (),
    asking: chat.Asking = chat.NOTHING,
) -> tuple[Rows, list[ledger.Fact]]:
    """Tokenise a mixture in its order, cut rows to `max_length` tokens, and account for every language in it by `tokens.MEASURES`.

    `answers`: "all" of a conversation are learnt, or the "last" only. `ends`: tokens at which the model stops; they
    and `asking` are those of `tokens.read`.
    """
    rows: list[Row] = []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    ends_of_phases = list(accumulate(tokens.phases(mixture)))
    phases = [0] * len(ends_of_phases)
    for place, row in enumerate(tokens.read(tokenizer, mixture, answers, ends, asking)):
        kept = row.cut(max_length)
        counts[row.language].update(tokens.count(row, kept))
        if kept:
            rows.append((array("i", chain(*kept)), tuple(accumulate(map(len, kept[:-1])))))
            phases[bisect_right(ends_of_phases, place)] += 1
    if not rows:
        raise cli.UserError(f"{mixture}: no row has an answer within max_length={max_length} tokens. Raise max_length.")
    facts = [ledger.Fact("models", code, model, name, counts[code][name]) for code in sorted(counts) for name in tokens.MEASURES]
    return Rows(rows, phases), facts


def windows(phases: Sequence[int], batch_size: int) -> Iterator[range]:
    """Places of rows that may be exchanged with each other: those of at most 16 batches, all of one phase.

    A batch that two phases share is begun by what the earlier one leaves over, and filled up by a window of its own.
    """
    start = end = 0
    for count in phases:
        end += count
        while start < end:
            size = -start % batch_size or WINDOW * batch_size
            yield range(start, min(start + size, end))
            start = min(start + size, end)


def shuffled(window: range, unit: int, rng: random.Random) -> Iterator[int]:
    """The places of a window with its units of so many in random order; a short one stays last, or it would shift all after it."""
    units = [window[start : start + unit] for start in range(0, len(window), unit)]
    short = [units.pop()] if len(units[-1]) < unit else []
    rng.shuffle(units)
    return chain.from_iterable(units + short)


def by_length(rows: Sequence[Row], batch_size: int, seed: int) -> Rows:
    """Put rows of similar length into the same batch, to save padding, without moving any far from its place in the mixture.

    Rows are sorted inside `windows`; the batches of a window are then shuffled, so that length is no curriculum.
    """
    rng, phases = random.Random(seed), phases_of(rows)
    ordered = Rows(phases=phases)
    for window in windows(phases, batch_size):
        of_window = sorted((rows[place] for place in window), key=lambda row: len(row[0]))
        ordered += [of_window[place] for place in shuffled(range(len(window)), batch_size, rng)]
    return ordered


def run_key(settings: dict[str, Any], base: str, rows: Sequence[Row]) -> str:
    """What a checkpoint belongs to: settings, base model, the very tokens in training order, and the libraries' versions.

    Which answers are learnt stands in the rows, and so does how they are asked: those settings play no part.
    """
    settings = {name: value for name, value in settings.items() if name not in ("answers", "asking")}
    data = hashlib.sha256()
    if settings["packing"] or settings["epochs"] > 1:
        settings["order"] = "windows"  # before, blocks were shuffled over the whole mixture, and all epochs were alike
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
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0" if torch.cuda.device_count() else None)
    if "LOCAL_RANK" not in os.environ and visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]


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


class Order:
    """The order of a dataset's rows in each epoch, and how many tokens were seen after a number of steps.

    The first epoch has them as they are. In later ones the units of each window (batches, or packed blocks) change places, by the seed and
    the epoch's number alone: no two epochs have the same batches in the same order, and no row moves far from its place.
    """

    def __init__(self, lengths: Sequence[int], blanks: int, where: Sequence[range], unit: int, settings: dict[str, Any]) -> None:
        """Tokens of each row; how many rows that do not count follow; what may change places, by how many; `seed`, rows a step."""
        self.lengths, self.blanks, self.windows, self.unit = lengths, blanks, where, unit
        self.seed, self.in_step = settings["seed"], settings["batch_size"] * settings["gradient_accumulation"]
        self.steps = -(-len(lengths) // self.in_step)  # of an epoch

    @lru_cache(2)  # noqa: B019 (one a training)
    def rows(self, epoch: int) -> list[int]:
        """The rows of an epoch (0, 1 ...) in their order."""
        places = list(range(len(self.lengths) + self.blanks))
        if epoch:
            rng = random.Random(f"{self.seed} epoch {epoch}")
            moved = [place for window in self.windows for place in shuffled(window, self.unit, rng)]
            places[: len(moved)] = moved
        return places

    @lru_cache(2)  # noqa: B019
    def ends(self, epoch: int) -> list[int]:
        """Tokens of an epoch that were seen after each of its steps."""
        rows, starts = self.rows(epoch)[: len(self.lengths)], range(0, len(self.lengths), self.in_step)
        return [0, *accumulate(sum(self.lengths[row] for row in rows[start : start + self.in_step]) for start in starts)]

    def tokens_after(self, step: int) -> int:
        epoch, rest = divmod(step, self.steps)
        return epoch * sum(self.lengths) + self.ends(epoch)[rest]


def packed(data: Any, phases: Sequence[int], settings: dict[str, Any]) -> tuple[Any, list[range]]:
    """Rows in blocks of at most `max_length` tokens, in training order, and the windows inside which blocks may change places.

    A window is what is packed together: 1,000 rows (TRL's own number) of one phase. Packing sorts its blocks by length, so they
    are shuffled, but no further, or a curriculum would be lost.
    """
    import datasets
    import numpy
    import trl

    rng = random.Random(settings["seed"])
    parts: list[Any] = []
    where: list[range] = []
    start = first = 0
    for count in filter(None, phases):
        rows = data.select(range(start, start + count))
        start += count
        part = trl.pack_dataset(rows, settings["max_length"], map_kwargs={"batch_size": PACKED})
        rows_until = numpy.cumsum([len(block) for block in part["seq_lengths"]])
        of_windows = [min(end, count) for end in range(PACKED, count + PACKED, PACKED)]
        last = numpy.searchsorted(rows_until, of_windows)
        if rows_until[last].tolist() != of_windows:
            raise RuntimeError(f"this TRL packs rows together that are more than {PACKED} apart")
        here = [range(begin, end) for begin, end in pairwise([0, *(last + 1).tolist()])]
        parts.append(part.select([place for window in here for place in shuffled(window, 1, rng)]))
        where += [range(first + window.start, first + window.stop) for window in here]
        first += len(part)
    return datasets.concatenate_datasets(parts), where


def in_training_order(rows: Sequence[Row], settings: dict[str, Any], processes: int) -> tuple[Any, Order]:
    """The dataset to train on from first row to last, and its order in later epochs.

    For several processes the last step is filled up with rows of one token, from which nothing is learnt, so that all have equally much
    to do; they do not count as seen.
    """
    import datasets
    import numpy

    arrays = [(numpy.asarray(ids), numpy.searchsorted(places, numpy.arange(len(ids)), side="right")) for ids, places in rows]
    labels = [numpy.where(part % 2 == 1, ids, -100) for ids, part in arrays]  # every second part is an answer
    data = datasets.Dataset.from_dict({"input_ids": [ids for ids, _ in arrays], "labels": labels})
    lengths, phases, missing = [len(ids) for ids, _ in rows], phases_of(rows), 0
    where, unit = list(windows(phases, settings["batch_size"])), settings["batch_size"]
    if settings["packing"]:
        data, where = packed(data, phases, settings)
        lengths, unit = [sum(block) for block in data["seq_lengths"]], 1
    if processes > 1 and (missing := -len(data) % (settings["batch_size"] * settings["gradient_accumulation"])):
        blank = {"input_ids": [[rows[0][0][0]]] * missing, "labels": [[-100]] * missing, "seq_lengths": [[1]] * missing}
        blank = {name: blank[name] for name in data.column_names}
        data = datasets.concatenate_datasets([data, datasets.Dataset.from_dict(blank, features=data.features)])
    return data, Order(lengths, missing, where, unit, settings)


def warmup_steps(ratio: float, steps: int) -> int:
    """Steps of a linear warm-up from 0, which the first step has as its learning rate, as everywhere in transformers and TRL.

    A training of one step has no warm-up, since it would learn nothing. (transformers would read a ratio of 1 as one step.)
    """
    return math.ceil(ratio * steps) if steps > 1 else 0


def make_trainer(base: Path, tokenizer: Any, rows: Sequence[Row], settings: dict[str, Any], run: Path) -> Any:
    """SFTTrainer over rows that are already tokenised, cut and in training order."""
    import accelerate
    import torch
    import transformers
    import trl

    class InOrder(torch.utils.data.Sampler[int]):
        """The rows of the epoch that begins, or goes on after a resume, when they are asked for."""

        def __len__(self) -> int:
            return len(data)

        def __iter__(self) -> Iterator[int]:
            return iter(order.rows(trainer.state.global_step // order.steps))

    class Trainer(trl.SFTTrainer):
        tokens_after: Callable[[int], int]

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ARG002
            return InOrder()

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.args.warmup_steps = warmup_steps(settings["warmup_ratio"], num_training_steps)
            return super().create_scheduler(num_training_steps, optimizer)

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
    data, order = in_training_order(rows, settings, processes)
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
        weight_decay=settings["weight_decay"],
        seed=settings["seed"],
        bf16=dtype == "bfloat16",
        use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
        gradient_checkpointing=settings["gradient_checkpointing"],
        save_steps=settings["save_steps"],
        save_total_limit=checkpoints.KEEP,
        logging_nan_inf_filter=False,  # it would write the last good loss in the place of one that is not finite
        logging_steps=1,  # any other number would lose the loss between two logs when a run is resumed
        report_to=[],
        disable_tqdm=True,
        **sharding,
    )
    if sharding:
        accelerate.utils.enable_fsdp_ram_efficient_loading()
        arguments.fsdp_plugin_args["mixed_precision_policy"] = torch.distributed.fsdp.MixedPrecisionPolicy()  # see Trainer above
    model = load(base, settings)
    transformers.set_seed(settings["seed"])  # LoRA's random start is made next
    trainer = Trainer(model, arguments, train_dataset=data, processing_class=tokenizer, peft_config=adapter(settings))
    if sharding and device == "cpu":
        # Accelerate shards on accelerators only, though FSDP2 works on a CPU as well: the same settings as it would make there.
        trainer.accelerator.state.fsdp_plugin = accelerate.utils.FullyShardedDataParallelPlugin(**arguments.fsdp_plugin_args)
        trainer.accelerator.state.distributed_type = accelerate.utils.DistributedType.FSDP
        trainer.is_fsdp_enabled = True
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.tokens_after = order.tokens_after
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
    if broken := checkpoints.not_finite(model.state_dict().items()):
        raise checkpoints.Diverged(
            f"the trained model is not saved: its weights are no longer finite ({', '.join(broken[:3])}{' ...' if broken[3:] else ''}). "
            f"{checkpoints.way_out(trainer.args.learning_rate, trainer.args.output_dir)}"
        )
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
    tokens.check(tokenizer, args.base_model, settings["max_length"])
    ends = causal.end_marks(tokenizer, causal.generation_config(args.base_model))
    answers, asking = settings.get("answers", "all"), settings.get("asking", {})
    rows, facts = encode(tokenizer, args.mixture, settings["max_length"], args.model, answers, ends, asking)
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
            hub=folder.hub_of(base),
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
