"""Training that survives a kill, by checkpoints that are complete and unaltered, or do not count.

They live in `<work>/<fingerprint>/checkpoint-<step>/`, which no rule declares as output, so that Snakemake never deletes them.
A checkpoint is complete once `complete.json` stands in it, written last, with the size and SHA-256 of every other file.

A training may be several processes, each with its shard of weights and optimiser state. Then each writes its own files, the first one
`complete.json` when all are there, and everything that is decided here (where to go on, when to stop) is decided for all at once.
"""

import errno
import fcntl
import math
import os
import pickle
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..common import files
from ..common.cli import UserError

MARK = "complete.json"
FINISHED = "finished"  # beside the checkpoints: the trained model, of which the declared output is a second name
KEEP = 2
NAMES = {"loss": "loss", "grad_norm": "gradient's norm"}
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
EXIT_STOPPED = os.EX_TEMPFAIL  # 75: stopped by SIGTERM with a complete checkpoint; the same command goes on
SHARDS = "pytorch_model_fsdp_0"  # the folder of a checkpoint in which several processes have their weights
INDEX = ".metadata"  # says which shard is where. It is a pickle, which could name any function to be called; these are all that it does:
INDEX_NAMES = {
    "pathlib": {"PosixPath"},
    "torch": {"Size", "float32", "bfloat16", "float16", "int64"},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
}


class Stopped(UserError):
    """Training was stopped by SIGTERM; a complete checkpoint is saved. The program ends with `EXIT_STOPPED`."""


class Diverged(UserError):
    """A loss, a gradient or a weight is not finite: nothing that comes after can be right."""


def not_finite(weights: Iterable[tuple[str, Any]]) -> list[str]:
    """The names of tensors that hold NaN or infinity; of sharded ones, this process looks at its own shard."""
    import torch

    local = ((name, getattr(weight, "to_local", lambda weight=weight: weight)()) for name, weight in weights)
    return [name for name, weight in local if weight.is_floating_point() and not torch.isfinite(weight).all()]


def way_out(learning_rate: float, run: str | Path) -> str:
    """What to do about a training that diverged."""
    return (
        f"Lower sft.learning_rate (now {learning_rate:g}) or raise sft.warmup_ratio, and run again; other settings start anew. With the "
        f"same ones it would go on from its checkpoints in {run} to the same end."
    )


def place() -> tuple[int, int]:
    """The number of this process in its training, and how many there are; torchrun says both."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def writer(name: str) -> int:
    """The process that wrote a file of a checkpoint, by its name: `__3_0.distcp` and `rng_state_3.pth` are of process 3."""
    number = re.search(r"(?:^|/)(?:__|rng_state_)(\d+)[_.]", name)
    return int(number[1]) if number else 0


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def mark(checkpoint: Path) -> None:
    """Declare a checkpoint complete, by what it holds now. All processes call this; each hashes the files that it wrote."""
    import accelerate

    rank, processes = place()
    names = (str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file())
    mine = {name: checkpoint / name for name in names if writer(name) % processes == rank}
    parts = accelerate.utils.gather_object([{name: [path.stat().st_size, files.sha256_file(path)] for name, path in mine.items()}])
    if rank == 0:  # and all have written what is theirs
        if not all(is_harmless(path) for path in checkpoint.rglob(INDEX)):
            raise RuntimeError("this PyTorch writes an index that would not be read again: add what it names to INDEX_NAMES")
        files.write_json(checkpoint / MARK, {name: state for part in parts for name, state in part.items()})
    accelerate.PartialState().wait_for_everyone()


class _Index(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in INDEX_NAMES.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} has no place in an index")
        return super().find_class(module, name)


def is_harmless(index: Path) -> bool:
    """Whether an index names shards of tensors and nothing else. PyTorch, which loads it later, would call whatever it names."""
    with index.open("rb") as file:
        try:
            _Index(file).load()
        except Exception as error:  # whatever a broken pickle comes to
            print(f"{index}: {error}", file=sys.stderr)
            return False
    return True


def is_complete(checkpoint: Path, rank: int = 0, processes: int = 1) -> bool:
    """Whether every file is there as it was when the checkpoint was marked; of several processes, each hashes its own part."""
    if not (checkpoint / MARK).is_file():
        return False
    expected = files.read_json(checkpoint / MARK)
    sizes = all((path := checkpoint / name).is_file() and path.stat().st_size == size for name, (size, _) in expected.items())
    mine = {name: sha256 for name, (_, sha256) in expected.items() if writer(name) % processes == rank}
    hashes = sizes and all(files.sha256_file(checkpoint / name) == sha256 for name, sha256 in mine.items())
    return hashes and all(is_harmless(path) for path in checkpoint.rglob(INDEX))


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None. Newer ones that are incomplete or altered are deleted, and named.

    All processes call this, and each hashes a part: none waits for one that reads it all, which may take longer than they wait.
    """
    import accelerate

    rank, processes = place()
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    for checkpoint in accelerate.utils.broadcast_object_list([found])[0]:  # what the first process sees
        if all(accelerate.utils.gather_object([is_complete(checkpoint, rank, processes)])):
            return checkpoint
        if rank == 0:
            print(f"{checkpoint.name} is incomplete or altered: deleted.", file=sys.stderr)
            shutil.rmtree(checkpoint)
    return None


