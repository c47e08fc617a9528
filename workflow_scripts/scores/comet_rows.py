"""Rows of scores.csv from COMET's scores of single answers: means with interval and paired test, as for every other metric.

The mean is what COMET calls the system score, here times 100. Resampling is that of the string metrics: the same draws, the same tests.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common import cli, files, tables
from .inputs import Groups, paired
from .metrics import StringMetric, Table
from .resampling import SEED
from .score import EMPTY, SCHEMA, checked, named_folder
from .translation import Board


class Comet(StringMetric):
    """COMET as sums over sentences: the score of each, and how many there are."""

    bounds = (-math.inf, math.inf)  # some checkpoints give z-scores

    def __init__(self, about: dict[str, Any], version: str) -> None:
        self.about, self.version = about, version

    def statistics(self, references: Any, systems: Sequence[Any]) -> list[Table]:  # noqa: ARG002
        return [np.stack([np.asarray(scores, dtype=float), np.ones(len(scores))], axis=1) for scores in systems]

    def scores(self, sums: Table) -> Table:
        return 100 * sums[..., 0] / sums[..., 1]

    def score(self, statistics: Table) -> float:
        return float(self.scores(statistics.sum(axis=0)))

    def signature(self, resamples: int, trials: int | None = None) -> str:
        """In sacrebleu's form."""
        reference = "yes" if self.about["references"] else "no"
        exchanged = f"|ar:{trials}" if trials else ""
        return (
            f"comet:{self.about['source']}|sha256:{self.about['checkpoint_sha256'][:12]}|references:{reference}|scale:100|bs:{resamples}"
            f"{exchanged}|seed:{SEED}|version:{self.version}"
        )


def read(path: Path) -> tuple[dict[str, Any], Groups]:
    """What `scores.comet` wrote of one language, and its scores by direction and protocol, then item."""
    found = files.read_json(path)
    scored: Groups = {
        (group["direction"], group["protocol"]): group.get("reason") or dict(zip(group["items"], group["scores"], strict=True))
        for group in found["groups"]
    }
    return found, scored


def rows(path: Path, baselines: dict[str, Path], about: dict[str, Any], settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All rows of one language, with the columns of schemas/scores.schema.json that are not empty."""
    found, groups = read(path)
    others = {name: read(folder / path.name)[1] for name, folder in baselines.items()}
    metric = Comet(about, found["comet"]["version"])
    for key, scores in groups.items():
        row = {name: found[name] for name in ("model", "benchmark", "version", "language")}
        row |= {"direction": key[0], "protocol": key[1], "metric": f"COMET ({about['comet']})"}
        if isinstance(scores, str):
            yield row | {"reason": scores}
            continue
        compared = dict(paired(key, scores, others, found["benchmark"]))
        systems = {name: [values[item] for item in scores] for name, values in {"": scores, **compared}.items()}
        board = Board(metric, [], systems, settings)
        row |= {"n": len(scores)} | board.estimate("")
        yield from (row | {"baseline": name} | board.compare("", name) for name in compared)
        if not compared:
            yield row


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", required=True, type=Path, help="manifest.json of the COMET model")
    parser.add_argument("--languages", required=True, nargs="+", metavar="CODE")
    parser.add_argument("--segments-folder", required=True, type=Path, help="holds <language>.json of workflow_scripts.scores.comet")
    parser.add_argument("--baseline", action="append", default=[], type=named_folder, help="NAME=FOLDER of the same; repeatable")
    parser.add_argument("--settings", required=True, type=cli.json_object, help="resamples, significance")
    parser.add_argument("--output-folder", required=True, type=Path)
    args = parser.parse_args(argv)

    about, settings = files.read_json(args.manifest), checked(args.settings)
    for language in args.languages:
        output = args.output_folder / f"{language}.json"
        scores = [EMPTY | row for row in rows(args.segments_folder / output.name, dict(args.baseline), about, settings)]
        for number, row in enumerate(scores, 1):
            tables.check(row, SCHEMA, f"{output} score {number}")
        files.write_json(output, {"scores": scores})


if __name__ == "__main__":
    cli.run(main)
