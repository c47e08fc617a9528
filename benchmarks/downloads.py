"""Downloads under random faults: how many end in the right file, in one clear error, or (never) in a wrong file taken for complete.

    python benchmarks/downloads.py --downloads 1000

Each download meets up to twelve faults of tests/fault_server.py in random order, of a server with or without ranges; every tenth is killed
half-way and run again, and every tenth meets one fault for ever. Prints the outcomes.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fault_server import FaultServer
from workflow_scripts.common.cli import UserError
from workflow_scripts.downloads import web

FAULTS = [
    "cut",
    "reset",
    "drop",
    "garbage",
    "longer",
    "shorter",
    "unsaid",
    "gzip",
    "endless",
    "page",
    "flipped",
    "other_range",
    "other_file",
]
FAULTS += ["408", "429", "500", "502", "503", "504", "stall", "silent", "drip"]
PATIENCE = web.Patience(attempts=14, backoff=0, longest_wait=0, connect=1, stall=0.1)


def one(server: FaultServer, seed: int, folder: Path) -> str:
    draw = random.Random(seed)
    content = draw.randbytes(draw.randrange(1, 200_000))
    for_ever = seed % 10 == 1
    faults = [draw.choice(FAULTS)] * 200 if for_ever else draw.choices(FAULTS, k=draw.randrange(13))
    url = server.file(f"/{seed}", content, faults, ranges=draw.random() < 0.8)
    part = folder / str(seed)
    if seed % 10 == 2:  # what a killed process left: half of the file, or of another one
        part.write_bytes((content if draw.random() < 0.5 else draw.randbytes(len(content)))[: len(content) // 2])
    try:
        web.download(url, part, len(content), hashlib.sha256(content).hexdigest(), PATIENCE)
    except UserError as error:
        return "one clear error" if url in str(error) and "\n" not in str(error) else "unclear error"
    return "right file" if part.read_bytes() == content else "WRONG FILE"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downloads", type=int, default=1000)
    options = parser.parse_args()
    start, cpu = time.monotonic(), time.process_time()
    outcomes: Counter[str] = Counter()
    with FaultServer() as server, tempfile.TemporaryDirectory() as folder:
        for seed in range(options.downloads):
            outcomes["for ever: " * (seed % 10 == 1) + one(server, seed, Path(folder))] += 1
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:6} {outcome}")
    print(f"{time.monotonic() - start:.0f} s, {time.process_time() - cpu:.0f} s of CPU")


if __name__ == "__main__":
    main()
