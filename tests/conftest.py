"""What holds for all tests: shapes are checked, and processes that share the tests divide them by file.

Shapes in the annotations of the torch rooms are checked in every test, and only in tests.
"""

from pathlib import Path

import jaxtyping
import pytest

pytest_plugins = ["tests.fixtures_api", "tests.fixtures_database", "tests.fixtures_models", "tests.fixtures_ray"]

jaxtyping.install_import_hook(["prolu.models", "prolu.analysis", "prolu.training", "prolu.data"], "beartype.beartype")


# tryfirst: pytest-xdist reads the groups in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, for what they share; those of Ray and of the language model one after another."""
    for item in items:
        heavy = [name for name in ("ray", "model") if item.get_closest_marker(name)]
        group = "ray and model" if heavy else str(Path(item.nodeid.partition("::")[0]))
        item.add_marker(pytest.mark.xdist_group(group))
