"""How long a page of `GET /v1/runs` takes when there are many runs: new ones, old ones, and those that match.

A page reads 101 rows by an index, without their specs, wherever it begins.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.queue.claiming import fill
from benchmarks.queue.http import ask
from benchmarks.queue.service import Service
from service.store.db import Database

_AT_ONCE = 10_000


def fill_with(database: Database, count: int) -> None:
    """Put `count` runs into the queue, 10,000 to a sweep."""
    for first in range(0, count, _AT_ONCE):
        fill(database, min(_AT_ONCE, count - first))


def page_seconds(service: Service, *, pages: int) -> list[float]:
    """Ask for pages of 100, one after another, and a page of each filter between them."""
    return [ask(service, "GET", path).seconds for path in _paths(service, pages)]


def _paths(service: Service, pages: int) -> Iterator[str]:
    path, page = "/v1/runs?limit=100", ask(service, "GET", "/v1/runs?limit=100").document
    filters = ["state=queued", "owner=bench", f"sweep_id={page['items'][0]['sweep_id']}", "state=failed"]
    for number in range(pages):
        if number % 2:
            yield f"/v1/runs?limit=100&{filters[number // 2 % len(filters)]}"
            continue
        yield path
        cursor = ask(service, "GET", path).document["next_cursor"]
        path = "/v1/runs?limit=100" + (f"&cursor={cursor}" if cursor else "")