@contextmanager
def finished(run: Path) -> Iterator[Path]:
    """Give a folder for the files of the trained model. On success it is complete, and takes the place of the run's checkpoints.

    Snakemake deletes a declared output whenever a job ends badly, be it after the model was written: a job that is warned of its time
    limit in its last seconds, a node lost before the end was noted. What is here is out of its reach.
    """
    with files.whole_folder(run / FINISHED) as target:
        yield target
        state = {path.name: [path.stat().st_size, files.sha256_file(path)] for path in sorted(target.iterdir())}
        files.write_json(target / MARK, state)
    for checkpoint in run.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def link(run: Path, target: Path) -> None:
    """Give the files of the finished model a second name in `target`, which takes no room on the disk."""
    for path in (run / FINISHED).iterdir():
        if path.name != MARK:
            try:
                os.link(path, target / path.name)
            except OSError:  # a file system without second names
                shutil.copyfile(path, target / path.name)


def remove_others(work: Path, fingerprint: str) -> None:
    """Delete the checkpoints of other settings or data. Only folders named like a fingerprint are touched."""
    for folder in work.iterdir():
        if folder.is_dir() and folder.name != fingerprint and re.fullmatch("[0-9a-f]{64}", folder.name):
            print(f"checkpoints of other settings or data ({folder.name[:12]}) are deleted.", file=sys.stderr)
            shutil.rmtree(folder)


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold the work folder for this process; raise `UserError` when another one (an old cluster job, say) is training in it."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise UserError(f"another process is training in {work}. Wait for it or cancel that job, then run again.") from error
            if error.errno not in NO_LOCKS:
                raise
            print(f"{work}: this file system has no locks, so a second job on it would not be noticed.", file=sys.stderr)
        yield


def fit(trainer: Any, run: Path) -> None:
    """Train a transformers Trainer whose output_dir is `run` to its end, from the newest complete checkpoint if there is one.

    SIGTERM (a preempted or cancelled cluster job, or one whose time limit is near) to any of the processes ends the step at hand in all
    of them, saves, and raises `Stopped`. Afterwards, and after the last step, SIGTERM is ignored: what is left to do is short.

    A line of progress goes to standard error every ten seconds; `trainer.tokens_after(step)` says how many tokens were seen by then. What
    is read back from a checkpoint cannot run: `newest` checks its index, and torch loads the rest as weights only.

    Raises `UserError` where the checkpoint was written by one process and there are several now, or the other way round: it is laid out
    differently. Any numbers above one read each other's.
    """
    import accelerate
    import transformers

    rank, processes = place()
    asked = False
    start = shown = time.monotonic()
    first = 0

    def ask_to_stop(*_: Any) -> None:
        nonlocal asked
        asked = True

    def diverged(step: int, what: str, learning_rate: float) -> None:
        """Stop all processes: each of them comes here at the same step."""
        good = [path.parent for path in run.glob(f"checkpoint-*/{MARK}") if step_of(path.parent) < step]
        last = max(good, key=step_of).name if good else "none"
        trainer.accelerator.end_training()
        raise Diverged(
            f"training diverged at step {step} of {trainer.state.max_steps}: {what} (learning rate {learning_rate:.3g}; last good "
            f"checkpoint: {last}). No model is written. "
            + ("The base model or the first rows may be at fault. " if step <= 1 else "")
            + way_out(trainer.args.learning_rate, run)
        )

    def stop_if_broken(step: int) -> None:
        """By the weights that are trained; where they are sharded, by all shards."""
        mine = not_finite((name, weight) for name, weight in trainer.model.named_parameters() if weight.requires_grad)
        broken = [name for names in accelerate.utils.gather_object([mine]) for name in names]
        if broken:
            diverged(step, f"weights are not finite ({broken[0]})", trainer.lr_scheduler.get_last_lr()[0])

    class Watch(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            nonlocal start, shown, first
            start = shown = time.monotonic()
            first = state.global_step
            stop_if_broken(first)  # also a checkpoint of a training that had diverged

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            if asked:
                trainer.accelerator.set_trigger()
            stopping = trainer.accelerator.check_trigger()  # whether any process was asked
            control.should_save |= stopping
            control.should_training_stop |= stopping

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            stop_if_broken(state.global_step)
            mark(run / f"checkpoint-{state.global_step}")

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            nonlocal shown
            for name in ("loss", "grad_norm"):  # the same in all processes
                if not math.isfinite(kwargs["logs"].get(name, 0)):
                    diverged(state.global_step, f"the {NAMES[name]} is {kwargs['logs'][name]}", kwargs["logs"]["learning_rate"])
            now, step, steps = time.monotonic(), state.global_step, state.max_steps
            if rank == 0 and "loss" in kwargs["logs"] and (now - shown >= 10 or step == steps):
                shown, speed = now, (trainer.tokens_after(step) - trainer.tokens_after(first)) / (now - start)
                left = (now - start) / (step - first) * (steps - step) / 60
                loss = kwargs["logs"]["loss"]
                line = f"step {step}/{steps}  loss {loss:.3f}  {speed:.0f} tokens/s  {left:.0f} min left"
                print(line, file=sys.stderr, flush=True)

    resume = newest(run)
    if resume:
        if (resume / SHARDS).is_dir() != (processes > 1):
            made, now = ("one process", f"{processes} processes") if processes > 1 else ("several processes", "one")
            raise UserError(
                f"the checkpoints in {run} were made by {made}, and {now} cannot go on from them. Train with as many GPUs as "
                "before, or delete that folder to start over."
            )
        if rank == 0:
            print(f"continuing from {resume.name}.", file=sys.stderr, flush=True)
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # PyTorch's loader of shards would allow any pickle
    trainer.add_callback(Watch())
    before = signal.signal(signal.SIGTERM, ask_to_stop)
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except BaseException:
        signal.signal(signal.SIGTERM, before)
        raise
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if trainer.state.global_step < trainer.state.max_steps:
        trainer.accelerator.end_training()
        raise Stopped(
            f"stopped by SIGTERM after step {trainer.state.global_step} of {trainer.state.max_steps}; a checkpoint is saved. "
            "Run the same command again to continue."
        )
