"""What holds for all tests: shapes are checked, and processes that share the tests divide them by group.

Shapes in the annotations of the torch rooms are checked in every test, and only in tests.
"""

from typing import Any

import jaxtyping
import pytest

from tests import sharing

pytest_plugins = ["tests.fixtures_api", "tests.fixtures_database", "tests.fixtures_models", "tests.fixtures_ray"]

jaxtyping.install_import_hook(["prolu.models", "prolu.analysis", "prolu.training", "prolu.data"], "beartype.beartype")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bring what takes longest to the front where several processes share the tests; alone, the order stays."""
    if hasattr(config, "workerinput"):
        sharing.order(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing.GroupScheduling:
    """Keep the tests of a group in one process."""
    return sharing.GroupScheduling(config, log)
