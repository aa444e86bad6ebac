"""`/v1/sweeps/{id}/metrics/stream`: the metrics of all runs of a sweep as they come, in one stream."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from service.api.context import Parts, Services, User
from service.api.following import Event, News
from service.api.parameters import wrong_parameters
from service.api.streams import MEDIA_TYPE, EventStream
from service.domain.errors import WrongParameter
from service.store import sweep_metric_news
from service.store.lists import require_sweep
from service.store.metric_news import Place as PlaceInRun
from service.store.metric_news import Split
from service.store.sweep_metric_news import Going, Place

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

# Number of runs; what they are; which of them are told whole, as bits; and how far each of the others is.
_ID = re.compile(r"(\d{1,7})-([0-9a-f]{8})-([0-9a-f]{0,30000})-((?:\d{1,7}\.\d{1,9}\.\d{1,18}\.[thb](?:_(?!$)|$))*)")
_SEEN = {"t": frozenset({"train"}), "h": frozenset({"held_out"}), "b": frozenset({"train", "held_out"})}
_LETTERS = {seen: letter for letter, seen in _SEEN.items()}


@router.get(
    "/{sweep_id}/metrics/stream",
    operation_id="follow_sweep_metrics",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}, 404: {}},
)
def follow_sweep_metrics(
    sweep_id: UUID,
    services: Parts,
    _: User,
    split: Annotated[Split | None, Query(description="Only training batches, or only evaluations.")] = None,
    last_event_id: Annotated[
        str | None,
        Header(max_length=40_000, description="Of a stream that broke off: the last `id` of it; what follows is told."),
    ] = None,
) -> Response:
    """Follow the metrics of all runs of the sweep, from the first point or after `Last-Event-ID`, as server-sent events.

    Each message `metric` is a point with its run; of each run they come in the order in which they were committed. Several
    messages may share one `id`, that of the last of them: who comes back with it misses nothing, and may hear a few twice. The
    last message is `end`, once every run has ended, and the search if there is one.
    """
    with services.database.read() as session:
        require_sweep(session, sweep_id)
        runs = () if last_event_id is None else sweep_metric_news.runs_of(session, sweep_id)
    place = Place() if last_event_id is None else _place(last_event_id, runs)
    return EventStream(services.streams, _SweepMetrics(services, sweep_id, split), place)


@dataclass(frozen=True)
class _SweepMetrics:
    """What the runs of a sweep measure."""

    services: Services = field(repr=False, compare=False)
    sweep_id: UUID
    split: Split | None

    def topic(self) -> tuple[Literal["sweep"], UUID]:
        return "sweep", self.sweep_id

    def look(self, place: Hashable) -> News:
        with self.services.database.read() as session:
            found = sweep_metric_news.news(session, self.sweep_id, cast("Place", place), split=self.split)
        events = [Event(None, "metric", point) for point in found.points]
        if events or found.more:  # what ends a look tells its id, and where nothing was found that alone
            events[-1:] = [Event(_id(found.place), *(("metric", found.points[-1]) if events else ()))]
        if found.end is not None:
            events.append(Event(None, "end", found.end))
        return News(found.place, events, over=found.end is not None)


def _id(place: Place) -> str:
    bits = sum(1 << number for number, run_id in enumerate(place.runs) if run_id in place.told)
    numbers = {run_id: number for number, run_id in enumerate(place.runs)}
    going = sorted((numbers[run_id], *one.place) for run_id, one in place.going if one.place.seen)
    parts = [f"{number}.{epoch}.{step}.{_LETTERS[seen]}" for number, epoch, step, seen in going]
    return f"{len(place.runs)}-{_digest(place.runs)}-{bits:x}-{'_'.join(parts)}"


def _place(text: str, runs: Sequence[UUID]) -> Place:
    """Read an id. Of a sweep whose runs are not those of the id any more it is the beginning, so that nothing is missed."""
    found = _ID.fullmatch(text)
    if found is None:
        sentence = f"Last-Event-ID must be the id of a message of this stream; got {text[:80]!r}."
        raise wrong_parameters([WrongParameter(("header", "Last-Event-ID"), sentence)])
    known = tuple(runs[: int(found[1])])
    if len(known) != int(found[1]) or _digest(known) != found[2]:
        return Place()
    bits = int(found[3] or "0", 16)
    going = set()
    for part in found[4].split("_") if found[4] else ():
        number, epoch, step, letter = part.split(".")
        if int(number) < len(known):
            going.add((known[int(number)], Going(PlaceInRun(int(epoch), int(step), _SEEN[letter]))))
    told = frozenset(run_id for number, run_id in enumerate(known) if bits >> number & 1)
    return Place(known, told, frozenset(going))


def _digest(runs: Sequence[UUID]) -> str:
    return hashlib.sha256(b"".join(run_id.bytes for run_id in runs)).hexdigest()[:8]
