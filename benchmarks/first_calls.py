"""Is the first result of a fresh process the same as its second? Torch's own, and after `common/first_calls.py`.

    python benchmarks/first_calls.py --processes 4000

Eight processes at once, each with twice as many threads as there are CPUs: MKL's race shows where threads wait for a CPU.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workflow_scripts.common import first_calls

AT_ONCE = 8
NAMES = ("cos", "exp", "log", "sin", "sqrt", "tanh")


def differs(prepare: Callable[[], None]) -> bool:
    """Whether any function gives this process two results for the same numbers."""
    torch.set_num_threads(2 * len(os.sched_getaffinity(0)))
    prepare()
    numbers = torch.linspace(0.01, 3, 400_000)
    return not all(torch.equal(function(numbers), function(numbers)) for function in (getattr(torch, name) for name in NAMES))


def count(prepare: Callable[[], None], processes: int) -> int:
    """How many of so many forks `differs` is true for. This process itself computes nothing, so each of them is fresh."""
    found, running = 0, []
    for number in range(processes + AT_ONCE):
        if number < processes:
            child = os.fork()
            if child == 0:
                os._exit(differs(prepare))
            running.append(child)
        if running and (len(running) == AT_ONCE or number >= processes):
            found += os.waitstatus_to_exitcode(os.waitpid(running.pop(0), 0)[1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4000)
    processes = parser.parse_args().processes
    for name, prepare in {"as torch is": lambda: None, "settled": first_calls.settle}.items():
        print(f"{name}: {count(prepare, processes)} of {processes} processes have a first result unlike their second", flush=True)


if __name__ == "__main__":
    main()
