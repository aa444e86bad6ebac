"""The real language model, converted once and kept in `build/test-cache`, so that only the first run of the tests pays for it."""

from pathlib import Path

import pytest

from prolu.data.places import Places


@pytest.fixture(scope="session")
def model_places() -> Places:
    """Places whose cache holds SmolLM2 from its package, or will once it has been asked for; no data roots, no hub."""
    cache_dir = Path(__file__).parents[1] / "build" / "test-cache"
    return Places(cache_dir=cache_dir, data_roots=(), hub_online=False)
