"""`prolu queue`, `explain`, `shares`, `nodes`, `drain`, `undrain`: who is next, why, and where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.output import ago, note, out, print_json, short, span, state, table, user_text
from prolu.client.cli.references import find_run
from prolu.client.wire import ExplainRead, NodeRead, QueueEntry, QueueRead, ScoreRead, ShareRead

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NodeName = Annotated[
    str, typer.Argument(metavar="NODE", autocompletion=completing.node, help="Its name, as `prolu nodes` shows it.")
]

_LIVE = {"id": "left", "name": "left", "owner": "left", "state": "left", "step": "right"}
_WAITING = {
    "": "right",
    "id": "left",
    "name": "left",
    "owner": "left",
    "score": "right",
    "starts": "right",
    "why": "left",
}
_TIERS = {-1: "low", 0: "normal", 1: "high"}


def queue(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most so many that wait.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what trains, what waits in which order and why, and the cluster."""
    with connect() as client:
        seen = client.queue(limit=limit)
    if as_json:
        print_json(seen)
    else:
        _print_queue(seen)


def explain(
    reference: Annotated[
        str,
        typer.Argument(metavar="RUN", autocompletion=completing.run, help="An id, a unique part of one, or `last`."),
    ] = "last",
    as_json: AsJson = False,
) -> None:
    """Say why a run waits, what stands before it, and when it would start."""
    with connect() as client:
        found = client.runs.explain(find_run(client, reference))
    if as_json:
        print_json(found)
    else:
        _print_explanation(found)


def shares(as_json: AsJson = False) -> None:
    """Show how much of the cluster each user has had of late, beside how much is theirs."""
    with connect() as client:
        found = client.shares()
    if as_json:
        print_json(found)
        return
    columns = {
        "user": "left",
        "had": "right",
        "is due": "right",
        "GPU-hours": "right",
        "works": "right",
        "waits": "right",
    }
    title = f"shares; half-life {found.half_life_days:g} days"
    out().print(table(columns, map(_share_cells, found.shares), title=title))


def nodes(as_json: AsJson = False) -> None:
    """Show the nodes of the cluster."""
    with connect() as client:
        found = client.nodes.list()
    if as_json:
        print_json(found)
        return
    columns = {"node": "left", "CPUs": "right", "GPUs": "right", "type": "left", "memory": "right", "": "left"}
    out().print(table(columns, map(_node_cells, found)))


