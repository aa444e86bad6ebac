"""The examples are what they say: specs that are accepted as they stand."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from prolu.client import Client
from prolu.client.runs import Runs
from prolu.client.wire import RunSummary
from prolu.spec import RunSpec, SweepSpec, parse, validate
from service.domain.expansion import expand
from tests.client.desk import RUN, Desk

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demo_sweep_means_four_alternatives_with_two_coefficients_each_on_one_extraction() -> None:
    points = expand(validate(parse((EXAMPLES / "demo.yaml").read_text()), SweepSpec))
    assert [point.variant for point in points] == [
        variant for variant in ("relu-l1", "relu-sqrt_l1", "prolu-relu_like", "prolu-ste") for _ in range(2)
    ]
    assert len({point.spec.data_digest() for point in points}) == 1
    assert len({point.digest for point in points}) == 8
    assert {(point.spec.sae.kind, point.spec.sparsity.kind) for point in points} == {
        ("relu", "l1"),
        ("relu", "sqrt_l1"),
        ("prolu", "l1"),
    }


def test_the_synthetic_example_is_a_run() -> None:
    spec = validate(parse((EXAMPLES / "synthetic.yaml").read_text()), RunSpec)
    assert spec.data.kind == "synthetic"


def test_the_demo_cancels_leftovers_and_passes_over_what_ends_meanwhile(
    client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, waiting = client.runs.submit(RUN).id, client.runs.submit(RUN).id
    list_runs = Runs.list

    def list_and_let_one_end(runs: Runs) -> list[RunSummary]:
        listed = list_runs(runs)
        desk.claim()
        desk.train(ending)
        return listed

    monkeypatch.setattr(Runs, "list", list_and_let_one_end)
    assert demo().cancel_leftovers(client) == 1
    monkeypatch.undo()
    assert client.runs.get(waiting).desired_state == "cancelled"


def demo() -> ModuleType:
    """examples/demo.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
