"""`prolu pin`, `unpin`, `tag`, `note`, `archive`, `unarchive`: say something of what is there, and put it in order."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import typer

from prolu.client.cli import completing, output
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check
from prolu.client.cli.keeping import find_checkpoint
from prolu.client.cli.output import print_json, short, user_text
from prolu.client.cli.references import find
from prolu.client.client import Client
from prolu.client.errors import NotFound
from prolu.client.harmless import harmless
from prolu.client.runs import Runs
from prolu.client.sweeps import Sweeps
from prolu.client.wire import CheckpointRead, DecisionPatch, RunRead, SweepRead

References = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        autocompletion=completing.run_or_sweep,
        help="Runs or sweeps: ids, unique parts of them, or `last`.",
    ),
]
Archived = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...", autocompletion=completing.archived, help="Runs or sweeps: ids, or unique parts of them."
    ),
]
Pinnable = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        autocompletion=completing.run_or_sweep,
        help="Runs, sweeps or checkpoints: ids, unique parts of a run's or sweep's, or `last`.",
    ),
]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        autocompletion=completing.run_or_sweep,
        help="Run or sweep: an id, a unique part of one, or `last`.",
    ),
]
Step = Annotated[int | None, typer.Option(help="Not the run, but its checkpoint at this step.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# More characters than a note may have; what is longer is refused by its beginning.
_ENOUGH = 20_000

_Answer = RunRead | SweepRead | CheckpointRead


def pin(references: Pinnable, step: Step = None, as_json: AsJson = False) -> None:
    """Keep checkpoints, or all of a run or sweep, whatever a policy of deletion says."""
    _pinned(references, step, as_json=as_json, pinned=True)


def unpin(references: Pinnable, step: Step = None, as_json: AsJson = False) -> None:
    """Leave checkpoints, or all of a run or sweep, to policies of deletion again."""
    _pinned(references, step, as_json=as_json, pinned=False)


def tag(
    reference: Reference,
    tags: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TAG]...", help="Such as `baseline` or `paper:figure-3`; without any they are shown."),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Take this tag away; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add tags to a run or sweep, or take some away, or show those that it has."""
    if tags:
        check({"tags": tags}, DecisionPatch, "TAG")
    with connect() as client:
        things, identity = _thing(client, reference)
        changes = bool(tags or remove)
        answer = things.tag(identity, *(tags or []), remove=remove or []) if changes else _seen(things, identity)
    if as_json:
        print_json(answer)
    else:
        print(user_text(" ".join(answer.tags)))


def note(
    reference: Reference,
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="Markdown; - reads standard input. Without it the note is shown."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take the note away.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say something of a run or sweep, in place of what was said of it, or show that."""
    if clear and text is not None:
        raise BadInput("A note is written or cleared; give a text or --clear.")
    said = sys.stdin.read(_ENOUGH) if text == "-" else text
    if said is not None:
        check({"note": said}, DecisionPatch, "TEXT")
    with connect() as client:
        things, identity = _thing(client, reference)
        changes = clear or said is not None
        answer = things.note(identity, said or "") if changes else _seen(things, identity)
    if as_json:
        print_json(answer)
    elif answer.note:
        # As it was written, but for what would steer the terminal.
        print("\n".join(harmless(line) for line in answer.note.split("\n")))


def archive(references: References, as_json: AsJson = False) -> None:
    """Leave runs, or sweeps with all their runs, out of lists; they must have ended. `ls --archived` shows them."""
    _each(references, lambda things, identity: things.archive(identity), "is in the archive", as_json=as_json)


def unarchive(references: Archived, as_json: AsJson = False) -> None:
    """Take runs, or sweeps with all their runs, out of the archive."""
    _each(references, lambda things, identity: things.unarchive(identity), "is in the lists again", as_json=as_json)


_Things = Runs | Sweeps


def _pinned(references: list[str], step: int | None, *, as_json: bool, pinned: bool) -> None:
    answers: list[_Answer] = []
    with connect() as client:
        for reference in references:
            checkpoint = _checkpoint(client, reference, step)
            if checkpoint is not None:
                change = client.checkpoints.pin if pinned else client.checkpoints.unpin
                answers.append(change(checkpoint.id))
                named = f"checkpoint {checkpoint.id} (run {short(checkpoint.run_id)} at step {checkpoint.step:,})"
            else:
                things, identity = _thing(client, reference)
                answers.append(things.pin(identity) if pinned else things.unpin(identity))
                named = str(identity)
            if not as_json:
                output.note(f"{named} is {'pinned' if pinned else 'not pinned'}")
    if as_json:
        print_json(answers)


def _checkpoint(client: Client, reference: str, step: int | None) -> CheckpointRead | None:
    """The checkpoint that is meant; None where it is a run or a sweep."""
    if step is not None:
        return find_checkpoint(client, reference, step)
    try:
        return client.checkpoints.get(UUID(reference))
    except (ValueError, NotFound):
        return None


def _each(
    references: list[str], change: Callable[[_Things, UUID], RunRead | SweepRead], told: str, *, as_json: bool
) -> None:
    answers = []
    with connect() as client:
        for things, identity in [_thing(client, reference) for reference in references]:
            answers.append(change(things, identity))
            if not as_json:
                output.note(f"{identity} {told}")
    if as_json:
        print_json(answers)


def _thing(client: Client, reference: str) -> tuple[_Things, UUID]:
    kind, identity = find(client, reference)
    return (client.runs if kind == "run" else client.sweeps), identity


def _seen(things: _Things, identity: UUID) -> RunRead | SweepRead:
    return things.get(identity)
