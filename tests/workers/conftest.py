"""The lab of the tests of the dispatcher."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from service.store.db import Database
from tests.workers.lab import Lab


@pytest.fixture
def lab(database: Database, tmp_path: Path, owner_id: UUID) -> Lab:
    return Lab(database, tmp_path, owner_id)
