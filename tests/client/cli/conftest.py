"""A run whose files are real, for the commands that read weights."""

from pathlib import Path
from uuid import UUID

import pytest

from prolu.client import Client
from tests.client.desk import Desk
from tests.offline.conftest import DOCUMENT, Run, train_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of some steps, with real files."""
    return train_run(tmp_path_factory.mktemp("trained"), DOCUMENT)


@pytest.fixture
def served(client: Client, desk: Desk, trained: Run) -> UUID:
    """A run of the service whose checkpoint is that of the trained one."""
    run = client.runs.submit(DOCUMENT).id
    desk.claim()
    files = {path.name: path.read_bytes() for path in Path(trained.folder).iterdir() if path.is_file()}
    del files["manifest.json"]
    desk.report(run, desk.checkpoint(run, 12, final=True, contents=files))
    return run
