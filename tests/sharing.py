"""How processes share the tests: the tests of a group stay in one process, and what takes longest begins first.

A group is a file, for what its tests share, or several files that share a Ray head or the language model. The long groups
begin at the same time, one in each process, and files with many tests come before those with few, so that no process is
idle at the end. `--dist loadgroup` would do, but pytest-xdist 3.8 tells its groups by a field that pytest 9.2 no longer
reads, and then deals out test by test, so that whatever a file's tests share is made in every process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# By beginning of the path, the longest group first; a file that is not here is a group of its own. The last ones have few
# tests, by whose number they would come at the end, where the other process would wait for them.
LONG: Mapping[str, Sequence[str]] = {
    "language model": ("tests/acceptance/test_nothing_is_lost.py", "tests/data/test_smollm2.py"),
    "ray": ("tests/integration/", "tests/workers/test_cluster.py", "tests/client/up/test_ray_head.py"),
    "chaos": ("tests/acceptance/test_chaos.py",),
    "ranks": ("tests/training/test_ranks.py",),
    "contract": ("tests/service/api/test_contract.py",),
    "back-ups": ("tests/docs/test_back_up.py",),
    "queue benchmark": ("tests/benchmarks/test_queue_benchmark.py",),
    "compiled gradients": ("tests/models/test_gradients_compiled.py",),
}


def group_of(nodeid: str) -> str:
    """The group of a test, by its path."""
    file = nodeid.partition("::")[0]
    return next((group for group, beginnings in LONG.items() if file.startswith(tuple(beginnings))), file)


def order(items: list[pytest.Item]) -> None:
    """Sort tests so that the long groups come first, then the files with the most tests."""
    groups = Counter(group_of(item.nodeid) for item in items)
    places = {group: place for place, group in enumerate(LONG)}

    def place(item: pytest.Item) -> tuple[int, int, str]:
        group = group_of(item.nodeid)
        return places.get(group, len(LONG)), -groups[group], group

    items.sort(key=place)


class GroupScheduling(LoadScopeScheduling):
    """Gives whole groups to the processes, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        """`log` is pytest-xdist's own."""
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
