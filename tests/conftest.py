"""The run that several test files look at: the default recipe in small, once a session."""

from pathlib import Path

import pytest

from tests import workspace


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the rehearsal ran from nothing to the report, on this machine alone."""
    folder = workspace.copy(tmp_path_factory.mktemp("rehearsal") / "pivotlift")
    workspace.snakemake(folder, *workspace.REHEARSAL)
    return folder
