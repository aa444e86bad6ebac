"""`prolu checkpoints`, `verify`, `prune`, `delete`: what is kept of the work, whether it is whole, and what may go."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check
from prolu.client.cli.keeping import find_checkpoint
from prolu.client.cli.output import ago, note, out, print_json, short, size, table
from prolu.client.cli.references import find
from prolu.client.wire import CheckpointRead, FileVerdict, KeepBest, PrunedRead, PruneRead

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Step = Annotated[int | None, typer.Option(help="Step of the run's checkpoint; by default the last one.")]


def checkpoints(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="Run or sweep: an id, a unique part of one, or `last`; by default all of them."
        ),
    ] = None,
    final: Annotated[bool, typer.Option("--final", help="Only those that are the last of a run that ended.")] = False,
    pinned: Annotated[bool, typer.Option("--pinned", help="Only those that are pinned.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List checkpoints, the newest first."""
    with connect() as client:
        kind, found = ("all", None) if reference is None else find(client, reference)
        listed = client.checkpoints.list(
            run=found if kind == "run" else None,
            sweep=found if kind == "sweep" else None,
            final=final or None,
            pinned=pinned or None,
            limit=limit,
        )
    if as_json:
        print_json(listed)
        return
    columns = {"id": "left", "run": "left", "step": "right", "size": "right", "kept": "left", "written": "right"}
    out().print(table(columns, [_cells(one) for one in listed], yields="kept"))


def verify(
    references: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="Checkpoints, or runs: ids, unique parts of a run's, or `last`."),
    ],
    step: Step = None,
    as_json: AsJson = False,
) -> None:
    """Have the service read checkpoints and compare every file with its checksum; exit status 1 if one differs."""
    with connect() as client:
        found = [find_checkpoint(client, reference, step) for reference in references]
        verdicts = [client.checkpoints.verify(one.id) for one in found]
    if as_json:
        print_json(verdicts)
    else:
        for one, verdict in zip(found, verdicts, strict=True):
            bad = [file for file in verdict.files if file.state != "good"]
            told = "; ".join(map(_differs, bad)) or f"{len(verdict.files)} files are as they were written"
            note(f"run {short(one.run_id)} at step {one.step:,}: {told}")
    if not all(verdict.good for verdict in verdicts):
        raise typer.Exit(1)


def prune(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ID", autocompletion=completing.run_or_sweep, help="Run or sweep: an id, a unique part, or `last`."
        ),
    ],
    keep_last: Annotated[int, typer.Option(min=0, help="Keep the latest so many of each run.")] = 0,
    keep_best: Annotated[
        int, typer.Option(min=0, help="Keep so many that are the best by --metric; of a sweep, of all its runs.")
    ] = 0,
    metric: Annotated[str | None, typer.Option(help="Held-out metric that --keep-best goes by, such as fvu.")] = None,
    goal: Annotated[str, typer.Option(metavar="min|max", help="Which values of the metric are the best.")] = "min",
    keep_final: Annotated[
        bool, typer.Option("--keep-final/--drop-final", help="Whether the last one of a run that ended stays.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and what it would free.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the checkpoints of a run, or of a sweep's runs, that no rule keeps; what is pinned or needed stays."""
    best = _best(keep_best, metric, goal)
    with connect() as client:
        kind, found = find(client, reference)
        pruned = client.checkpoints.prune(
            run=found if kind == "run" else None,
            sweep=found if kind == "sweep" else None,
            keep_last=keep_last,
            keep_best=best,
            keep_final=keep_final,
            dry_run=dry_run,
        )
    if as_json:
        print_json(pruned)
        return
    if dry_run:
        columns = {"checkpoint": "left", "run": "left", "step": "right", "size": "right", "stays as": "left"}
        out().print(table(columns, [_pruned_cells(one) for one in pruned.checkpoints]))
    note(_sum_of(pruned))


def delete(
    checkpoints: Annotated[list[str], typer.Argument(metavar="ID...", help="Checkpoints, by their whole ids.")],
    as_json: AsJson = False,
) -> None:
    """Delete checkpoints for ever; one that is pinned, or that a run goes on from, is refused."""
    found = [_whole(text) for text in checkpoints]
    with connect() as client:
        for one in found:
            client.checkpoints.delete(one)
            if not as_json:
                note(f"checkpoint {one} is deleted")
    if as_json:
        print_json([{"id": str(one), "deleted": True} for one in found])


def _best(count: int, metric: str | None, goal: str) -> KeepBest | None:
    if (count > 0) != (metric is not None):
        raise BadInput(
            "--keep-best and --metric belong together, such as --keep-best 3 --metric fvu; give both or none."
        )
    if metric is None:
        return None
    goals: dict[str, Literal["min", "max"]] = {"min": "min", "max": "max"}
    if goal not in goals:
        raise BadInput(f"--goal must be min or max; got {goal!r}.")
    return check({"count": count, "metric": metric, "goal": goals[goal]}, KeepBest, "--keep-best")


def _whole(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadInput(
            f"{text!r} is no whole id of a checkpoint; `prolu checkpoints` lists them, and what is deleted does not come back."
        ) from None


def _cells(one: CheckpointRead) -> list[str]:
    kept = ", ".join(name for name, holds in (("pinned", one.pinned), ("final", one.final)) if holds)
    return [str(one.id), short(one.run_id), f"{one.step:,}", size(one.bytes), kept or "-", ago(one.created_at)]


def _pruned_cells(one: PrunedRead) -> list[str]:
    return [str(one.id), short(one.run_id), f"{one.step:,}", size(one.bytes), ", ".join(one.kept_as) or "goes"]


def _sum_of(pruned: PruneRead) -> str:
    goes = "would go" if pruned.dry_run else "are deleted"
    return (
        f"{pruned.deleted} checkpoints ({size(pruned.deleted_bytes)}) {goes}, "
        f"{pruned.kept} ({size(pruned.kept_bytes)}) stay"
    )


def _differs(file: FileVerdict) -> str:
    return f"{file.name} is {file.state}" + (f" ({file.bytes} bytes)" if file.bytes is not None else "")
