"""`/v1/events`: what happens to all runs, to those of a sweep, or to one, as it happens."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from service.api.context import Parts, Services, User
from service.api.following import Event, News
from service.api.logs import LastEventId
from service.api.parameters import wrong_parameters
from service.api.streams import MEDIA_TYPE, EventStream
from service.domain.errors import WrongParameter
from service.store import events, lists

router = APIRouter(prefix="/v1/events", tags=["events"])

_NUMBER = re.compile(r"\d{1,18}")


@router.get(
    "",
    operation_id="follow_events",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}, 404: {}},
)
def follow_events(
    services: Parts,
    _: User,
    run_id: Annotated[UUID | None, Query(description="Only of this run.")] = None,
    sweep_id: Annotated[UUID | None, Query(description="Only of the runs of this sweep.")] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow what happens from now on, or after `Last-Event-ID` (0 is the beginning), as server-sent events.

    Each message `event` is what `/v1/runs/{id}/events` lists; its id is the event's. Ids rise in the order in which events
    become visible: whoever comes back with the last one misses nothing and sees nothing twice. A stream is closed after a
    while; come back.
    """
    with services.database.read() as session:
        if run_id is not None:
            lists.owner_of(session, run_id)
        if sweep_id is not None:
            lists.require_sweep(session, sweep_id)
    after = None if last_event_id is None else _number(last_event_id)
    return EventStream(services.streams, _Events(services, run_id, sweep_id), after)


@dataclass(frozen=True)
class _Events:
    """Events of everything, of a run, or of a sweep. A place is the number of an event; None is where it begins from now on."""

    services: Services = field(repr=False, compare=False)
    run_id: UUID | None
    sweep_id: UUID | None

    def topic(self) -> tuple[Literal["events"], UUID | None]:
        return "events", self.run_id or self.sweep_id

    def look(self, place: Hashable) -> News:
        after = cast("int | None", place)
        with self.services.database.read() as session:
            settled = self.services.settled.up_to(session)
            if settled is None:
                return News(place)
            if after is None:  # from now on; the id is for a client that leaves before the first event
                return News(settled, [Event(str(settled))])
            found = events.between(session, after, settled, run_id=self.run_id, sweep_id=self.sweep_id)
        up_to = found[-1].id if len(found) == events.AT_ONCE else settled
        return News(max(after, up_to), [Event(str(event.id), "event", event) for event in found])


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        sentence = f"Last-Event-ID must be the id of an event, or 0 for the first one; got {text[:80]!r}."
        raise wrong_parameters([WrongParameter(("header", "Last-Event-ID"), sentence)])
    return int(text)
