"""`prolu token create|list|revoke`: one's own, and for administrators everybody's. No command takes a token as an argument."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check
from prolu.client.cli.durations import seconds_of
from prolu.client.cli.output import ago, note, out, print_json, table, user_text
from prolu.client.cli.references import NoSuchThing
from prolu.client.client import Client
from prolu.client.wire import Scope, TokenCreate, TokenCreated, TokenRead

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_FEWEST_DIGITS = 4
_DAY_SECONDS = 86_400

tokens = typer.Typer(name="token", help="Make, list and revoke tokens.", no_args_is_help=True)


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, such as laptop.")],
    scope: Annotated[
        Scope,
        typer.Option(help="What it is good for: to read, to write (submit and decide), or admin, for everything."),
    ] = "write",
    good_for: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long it is good, such as 12h or 30d.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose it shall be; for administrators.")] = None,
    file: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write it to a new file that only you can read.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it: this once."""
    seconds = seconds_of("--for", good_for)
    days = None if seconds is None else seconds / _DAY_SECONDS
    check({"name": name, "scope": scope, "expires_in_days": days, "user": user}, TokenCreate, "token")
    descriptor = None if file is None else _new_file(file)
    try:
        with connect() as client:
            made = client.tokens.create(name, scope=scope, expires_in_days=days, user=user)
    except BaseException:
        if file is not None:
            file.unlink()
        raise
    if descriptor is not None:
        with os.fdopen(descriptor, "w") as out_file:
            out_file.write(made.token + "\n")
    _tell(made, client.url, file, as_json=as_json)


@tokens.command("list")
def list_tokens(
    user: Annotated[str | None, typer.Option(help="Only those of this user; for administrators.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that count for nothing any more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show your tokens, or as an administrator everybody's: what for, how long, and last used when."""
    with connect() as client:
        found = client.tokens.list(user=user)
    shown = [token for token in found if everything or _standing(token) == ""]
    if as_json:
        print_json(shown)
        return
    columns = {
        "id": "left",
        "user": "left",
        "name": "left",
        "scope": "left",
        "made": "right",
        "ends": "left",
        "last used": "right",
        "": "left",
    }
    out().print(table(columns, map(_cells, shown), yields="name"))


@tokens.command()
def revoke(
    reference: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, or a unique part of it.")],
    as_json: AsJson = False,
) -> None:
    """Have a token count for nothing, for good; by its id, never by itself."""
    with connect() as client:
        revoked = client.tokens.revoke(_find(client, reference))
    if as_json:
        print_json(revoked)
    else:
        note(f"token {revoked.id} ({revoked.name}, of {revoked.user}) counts for nothing any more")


def _tell(made: TokenCreated, url: str, file: Path | None, *, as_json: bool) -> None:
    ends = "" if made.expires_at is None else f", until {made.expires_at:%Y-%m-%d %H:%M} UTC"
    if file is not None:
        if as_json:
            print_json(TokenRead.model_validate(made.model_dump()))
        note(
            f"token {made.name} of {made.user} ({made.scope}{ends}) is in {file}; use it with PROLU_URL={url} "
            f"PROLU_TOKEN_FILE={file}"
        )
        return
    if as_json:
        print_json(made)
    else:
        print(made.token)
    note(
        f"token {made.name} of {made.user} ({made.scope}{ends}) is shown this once. Use it with PROLU_URL={url}, and "
        "put it into PROLU_TOKEN, or into a file that only you can read and its path into PROLU_TOKEN_FILE; never into an "
        "argument or a repository."
    )


def _new_file(file: Path) -> int:
    """Make the file before the token, so that none is made that nobody gets. Raises BadInput."""
    try:
        return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInput(f"Cannot make {file} ({error.strerror}); name a file that does not exist yet.") from None


def _find(client: Client, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        pass
    part = text.lower().replace("-", "")
    if len(part) < _FEWEST_DIGITS or not set(part) <= set("0123456789abcdef"):
        raise BadInput(f"That is no id of a token: give a whole one, or at least {_FEWEST_DIGITS} digits of one.")
    fitting = [
        token.id for token in client.tokens.list() if token.id.hex.startswith(part) or token.id.hex.endswith(part)
    ]
    if not fitting:
        raise NoSuchThing(f"No token has an id that begins or ends with {part!r}; look with `prolu token list --all`.")
    if len(fitting) > 1:
        raise BadInput(f"{part!r} fits {len(fitting)} tokens; give more digits.")
    return fitting[0]


def _standing(token: TokenRead) -> str:
    if token.revoked_at is not None:
        return f"revoked {ago(token.revoked_at)}"
    return "expired" if token.expires_at is not None and token.expires_at <= datetime.now(UTC) else ""


def _cells(token: TokenRead) -> tuple[str, ...]:
    return (
        str(token.id)[-8:],
        user_text(token.user),
        user_text(token.name),
        token.scope,
        ago(token.created_at),
        "never" if token.expires_at is None else f"{token.expires_at:%Y-%m-%d}",
        ago(token.last_used_at),
        _standing(token),
    )
