"""Answering on a CPU: several processes of one thread each, since a step with few rows leaves most of a second thread's time unused.

Each process loads the model and takes the next questions when it has room for them (`engine.take`), so that no process ends long before
another, whatever its core is worth.
"""

import math
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..common.cli import UserError

PROCESS_MB = 1500  # what a process holds beside its weights: libraries, activations, keys and values; a job asks for 2000
FLOAT32 = 4


def count(cpus: int, items: int, batch_size: int, weights_mb: float, memory_mb: float) -> int:
    """One process a CPU, as long as each begins with a full batch and the model fits into memory that often."""
    return max(1, min(cpus, math.ceil(items / batch_size), int(memory_mb / (weights_mb + PROCESS_MB))))


def weights_mb(folder: Path) -> float:
    """Megabytes of a model's weights in float32, whatever they are stored in."""
    from safetensors import safe_open

    parameters = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            parameters += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return parameters * FLOAT32 / 1e6


def spread(make: Callable[..., Iterator[Any]], arguments: tuple[Any, ...], processes: int) -> Iterator[Any]:
    """What `make(*arguments)` yields in each of so many new processes, as it comes; in this one if one is enough.

    A `UserError` of one process is raised here, and so is its death; the others are ended.
    """
    if processes == 1:
        yield from make(*arguments)
        return
    context = multiprocessing.get_context("spawn")  # copies of a process with threads can hang
    running: dict[Connection, Any] = {}
    try:
        for _ in range(processes):
            end, writer = context.Pipe(duplex=False)
            running[end] = context.Process(target=_send, args=(writer, make, arguments), daemon=True)
            running[end].start()
            writer.close()  # only the process holds it now, so that its end is seen here
        while running:
            for reader in wait(list(running)):
                assert isinstance(reader, Connection)
                try:
                    found, error = reader.recv()
                except EOFError:
                    process = running.pop(reader)
                    process.join()
                    if process.exitcode:
                        how = f"was killed (signal {-process.exitcode})" if process.exitcode < 0 else "failed, see above"
                        raise UserError(
                            f"one of {processes} processes that answer {how}. Answers are kept; run it again. "
                            "If memory was short, lower `evaluate.batch_size`, or give fewer --cpus."
                        ) from None
                    continue
                if error:
                    raise UserError(error)
                yield found
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _send(writer: Connection, make: Callable[..., Iterator[Any]], arguments: tuple[Any, ...]) -> None:
    try:
        for found in make(*arguments):
            writer.send((found, ""))
    except UserError as error:
        writer.send((None, str(error)))
    except BrokenPipeError:  # whoever asked is gone
        return
