"""The client as the commands use it: one that says when it waits."""

from __future__ import annotations

from prolu.client.cli.output import note
from prolu.client.client import Client

_WORTH_TELLING_SECONDS = 2.0


def connect() -> Client:
    """The client of the service that the environment names; a wait that people would notice is told on standard error."""
    return Client(on_wait=_tell)


def _tell(seconds: float, why: str) -> None:
    if seconds >= _WORTH_TELLING_SECONDS:
        note(f"prolu: trying again in {seconds:.0f} s, since {' '.join(why.split())}")
