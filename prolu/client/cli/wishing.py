"""`prolu cancel`, `pause`, `resume`, `retry`, `clone`, `extend`, `priority`: decide about work that is there.

A sweep is one request, however many runs it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check, read_document
from prolu.client.cli.durations import seconds_of
from prolu.client.cli.output import note, print_json, short
from prolu.client.cli.references import find, find_run, find_sweep
from prolu.client.cli.watching import watch_run
from prolu.client.client import Client
from prolu.client.errors import ApiError
from prolu.client.runs import TERMINAL
from prolu.client.wire import RunRead, RunState, SweepRead, Tier
from prolu.spec import LimitsSpec, SpecError, SweepSpec, parse

References = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        autocompletion=completing.run_or_sweep,
        help="Runs or sweeps: ids, unique parts of them, or `last`.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MayBeStopped = Annotated[
    bool | None,
    typer.Option("--preemptible/--not-preemptible", help="Whether it may be stopped to make room for others."),
]
Scratch = Annotated[bool, typer.Option("--from-scratch", help="Begin at step 0, and not from the last checkpoint.")]

_Answer = RunRead | SweepRead
_Verb = Callable[[UUID], _Answer]


def cancel(references: References, as_json: AsJson = False) -> None:
    """Cancel runs, or every unfinished run of a sweep."""
    with connect() as client:
        tell = _toward("cancelled", "what has not ended will be cancelled")
        _each(client, references, client.runs.cancel, client.sweeps.cancel, tell, as_json=as_json)


def pause(references: References, as_json: AsJson = False) -> None:
    """Pause runs, or every unfinished run of a sweep, until they are resumed."""
    with connect() as client:
        tell = _toward("paused", "what has not ended will be paused")
        _each(client, references, client.runs.pause, client.sweeps.pause, tell, as_json=as_json)


def resume(references: References, as_json: AsJson = False) -> None:
    """Put paused runs, or every paused run of a sweep, back into the queue."""
    with connect() as client:
        tell = _toward("queued", "what is paused goes back into the queue")
        _each(client, references, client.runs.resume, client.sweeps.resume, tell, as_json=as_json)


def retry(
    references: References,
    from_scratch: Scratch = False,
    include_cancelled: Annotated[
        bool, typer.Option("--include-cancelled", help="Of a sweep, try those again too that were cancelled.")
    ] = False,
    run_limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="Let each attempt train so long, such as 90min, 2h or 1d.")
    ] = None,
    no_progress_limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="Let each attempt report nothing new for so long.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try runs again that failed or were cancelled, or all failed runs of a sweep, from their last checkpoints."""
    chosen = {
        "run_seconds": seconds_of("--run-limit", run_limit),
        "no_progress_seconds": seconds_of("--no-progress-limit", no_progress_limit),
    }
    limits = check(chosen, LimitsSpec, "limits") if any(seconds is not None for seconds in chosen.values()) else None

    def run(identity: UUID) -> RunRead:
        return client.runs.retry(identity, from_scratch=from_scratch, limits=limits)

    def sweep(identity: UUID) -> SweepRead:
        return client.sweeps.retry_failed(
            identity, from_scratch=from_scratch, include_cancelled=include_cancelled, limits=limits
        )

    with connect() as client:
        _each(client, references, run, sweep, _tried_again, as_json=as_json)


def clone(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ID", autocompletion=completing.run_or_sweep, help="Run: an id, a unique part of one, or `last`."
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="What differs, such as sparsity.coefficient=0.002; repeatable."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Label of the new run; by default that of the other.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=100, help="By default that of the other.")] = None,
    tier: Annotated[Tier | None, typer.Option(help="By default that of the other; high is for administrators.")] = None,
    preemptible: MayBeStopped = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a run like another, with some settings changed."""
    chosen = dict(_setting(text) for text in changes or [])
    with connect() as client:
        other = find_run(client, reference)
        run = client.runs.clone(other, set=chosen, name=name, priority=priority, tier=tier, preemptible=preemptible)
        if as_json:
            print_json(run)
        else:
            note(f"run {run.id} is queued; follow it with: prolu watch {short(run.id)}")
        if watch:
            watch_run(client, run.id, as_json=as_json)


def extend(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ID", autocompletion=completing.run_or_sweep, help="Sweep: an id, a unique part of one, or `last`."
        ),
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The sweep as it shall be, YAML or JSON; - reads standard input.")
    ],
    reuse: Annotated[
        bool, typer.Option("--reuse", help="New points refer to identical finished runs, where there are any.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add to a sweep the points that a new description of it has and it has not; those that are there stay."""
    spec = check(read_document(file), SweepSpec, file)
    with connect() as client:
        sweep = client.sweeps.extend(find_sweep(client, reference), spec, reuse=reuse)
    if as_json:
        print_json(sweep)
    else:
        note(f"sweep {sweep.id} has {sweep.count} runs: {_states(sweep)}")


