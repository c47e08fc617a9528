"""Training that survives a kill, by checkpoints that are complete and unaltered, or do not count.

They live in `<work>/<fingerprint>/checkpoint-<step>/`, which no rule declares as output, so that Snakemake never deletes them.
A checkpoint is complete once `complete.json` stands in it, written last, with the size and SHA-256 of every other file.
"""

import errno
import fcntl
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..common import files
from ..common.cli import UserError

MARK = "complete.json"
KEEP = 2
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def mark(checkpoint: Path) -> None:
    """Declare a checkpoint complete, by what it holds now."""
    content = {str(path.relative_to(checkpoint)): path for path in checkpoint.rglob("*") if path.is_file()}
    files.write_json(checkpoint / MARK, {name: [path.stat().st_size, files.sha256_file(path)] for name, path in content.items()})


def is_complete(checkpoint: Path) -> bool:
    """Whether every file is there as it was when the checkpoint was marked."""
    if not (checkpoint / MARK).is_file():
        return False
    expected = files.read_json(checkpoint / MARK)
    sizes = all((path := checkpoint / name).is_file() and path.stat().st_size == size for name, (size, _) in expected.items())
    return sizes and all(files.sha256_file(checkpoint / name) == sha256 for name, (_, sha256) in expected.items())


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None. Newer ones that are incomplete or altered are deleted, and named."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        if is_complete(checkpoint):
            return checkpoint
        print(f"{checkpoint.name} is incomplete or altered: deleted.", file=sys.stderr)
        shutil.rmtree(checkpoint)
    return None


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

    SIGTERM (a preempted or cancelled cluster job) ends the step at hand, saves, and raises `UserError`. A line of progress goes
    to standard error every ten seconds. Trainer reads its own state back with torch's weights_only, so nothing in it can run.
    """
    import transformers

    stopped = False
    start = shown = time.monotonic()
    first = tokens = 0

    def ask_to_stop(*_: Any) -> None:
        nonlocal stopped
        stopped = True

    class Watch(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            nonlocal start, shown, first, tokens
            start = shown = time.monotonic()
            first, tokens = state.global_step, state.num_input_tokens_seen

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            control.should_save |= stopped
            control.should_training_stop |= stopped

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            mark(run / f"checkpoint-{state.global_step}")

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            nonlocal shown
            now, step, steps = time.monotonic(), state.global_step, state.max_steps
            if "loss" in kwargs["logs"] and (now - shown >= 10 or step == steps):
                shown, speed = now, (state.num_input_tokens_seen - tokens) / (now - start)
                left = (now - start) / (step - first) * (steps - step) / 60
                loss = kwargs["logs"]["loss"]
                line = f"step {step}/{steps}  loss {loss:.3f}  {speed:.0f} tokens/s  {left:.0f} min left"
                print(line, file=sys.stderr, flush=True)

    trainer.add_callback(Watch())
    before = signal.signal(signal.SIGTERM, ask_to_stop)
    try:
        resume = newest(run)
        if resume:
            print(f"continuing from {resume.name}.", file=sys.stderr, flush=True)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    finally:
        signal.signal(signal.SIGTERM, before)
    if trainer.state.global_step < trainer.state.max_steps:
        raise UserError(
            f"stopped by SIGTERM after step {trainer.state.global_step} of {trainer.state.max_steps}; a checkpoint is saved. "
            "Run the same command again to continue."
        )
