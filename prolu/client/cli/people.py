"""`prolu whoami`, and `prolu user list|add|set|disable|enable`, which are for administrators."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check
from prolu.client.cli.output import ago, note, out, print_json, table, user_text
from prolu.client.wire import LimitsRead, Role, UserCreate, UserPatch, UserRead

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UserArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the user.")]
Weight = Annotated[
    float | None, typer.Option(help="Theirs of the cluster, against the weights of others; 1 by default.")
]

EVERYBODY = "default"

users = typer.Typer(name="user", help="Make, change and list users; for administrators.", no_args_is_help=True)


def whoami(as_json: AsJson = False) -> None:
    """Say whose token this is, what it is good for and until when, and what is used of the limits."""
    with connect() as client:
        me, url = client.me(), client.url
    if as_json:
        print_json(me)
        return
    ends = "does not end" if me.token_expires_at is None else f"ends {me.token_expires_at:%Y-%m-%d %H:%M} UTC"
    out().print(f"{user_text(me.name)}, {me.role}, at {user_text(url)}")
    out().print(f"token: scope {me.scope}, {ends}")
    for line in _limits(me.limits):
        out().print(line)


@users.command("list")
def list_users(as_json: AsJson = False) -> None:
    """Show all users: what they may, their limits, and what of theirs goes on."""
    with connect() as client:
        found = client.users.list()
    if as_json:
        print_json(found)
        return
    columns = {"user": "left", "role": "left", "weight": "right", "queue": "right", "going on": "right", "": "left"}
    out().print(table(columns, map(_cells, found)))


@users.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and . _ - @, such as ada.")],
    role: Annotated[Role, typer.Option(help="A viewer reads, a member submits, an admin may everything.")] = "member",
    weight: Weight = None,
    max_queued: Annotated[int | None, typer.Option(min=1, help="Runs that they may have waiting at once.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a user."""
    given = check(
        {"name": name, "role": role, "weight": 1.0 if weight is None else weight, "max_queued": max_queued},
        UserCreate,
        "user",
    )
    with connect() as client:
        made = client.users.create(**given.model_dump())
    if as_json:
        print_json(made)
    else:
        note(f"user {made.name} is made, a {made.role}; give them a token: prolu token create --user {made.name} NAME")


@users.command("set")
def change(
    name: UserArgument,
    role: Annotated[
        Role | None, typer.Option(help="A viewer reads, a member submits, an admin may everything.")
    ] = None,
    weight: Weight = None,
    max_queued: Annotated[
        str | None, typer.Option(metavar="RUNS", help="That may wait at once; `default` is as for everybody.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a user's role, weight or limit."""
    changes: dict[str, Any] = {"role": role, "weight": weight}
    changes = {option: value for option, value in changes.items() if value is not None}
    if max_queued is not None:
        changes["max_queued"] = _runs(max_queued)
    if not changes:
        raise BadInput("Say what to change: --role, --weight or --max-queued.")
    check(changes, UserPatch, "user")
    _change(name, as_json=as_json, **changes)


@users.command()
def disable(name: UserArgument, as_json: AsJson = False) -> None:
    """Have a user's tokens count for nothing until they are enabled. Their runs go on."""
    _change(name, as_json=as_json, disabled=True)


@users.command()
def enable(name: UserArgument, as_json: AsJson = False) -> None:
    """Have the tokens of a disabled user count again."""
    _change(name, as_json=as_json, disabled=False)


def _change(name: str, *, as_json: bool, **changes: Any) -> None:
    with connect() as client:
        changed = client.users.change(name, **changes)
    if as_json:
        print_json(changed)
        return
    limit = EVERYBODY if changed.max_queued is None else changed.max_queued
    note(f"user {changed.name} is {_standing(changed)}; weight {changed.weight:g}, runs that may wait: {limit}")
    if changes.get("disabled") and changed.unfinished_runs:
        note(
            f"{changed.unfinished_runs} of their runs go on; see them with `prolu queue`, end them with `prolu cancel`"
        )


def _standing(user: UserRead) -> str:
    return "disabled" if user.disabled else ("an admin" if user.role == "admin" else f"a {user.role}")


def _runs(text: str) -> int | None:
    if text == EVERYBODY:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadInput(f"--max-queued must be a number of runs, or `{EVERYBODY}`; got {text[:80]!r}.")
    return int(text)


def _cells(user: UserRead) -> tuple[str, ...]:
    return (
        user_text(user.name),
        user.role,
        f"{user.weight:g}",
        EVERYBODY if user.max_queued is None else f"{user.max_queued:,}",
        f"{user.unfinished_runs:,}",
        f"disabled {ago(user.disabled_at)}" if user.disabled else "",
    )


def _limits(limits: LimitsRead) -> list[str]:
    lines = [
        f"runs that wait: {limits.queued:,} of {_most(limits.max_queued)}",
        f"GPUs in use: {limits.gpus:g} of {_most(limits.max_gpus)}",
    ]
    if limits.max_requests_per_second is not None:
        lines.append(f"requests: {limits.max_requests_per_second:g} per second, {limits.request_burst} at once")
    return lines


def _most(limit: float | None) -> str:
    return "any number" if limit is None else f"{limit:,g}"
