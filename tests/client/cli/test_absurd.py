"""Whatever is typed, no command ends in a traceback."""

from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperArgument, TyperGroup

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, app
from prolu.client.errors import Invalid
from prolu.spec import SpecError
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP

# `up` starts a service, some wait for what nobody does, and some start a process that loads models.
_ELSEWHERE = {"up", "wait", "watch", "logs", "evaluate", "align"}
_ABSURD = "a b" * 2_000
_TEXTS = {
    "--filter",
    "--fields",
    "--order-by",
    "--by",
    "--against",
    "--x",
    "--y",
    "--name",
    "--set",
    "--names",
    "--metric",
    "--reason",
}


def _lines() -> Iterator[list[str]]:
    """Every command, once with nothing but empty arguments, and once with each option of free text at an absurd one."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in sorted(group.commands.items()):
        if name in _ELSEWHERE:
            continue
        parts = command.commands.items() if isinstance(command, TyperGroup) else [("", command)]
        for part, leaf in parts:
            path = [name, *([part] if part else [])]
            arguments = [one for one in leaf.params if isinstance(one, TyperArgument)]
            if arguments:
                yield [*path, *("" for _ in arguments)]
            for option in leaf.params:
                if option not in arguments and option.opts[0] in _TEXTS:
                    yield [*path, option.opts[0], _ABSURD, *("last" for one in arguments if one.required)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["results", "--filter", "x" * 4_001],
        ["results", "--fields", "x" * 201],
        ["results", "--limit", "99999999999", "--csv", "--filter", ""],
        ["metrics", "--names", "l 0"],
        ["metrics", "--names", ""],
        ["frontier", "--filter", "step > 1", "--by", ""],
        ["biases", "--against", "", "--filter", "step > 1"],
        ["clone", "last", "--set", "a b=1"],
        ["clone", "last", "--name", "x" * 300],
        ["drain", ""],
        ["prune", "last", "--keep-best", "2", "--metric", "a b"],
        ["prune", "last", "--keep-last", "20000"],
    ],
)
def test_what_no_request_may_hold_is_bad_input_said_in_sentences(
    prolu: Prolu, client: Client, arguments: list[str]
) -> None:
    client.runs.submit(RUN)
    client.sweeps.submit(SWEEP)
    if arguments[0] == "clone":
        client.runs.submit(RUN)  # the last one is a run
    status, printed, said = prolu(*arguments)
    assert (status, printed) == (BAD_INPUT, "")
    assert said.startswith("prolu: ")
    for word in ("Traceback", "String should", "Input should", "validation error"):
        assert word not in said


def test_no_command_ends_in_a_traceback_whatever_is_typed(prolu: Prolu, client: Client) -> None:
    client.sweeps.submit(SWEEP)
    client.runs.submit(RUN)
    for line in _lines():
        prolu(*line)


def test_the_client_says_what_is_wrong_with_a_request_before_it_is_sent(client: Client) -> None:
    one = client.runs.submit(RUN).id
    for wrong, word in (
        (lambda: client.runs.submit(RUN, priority=101), "priority must be at most 100; got 101."),
        (lambda: client.results.series([one], points=3), "points must be at least 5; got 3."),
        (lambda: client.runs.compare(one), "run_ids must have at least 2 items"),
        (lambda: client.runs.submit("tiny.yaml"), "Path('tiny.yaml')"),  # type: ignore[arg-type] # that is the mistake
        (lambda: client.runs.get("last"), "'last' is no whole id"),
        (lambda: client.runs.get(client.runs.get(one)), "`.id`"),  # type: ignore[arg-type] # that is the mistake
    ):
        with pytest.raises(SpecError) as caught:
            wrong()
        assert word in str(caught.value)


def test_the_service_says_in_sentences_what_is_wrong_with_a_parameter(client: Client) -> None:
    sweep = client.sweeps.submit(SWEEP).id
    with pytest.raises(Invalid, match="parameter filter must have at most 4000 characters; got 4001"):
        client.sweeps.frontier(sweep, filter="x" * 4_001)
    with pytest.raises(Invalid, match="parameter x must have at least 1 character; got ''"):
        client.sweeps.frontier(sweep, x="")
