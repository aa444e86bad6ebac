"""From what people type to an id: a whole id, a unique part of one (its beginning or its end), or `last`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from prolu.client.cli.documents import BadInput
from prolu.client.cli.output import short
from prolu.client.client import Client
from prolu.client.errors import NotFound, ProluError
from prolu.client.wire import RunSummary, SweepRead

Kind = Literal["run", "sweep"]

LAST = "last"
_LISTED = 6
_FEWEST_DIGITS, _MOST_DIGITS = 4, 32
_PART = re.compile(r"[0-9a-f-]+")


class NoSuchThing(ProluError):
    """No run or sweep fits what was typed."""


def find_run(client: Client, text: str) -> UUID:
    """The run that is meant. Raises BadInput, NoSuchThing."""
    if whole := _whole(text):
        return whole
    if text == LAST:
        return _newest(client.runs.list(limit=1), "run")
    return _only(text, _runs(client, _digits(text)), "run")[1]


def find_sweep(client: Client, text: str) -> UUID:
    """The sweep that is meant. Raises BadInput, NoSuchThing."""
    if whole := _whole(text):
        return whole
    if text == LAST:
        return _newest(client.sweeps.list(limit=1), "sweep")
    return _only(text, _sweeps(client, _digits(text)), "sweep")[1]


def find(client: Client, text: str) -> tuple[Kind, UUID]:
    """The run or sweep that is meant; `last` is the sweep if the newest run belongs to one.

    Raises BadInput, NoSuchThing, NotFound.
    """
    if whole := _whole(text):
        try:
            return "run", client.runs.get(whole).id
        except NotFound:
            return "sweep", client.sweeps.get(whole).id
    if text == LAST:
        newest = client.runs.list(limit=1)
        if newest and newest[0].sweep_id is not None:
            return "sweep", newest[0].sweep_id
        return "run", _newest(newest, "run")
    digits = _digits(text)
    return _only(text, _runs(client, digits) + _sweeps(client, digits), "run or sweep")


def _whole(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _newest(found: Sequence[RunSummary] | Sequence[SweepRead], noun: str) -> UUID:
    if not found:
        raise NoSuchThing(f"There is no {noun} yet; submit one first.")
    return found[0].id


def _digits(text: str) -> str:
    """What was typed of an id, without hyphens. Raises BadInput."""
    part = text.lower()
    digits = part.replace("-", "")
    if not _PART.fullmatch(part) or not _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS:
        raise BadInput(f"{text!r} is no id: give a whole one, at least {_FEWEST_DIGITS} digits of one, or `last`.")
    return digits


def _runs(client: Client, digits: str) -> list[tuple[Kind, UUID]]:
    return [("run", run.id) for run in client.runs.list(id=digits, archived=True, limit=_LISTED)]


def _sweeps(client: Client, digits: str) -> list[tuple[Kind, UUID]]:
    return [("sweep", sweep.id) for sweep in client.sweeps.list(id=digits, archived=True, limit=_LISTED)]


def _only(text: str, matches: Sequence[tuple[Kind, UUID]], noun: str) -> tuple[Kind, UUID]:
    if not matches:
        raise NoSuchThing(f"No {noun} has an id that begins or ends with {text!r}; look with `prolu ls`.")
    if len(matches) > 1:
        listed = ", ".join(short(found) for _, found in matches[:5]) + (", ..." if len(matches) > 5 else "")
        many = f"{len(matches)} {noun}s" if len(matches) < _LISTED else f"{_LISTED} {noun}s or more"
        raise BadInput(f"{text!r} fits {many} ({listed}); give more digits.")
    return matches[0]
