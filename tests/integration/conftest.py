"""What the tests of this folder share: a dispatcher on the session's Ray, which keeps no actor after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from service.store.db import Database

if TYPE_CHECKING:
    from tests.integration.dispatching import Service


@pytest.fixture
def service(database: Database, ray_address: str, tmp_path: Path, owner_id: UUID) -> Iterator[Service]:
    # Imported here: pytest reads this file before it settles the environment that ray reads when it is imported.
    from tests.integration.dispatching import Service

    service = Service(database, ray_address, tmp_path, owner_id)
    yield service
    for name in service.cluster.names():
        service.cluster.kill(name)