def priority(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ID", autocompletion=completing.run_or_sweep, help="Run or sweep: an id, a unique part, or `last`."
        ),
    ],
    value: Annotated[
        int | None, typer.Argument(metavar="[PRIORITY]", min=0, max=100, help="0 to 100; higher goes first.")
    ] = None,
    tier: Annotated[Tier | None, typer.Option(help="Goes before priority; high is for administrators.")] = None,
    preemptible: MayBeStopped = None,
    as_json: AsJson = False,
) -> None:
    """Change the place in the queue of a run, or of all unfinished runs of a sweep."""
    if value is None and tier is None and preemptible is None:
        raise BadInput("Say what to change: a priority from 0 to 100, --tier, or --preemptible.")
    with connect() as client:
        kind, found = find(client, reference)
        change = client.runs.change if kind == "run" else client.sweeps.change
        answer = change(found, priority=value, tier=tier, preemptible=preemptible)
    if as_json:
        print_json(answer)
        return
    gives_way = ", preemptible" if answer.preemptible else ""
    note(f"{kind} {answer.id} has priority {answer.priority}, tier {answer.tier}{gives_way}")


def _each(
    client: Client, references: list[str], run: _Verb, sweep: _Verb, tell: Callable[[_Answer], str], *, as_json: bool
) -> None:
    """Act on each and tell of it at once; of several, one that is refused does not hold up the others.

    All are looked up before anything is done, so that a mistyped one does nothing. Raises ApiError where the only one is
    refused, typer.Exit(1) where one of several is.
    """
    found = [find(client, reference) for reference in references]
    answers: list[_Answer] = []
    for kind, identity in found:
        try:
            answer = run(identity) if kind == "run" else sweep(identity)
        except ApiError as error:
            if len(found) == 1:
                raise
            note(f"prolu: {kind} {short(identity)}: {error}")
            continue
        answers.append(answer)
        if not as_json:
            note(tell(answer))
    if as_json:
        print_json(answers)
    if len(answers) < len(found):
        raise typer.Exit(1)


def _toward(goal: RunState, of_a_sweep: str) -> Callable[[_Answer], str]:
    """Say how far an answer is from the state that was wished for."""

    def tell(answer: _Answer) -> str:
        if isinstance(answer, SweepRead):
            there = all(state in {*TERMINAL, goal} for state, count in answer.states.items() if count)
            return f"sweep {answer.id}: {_states(answer)}" + ("" if there else f"; {of_a_sweep}")
        there = answer.state in {*TERMINAL, goal}
        return f"run {answer.id} is {answer.state}" + ("" if there else f", and will be {goal}")

    return tell


def _tried_again(answer: _Answer) -> str:
    if isinstance(answer, SweepRead):
        return f"sweep {answer.id}: {_states(answer)}"
    if answer.retry_of is None or answer.state != "queued":
        return f"run {answer.id} waits no longer for its next attempt"
    where = f"step {answer.step:,}" if answer.step else "the beginning"
    return f"run {answer.id} takes the place of run {answer.retry_of}, from {where}"


def _states(sweep: SweepRead) -> str:
    return ", ".join(f"{count} {state}" for state, count in sweep.states.items())


def _setting(text: str) -> tuple[str, Any]:
    """Read PATH=VALUE; the value is YAML, as in a file. Raises BadInput."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise BadInput(f"--set must be PATH=VALUE, such as sparsity.coefficient=0.002; got {text!r}.")
    try:
        return path, parse(value)
    except SpecError as error:
        raise BadInput(f"--set {path}: {error.mistakes[0].sentence}") from None
