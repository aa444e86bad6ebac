"""What holds for all tests: shapes are checked, and processes that share the tests divide them by group.

Shapes in the annotations of the torch rooms are checked in every test, and only in tests.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

import jaxtyping
import pytest

from tests import sharing

pytest_plugins = ["tests.fixtures_api", "tests.fixtures_database", "tests.fixtures_models", "tests.fixtures_ray"]

jaxtyping.install_import_hook(["prolu.models", "prolu.analysis", "prolu.training", "prolu.data"], "beartype.beartype")


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    """Close what a test has drawn and not saved; matplotlib warns of the twenty-first in one process."""
    yield
    if (plt := sys.modules.get("matplotlib.pyplot")) is not None:
        plt.close("all")


def pytest_configure() -> None:
    """Let the many processes that tests start find bytecode: without it each compiles us anew, half a second of every start."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bring what takes longest to the front where several processes share the tests; alone, the order stays."""
    if hasattr(config, "workerinput"):
        sharing.order(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing.GroupScheduling:
    """Keep the tests of a group in one process."""
    return sharing.GroupScheduling(config, log)
