"""The tests of a group go to one process, and the long groups to different ones, before all others."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sharing import LONG, GroupScheduling, group_of

ROOT = Path(__file__).parents[1]


class Process:
    """What the scheduler knows of a process: the places of the tests that it was sent."""

    shutting_down = False

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.sent: list[int] = []

    def send_runtest_some(self, places: list[int]) -> None:
        self.sent += places

    def shutdown(self) -> None:
        self.shutting_down = True


def test_each_group_goes_to_one_process_whole_and_the_long_ones_begin_at_once(pytestconfig: pytest.Config):
    together = [f"tests/data/test_smollm2.py::test[{number}]" for number in range(4)]
    on_ray = [f"tests/integration/{file}.py::test[{number}]" for file in ("a", "b") for number in range(3)]
    others = [f"tests/spec/test_{name}.py::test[{number}]" for name in "xyz" for number in range(4)]
    tests = [*together, *on_ray, *others]
    scheduler = GroupScheduling(scheduling_config(pytestconfig))
    one, other = Process("one"), Process("other")
    nodes: list[Any] = [one, other]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    assert [tests[place] for place in one.sent] == together
    assert [tests[place] for place in other.sent] == on_ray
    for place in list(one.sent):
        scheduler.mark_test_complete(nodes[0], place)
    assert {group_of(tests[place]) for place in one.sent[len(together) :]} == {"tests/spec/test_x.py"}


def scheduling_config(config: pytest.Config) -> Any:
    """A configuration of two processes, whether or not this test runs in one of several."""
    mine = copy.copy(config)
    mine.option = copy.copy(config.option)
    mine.option.tx = ["popen", "popen"]
    mine.option.loadscopereorder = True
    return mine


@pytest.mark.parametrize("beginning", [beginning for beginnings in LONG.values() for beginning in beginnings])
def test_what_is_named_as_long_is_there(beginning: str):
    assert (ROOT / beginning).exists()
