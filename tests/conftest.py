"""Shapes in the annotations of the torch rooms are checked in every test, and only in tests."""

import jaxtyping

pytest_plugins = ["tests.fixtures_api", "tests.fixtures_database", "tests.fixtures_models", "tests.fixtures_ray"]

jaxtyping.install_import_hook(["prolu.models", "prolu.analysis", "prolu.training", "prolu.data"], "beartype.beartype")
