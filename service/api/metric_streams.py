"""`/v1/runs/{id}/metrics/stream`: the metrics of a run as they come."""

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
from service.store import metric_news
from service.store.lists import owner_of as require_run
from service.store.metric_news import BEGINNING, Place, Split

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_ID = re.compile(r"(\d{1,9})-(\d{1,18})-(train|held_out|both)")
_BOTH = frozenset({"train", "held_out"})


@router.get(
    "/{run_id}/metrics/stream",
    operation_id="follow_metrics",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}, 404: {}},
)
def follow_metrics(
    run_id: UUID,
    services: Parts,
    _: User,
    split: Annotated[Split | None, Query(description="Only training batches, or only evaluations.")] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow the metrics of the run, from its first point or after `Last-Event-ID`, as server-sent events.

    Each message `metric` is a point as `/v1/runs/{id}/metrics` lists it; the last message is `end`. An attempt that goes on
    from a checkpoint tells the steps since then once more, with equal values: a later point of a step takes the earlier one's
    place.
    """
    place = BEGINNING if last_event_id is None else _place(last_event_id)
    with services.database.read() as session:
        require_run(session, run_id)  # so that an unknown one is a problem, and not a stream
    return EventStream(services.streams, _Metrics(services, run_id, split), place)


@dataclass(frozen=True)
class _Metrics:
    """What a run measures."""

    services: Services = field(repr=False, compare=False)
    run_id: UUID
    split: Split | None

    def topic(self) -> tuple[Literal["run"], UUID]:
        return "run", self.run_id

    def look(self, place: Hashable) -> News:
        with self.services.database.read() as session:
            found, end = metric_news.news(session, self.run_id, cast("Place", place), split=self.split)
        events = [Event(_id(at), "metric", point) for at, point in found]
        if end is not None:
            events.append(Event(None, "end", end))
        return News(found[-1][0] if found else place, events, over=end is not None)


def _id(place: Place) -> str:
    return f"{place.epoch}-{place.step}-{'both' if place.seen == _BOTH else min(place.seen)}"


def _place(text: str) -> Place:
    found = _ID.fullmatch(text)
    if found is None:
        sentence = f"Last-Event-ID must be the id of a message of this stream, such as 1-100-train; got {text[:80]!r}."
        raise wrong_parameters([WrongParameter(("header", "Last-Event-ID"), sentence)])
    return Place(int(found[1]), int(found[2]), _BOTH if found[3] == "both" else frozenset({found[3]}))
