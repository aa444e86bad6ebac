"""`/v1/runs/{id}/logs`: what the attempts of a run logged, as a list or as it comes."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from prolu.client.wire import LogRead, Page
from service.api.context import Parts, Services, User
from service.api.following import Event, News
from service.api.lists import Cursor, Limit
from service.api.parameters import wrong_parameters
from service.api.streams import MEDIA_TYPE, EventStream
from service.domain.errors import WrongParameter
from service.store import logs
from service.store.lists import owner_of as require_run
from service.store.logs import BEGINNING, Position

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_POSITION = re.compile(r"(\d{1,9})-(\d{1,18})")

LastEventId = Annotated[
    str | None,
    Header(
        max_length=100, description="Of a stream that broke off: the `id` of its last message; the next one follows it."
    ),
]


@router.get(
    "/{run_id}/logs",
    operation_id="list_logs",
    response_model=Page[LogRead],
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
        404: {},
    },
)
def list_logs(
    run_id: UUID,
    services: Parts,
    _: User,
    epoch: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Only of this attempt.")] = None,
    tail: Annotated[
        int | None, Query(ge=1, le=10_000, description="Only the last so many lines; takes no cursor.")
    ] = None,
    follow: Annotated[
        bool,
        Query(description="Stay, and send what is logged as it comes (server-sent events), until the run has ended."),
    ] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
    last_event_id: LastEventId = None,
    accept: Annotated[str, Header(description="`text/event-stream` is the same as `follow=true`.")] = "",
) -> Page[LogRead] | Response:
    """What the run's attempts logged and printed, oldest first: reports of whole lines.

    Followed, each report is a message `log` with the id `EPOCH-SEQ`, and the last message is `end`.
    """
    follows = follow or MEDIA_TYPE in accept.lower()
    if cursor is not None and (follows or tail is not None):
        raise wrong_parameters(
            [WrongParameter(("query", "cursor"), "cursor goes with neither tail nor follow; leave it out.")]
        )
    with services.database.read() as session:
        if follows and last_event_id is not None:
            begin, after = [], _position(last_event_id)
        elif tail is not None:
            begin = logs.tail(session, run_id, epoch=epoch, lines=tail)
            after = (begin[-1].epoch, begin[-1].seq) if begin else BEGINNING
        elif follows:
            begin, after = [], BEGINNING
        else:
            return logs.page(session, run_id, epoch=epoch, limit=limit, cursor=cursor)
        if not follows:
            return Page(items=begin)
        require_run(session, run_id)  # so that an unknown one is a problem, and not a stream
    first = [_event(read) for read in begin]
    return EventStream(services.streams, _Logs(services, run_id, epoch), after, first=first)


@dataclass(frozen=True)
class _Logs:
    """What a run, or one attempt at it, logs."""

    services: Services = field(repr=False, compare=False)
    run_id: UUID
    epoch: int | None

    def topic(self) -> tuple[Literal["run"], UUID]:
        return "run", self.run_id

    def look(self, place: Hashable) -> News:
        with self.services.database.read() as session:
            found, end = logs.news(session, self.run_id, cast("Position", place), epoch=self.epoch)
        events = [_event(read) for read in found]
        if end is not None:
            events.append(Event(None, "end", end))
        return News((found[-1].epoch, found[-1].seq) if found else place, events, over=end is not None)


def _event(read: LogRead) -> Event:
    return Event(f"{read.epoch}-{read.seq}", "log", read)


def _position(text: str) -> Position:
    found = _POSITION.fullmatch(text)
    if found is None:
        sentence = f"Last-Event-ID must be the id of a message of this stream, such as 1-17; got {text[:80]!r}."
        raise wrong_parameters([WrongParameter(("header", "Last-Event-ID"), sentence)])
    return int(found[1]), int(found[2])