def drain(
    node: NodeName,
    evict: Annotated[
        bool, typer.Option("--evict", help="Have what runs there checkpoint and go back to the queue.")
    ] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="A note for others.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have a node start nothing more until `prolu undrain`, also if Ray is restarted there; for administrators."""
    with connect() as client:
        drained = client.nodes.drain(node, evict=evict, reason=reason)
    if as_json:
        print_json(drained)
    else:
        rest = "what runs there goes back to the queue" if evict else "what runs there may end in peace"
        note(f"node {drained.name} starts nothing more; {rest}; undo it with: prolu undrain {drained.name}")


def undrain(node: NodeName, as_json: AsJson = False) -> None:
    """Have a drained node start runs again; for administrators."""
    with connect() as client:
        client.nodes.undrain(node)
        nodes = client.nodes.list() if as_json else []
    if as_json:  # a node that is drained and away is not listed any more
        print_json([one for one in nodes if one.name == node])
    else:
        note(f"node {node} starts runs again")


def _print_queue(seen: QueueRead) -> None:
    console = out()
    cluster = "; ".join(_offer(node) for node in seen.nodes)
    console.print(f"[bold]cluster[/]  {cluster or 'no node seen yet'} (dispatcher seen {ago(seen.dispatcher_seen_at)})")
    for title, columns, cells, entries in (
        (f"training: {len(seen.live)}", _LIVE, _live_cells, seen.live),
        (f"waiting: {seen.waiting_count}", _WAITING, _waiting_cells, seen.waiting),
    ):
        console.print(table(columns, map(cells, entries), title=title) if entries else f"[bold]{title}[/]")
    if seen.waiting_count > len(seen.waiting):
        note(f"{seen.waiting_count - len(seen.waiting)} more wait; show them with --limit")


def _print_explanation(found: ExplainRead) -> None:
    console = out()
    console.print(f"[bold]run {short(found.run_id)}[/] is {state(found.state)}. {user_text(found.reason)}")
    if found.position is None or found.score is None:
        return
    console.print(f"place {found.position}: {_in_words(found.score)}")
    if found.share is not None:
        share = found.share
        console.print(f"share of {user_text(share.user)}: had {share.usage_share:.0%}, is due {share.target_share:.0%}")
    if found.estimated_start is not None:
        console.print(
            f"would start {_in(found.estimated_start)}, if runs take as long as others of their sweeps, or as they may"
        )
    if found.starts_at_the_latest is not None:
        console.print(f"starts {_in(found.starts_at_the_latest)} at the latest, by the time limits of those that train")
    if found.ahead:
        columns = {"": "right", "id": "left", "owner": "left", "score": "right", "why it waits": "left"}
        rows = [
            (
                str(one.position),
                short(one.run_id),
                user_text(one.owner),
                f"{one.score.total:.0f}",
                user_text(one.reason),
            )
            for one in found.ahead
        ]
        console.print(table(columns, rows, title=f"ahead of it: {found.ahead_count}"))


def _live_cells(entry: QueueEntry) -> tuple[str, ...]:
    run = entry.run
    step = f"{run.step:,}/{run.total_steps:,}"
    return short(run.id), user_text(run.name or run.variant), user_text(run.owner), state(run.state), step


def _waiting_cells(entry: QueueEntry) -> tuple[str, ...]:
    run = entry.run
    return (
        str(entry.position),
        short(run.id),
        user_text(run.name or run.variant),
        user_text(run.owner),
        f"{entry.score.total:.0f}" if entry.score else "",
        _in(entry.estimated_start) if entry.estimated_start else "",
        user_text(entry.reason or ""),
    )


def _share_cells(share: ShareRead) -> tuple[str, ...]:
    works = f"{share.live_runs} ({share.live_gpus:g} GPUs)" if share.live_gpus else str(share.live_runs)
    return (
        user_text(share.user),
        f"{share.usage_share:.1%}",
        f"{share.target_share:.1%}",
        f"{share.gpu_seconds / 3600:.2f}",
        works,
        str(share.waiting_runs),
    )


def _node_cells(node: NodeRead) -> tuple[str, ...]:
    return (
        user_text(node.name),
        f"{node.cpus:g}",
        f"{node.gpus:g}",
        user_text(node.gpu_type or ""),
        f"{node.memory_gb:.0f} GiB",
        _draining(node),
    )


def _draining(node: NodeRead) -> str:
    if not node.draining:
        return ""
    reason = f": {user_text(node.drain_reason)}" if node.drain_reason else ""
    return ("draining, its runs leave" if node.evicting else "draining") + reason


def _offer(node: NodeRead) -> str:
    kind = f" {user_text(node.gpu_type)}" if node.gpu_type else ""
    draining = ", draining" if node.draining else ""
    return f"{user_text(node.name)}: {node.cpus:g} CPUs, {node.gpus:g}{kind} GPUs, {node.memory_gb:.0f} GiB{draining}"


def _in_words(score: ScoreRead) -> str:
    tier = f"tier {_TIERS.get(score.tier, score.tier)}, " if score.tier else ""
    return (
        f"{tier}score {score.total:.0f} = {score.priority:.0f} for its priority + {score.fair:.0f} for its owner's share "
        f"+ {score.age:.0f} for its age"
    )


def _in(moment: datetime) -> str:
    """How far off a moment is, in the largest fitting unit."""
    seconds = (moment - datetime.now(UTC)).total_seconds()
    if seconds < 1:
        return "now"
    return f"in {span(seconds)}"
