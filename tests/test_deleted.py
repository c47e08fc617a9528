"""What is deleted after a finished run is made again by the same command, and nothing else is."""

import os
from pathlib import Path

import pytest

from tests import workspace


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which every file of the run is there, empty, and is recorded as made: planning is all that is tested here."""
    folder = workspace.copy(tmp_path_factory.mktemp("finished") / "clone")
    for line in workspace.snakemake(folder, "--summary").splitlines():
        name = line.split("\t")[0]
        if name.startswith("results/"):
            path = folder / name
            if path.name == "model":
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    workspace.snakemake(folder, "--touch", "--cores", "1")
    return folder


def test_a_finished_run_has_nothing_to_do(finished: Path) -> None:
    assert workspace.planned(finished) == {}


@pytest.mark.parametrize(
    ("deleted", "planned"),
    [
        ("results/scores/gemma-3-270m-lifted/messages/*.json", {"score", "tables", "report"}),
        ("results/scores/gemma-3-270m-trimmed/udhr/swh_Latn.json", {"score", "tables", "report"}),
        ("results/reports/scores.csv", {"tables", "report"}),
        ("results/models/gemma-3-270m-lifted/tokens.csv", {"token_audit"}),
    ],
)
def test_what_was_deleted_is_made_again(finished: Path, deleted: str, planned: set[str]) -> None:
    gone = {path: path.stat() for path in finished.glob(deleted)}
    assert gone
    for path in gone:
        path.unlink()
    try:
        counts = workspace.planned(finished)
        assert set(counts) >= planned and not {"trained_model", "corpus"} & set(counts)
    finally:
        for path, stat in gone.items():
            path.touch()
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
