"""Where the service is and how to speak to it: from arguments, the environment, or the notes that `prolu up` left."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_data_path

from prolu.client.errors import ConnectionFailed, UnusableToken

ENDPOINT_FILE = "endpoint.json"
TOKEN_FILE = "token"  # noqa: S105 a name
_SENDABLE = re.compile(r"[\x21-\x7e]+")  # what stands after "Bearer " in a header


@dataclass(frozen=True)
class Place:
    """A service: its address, what to show at its door, and who said so."""

    url: str
    token: str | None = field(repr=False)
    source: str


def data_dir(environment: Mapping[str, str] | None = None) -> Path:
    """Where `prolu up` keeps everything: PROLU_DATA_DIR, else the user's data folder of the operating system."""
    environment = os.environ if environment is None else environment
    named = environment.get("PROLU_DATA_DIR")
    return Path(named).expanduser().absolute() if named else user_data_path("prolu")


def locate(url: str | None = None, token: str | None = None, environment: Mapping[str, str] | None = None) -> Place:
    """Find the service and its token.

    Raises ConnectionFailed if nothing says where one is, UnusableToken if no header can carry the token.

    The token that lies in the data directory is for the service of this machine: it is never sent to another address. The file
    that PROLU_TOKEN_FILE names is read for any, as PROLU_TOKEN is.
    """
    environment = os.environ if environment is None else environment
    here = data_dir(environment)
    if token is not None:
        token = _sendable(token, "argument")
    elif (named_token := environment.get("PROLU_TOKEN")) is not None:
        token = _sendable(named_token, "in PROLU_TOKEN")
    if named := url or environment.get("PROLU_URL"):
        if token is None and (environment.get("PROLU_TOKEN_FILE") or _noted_url(here) == named.rstrip("/")):
            token = noted_token(environment)
        return Place(named.rstrip("/"), token, "the url argument" if url else "PROLU_URL")
    noted = _noted_url(here)
    if noted is None:
        raise ConnectionFailed(
            f"No service is known: PROLU_URL is not set and {here / ENDPOINT_FILE} does not exist; "
            "start one with `prolu up`, or set PROLU_URL and PROLU_TOKEN."
        )
    return Place(noted, token or noted_token(environment), str(here / ENDPOINT_FILE))


def noted_token(environment: Mapping[str, str]) -> str | None:
    """The token in PROLU_TOKEN_FILE, else that which the service of this machine left, or None without a file.

    Raises ConnectionFailed, UnusableToken.
    """
    named = environment.get("PROLU_TOKEN_FILE")
    path = Path(named).expanduser() if named else data_dir(environment) / TOKEN_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConnectionFailed(
            f"Cannot read the token in {path} ({error.strerror}); set PROLU_TOKEN instead."
        ) from None
    return _sendable(content.decode(errors="replace").strip(), f"in {path}")


def _sendable(token: str, place: str) -> str:
    if _SENDABLE.fullmatch(token):
        return token
    got = "holds something else" if token.strip() else "is empty"
    raise UnusableToken(
        f"The token {place} {got}; a token is made of printable ASCII characters without spaces: copy it anew."
    )


def _noted_url(here: Path) -> str | None:
    try:
        note = json.loads((here / ENDPOINT_FILE).read_text(encoding="utf-8"))
        return str(note["url"]).rstrip("/")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ConnectionFailed(
            f"{here / ENDPOINT_FILE} is not what `prolu up` writes; remove it and start `prolu up` again."
        ) from None
