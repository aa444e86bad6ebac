"""The examples are what they say: specs that are accepted as they stand."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import typer.main

from prolu.client import Client
from prolu.client.cli.app import app
from prolu.client.runs import Runs
from prolu.client.wire import RunSummary
from prolu.spec import JumpReluSae, RunSpec, SweepSpec, named_preset, parse, validate, with_preset
from service.domain.expansion import expand
from service.domain.search import probes
from tests.client.desk import RUN, Desk

EXAMPLES = Path(__file__).parents[2] / "examples"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUESTIONS = sorted((EXAMPLES / "questions").glob("*.yaml"))
# How many points each means; of a search, how many it may ask for.
SWEEPS = {"conditional": 6, "front": 40, "halving": 30, "points": 6, "random": 12, "series": 15}


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


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_the_sweep_of_each_question_means_runs_on_one_extraction_at_both_sizes(path: Path) -> None:
    document = parse(path.read_text())
    for sized in (document, with_preset(document, named_preset("post"))):
        points = expand(validate(sized, SweepSpec))
        assert len({point.spec.data_digest() for point in points}) == 1
        assert len({point.digest for point in points}) == len(points)


def test_every_example_of_the_sweep_language_is_counted() -> None:
    assert {path.stem for path in (EXAMPLES / "sweeps").glob("*.yaml")} == set(SWEEPS)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_examples_of_the_sweep_language_mean_what_they_say(name: str) -> None:
    sweep = validate(parse((EXAMPLES / "sweeps" / f"{name}.yaml").read_text()), SweepSpec)
    assert sweep.name == name
    if sweep.search is not None:
        assert probes(sweep, sweep.search)
        assert sweep.search.trials == SWEEPS[name]
    else:
        assert len({point.digest for point in expand(sweep)}) == SWEEPS[name]


def test_at_the_size_of_the_post_jumprelu_begins_where_its_defaults_say() -> None:
    document = parse((EXAMPLES / "questions/09-frontier.yaml").read_text())
    short, long = (
        expand(validate(sized, SweepSpec)) for sized in (document, with_preset(document, named_preset("post")))
    )
    assert {point.spec.sae for point in long if point.variant == "jumprelu"} == {JumpReluSae(d_sae=12288)}
    assert JumpReluSae(d_sae=1152) not in {point.spec.sae for point in short}


def test_there_is_a_sweep_for_each_of_the_ten_questions() -> None:
    assert [path.stem[:2] for path in QUESTIONS] == [f"{number:02}" for number in range(1, 11)]


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_each_question_says_what_to_ask_in_words_that_the_command_knows(path: Path) -> None:
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("# Ask: prolu ")]
    name, *words = line.removeprefix("# Ask: prolu ").split()
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_science_sweep_trains_every_family_at_five_levels_with_two_seeds() -> None:
    points = expand(validate(parse((BENCHMARKS / "science.yaml").read_text()), SweepSpec))
    families = {point.variant for point in points}
    assert {"relu-l1", "relu-sqrt_l1", "prolu-relu_like", "prolu-ste", "prolu_hybrid", "gated", "topk", "jumprelu"} <= (
        families
    )
    for family in families:
        own = [point.spec for point in points if point.variant == family]
        assert len({spec.training.seed for spec in own}) == 2
        assert len(own) == 10
    assert len({point.spec.data_digest() for point in points}) == 1


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
