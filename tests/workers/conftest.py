"""The lab of the tests of the dispatcher.

Imported only when a test asks for it: it brings Ray, which reads its environment once, and pytest reads this file before
`tests.fixtures_ray` has settled that environment where a path below this folder is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from service.store.db import Database

if TYPE_CHECKING:
    from tests.workers.lab import Lab


@pytest.fixture
def lab(database: Database, tmp_path: Path, owner_id: UUID) -> Lab:
    from tests.workers.lab import Lab

    return Lab(database, tmp_path, owner_id)
