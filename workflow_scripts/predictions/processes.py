"""Answering on a CPU in several processes of one thread each: a step with few rows leaves most of a second thread's time unused.

They are forks of the process that holds the model, so its weights are in memory once, however many they are. `perform` must compute with
one thread: those of the first process are not copied, and a pool of them would be waited for in vain.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from ..common.cli import UserError

Task = TypeVar("Task")
Found = TypeVar("Found")


def share(perform: Callable[[Task], Iterable[Found]], tasks: Sequence[Task], processes: int) -> Iterator[Found]:
    """What `perform` yields for each of `tasks`, as it comes: in this process, or in so many forks that take a task whenever they are idle.

    A `UserError` of one process is raised here, and so is its death; the others are ended. They also end when this process does.
    """
    if processes == 1:
        for task in tasks:
            yield from perform(task)
        return
    context = multiprocessing.get_context("fork")
    turn = context.Value("q", 0)
    running: dict[Connection, Any] = {}
    try:
        for _ in range(processes):
            reader, writer = context.Pipe(duplex=False)
            running[reader] = context.Process(target=_work, args=(writer, perform, tasks, turn), daemon=True)
            running[reader].start()
            writer.close()  # only the fork holds it now, so that its end is seen here
        while running:
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                try:
                    found, error = ready.recv()
                except EOFError:
                    _see_off(running.pop(ready), processes)
                    continue
                if error:
                    raise UserError(error)
                yield found
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _see_off(process: Any, processes: int) -> None:
    """Raise `UserError` unless the process ended by itself."""
    process.join()
    if process.exitcode:
        how = f"was killed (signal {-process.exitcode})" if process.exitcode < 0 else "failed (see above)"
        raise UserError(
            f"one of {processes} processes that answer {how}; its answers so far are kept, so run it again, and if memory was short, "
            "lower `evaluate.batch_size` or give fewer --cpus."
        )


def _work(writer: Connection, perform: Callable[[Task], Iterable[Any]], tasks: Sequence[Task], turn: Any) -> None:
    """What each fork does: the next task that nobody has, until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says what is to be said
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            with turn.get_lock():
                number, turn.value = turn.value, turn.value + 1
            if number >= len(tasks):
                return
            for found in perform(tasks[number]):
                writer.send((found, ""))
    except UserError as error:
        writer.send((None, str(error)))


def _end_with_parent() -> None:
    """Without this, a fork of a killed process would compute until it finds nobody to send an answer to."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
