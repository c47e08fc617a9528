"""The run that several test files look at: the default recipe in small, once a session."""

from pathlib import Path

import pytest

from tests import workspace


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, all that look at the one run or start a cluster stay in one of them."""
    for item in items:
        if item.get_closest_marker("rehearsal") or item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.xdist_group("run"))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the rehearsal ran from nothing to the report, on this machine alone."""
    folder = workspace.copy(tmp_path_factory.mktemp("rehearsal") / "pivotlift")
    workspace.snakemake(folder, *workspace.REHEARSAL)
    return folder
