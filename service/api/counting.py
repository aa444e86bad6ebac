"""What Prometheus is told: what the database says of the queue and the cluster, and how long requests take.

No label has more values than there are users, states, routes or types of GPU; none names a run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from service.store.db import Database
from service.store.figures import Figures, figures

Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)

_KEPT_SECONDS = 1.0
# A service that is scraped all the time spends one part in so many of its time on it, however long the queue is.
_SHARE_OF_TIME = 20
_GIB = 2**30
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one service; made in `service.app`."""

    def __init__(self, database: Database, streams: Callable[[], int]) -> None:
        """`streams` says how many clients follow something."""
        self.registry = CollectorRegistry()
        self.registry.register(_Collected(database, streams))
        self._requests = Histogram(
            "prolu_http_request_duration_seconds",
            "Time until a request was answered, or its stream began, by route.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request. A path that no route has, and a method nobody knows, are each counted under one name."""
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).observe(seconds)


class _Collected(Collector):
    """Asks the database when it is scraped, and not again for a second, or for twenty times as long as the answer took."""

    def __init__(self, database: Database, streams: Callable[[], int]) -> None:
        self._database = database
        self._streams = streams
        self._lock = threading.Lock()
        self._known: Figures | None = None
        self._known_until = 0.0

    def describe(self) -> list[Metric]:
        """Nothing, so that the database is not asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What there is now. Raises SQLAlchemyError."""
        yield GaugeMetricFamily("prolu_streams_open", "Clients that follow logs or events.", self._streams())
        yield from _families(self._figures())

    def _figures(self) -> Figures:
        with self._lock:
            began = time.monotonic()
            if self._known is None or began >= self._known_until:
                with self._database.read() as session:
                    self._known = figures(session)
                took = time.monotonic() - began
                self._known_until = began + max(_KEPT_SECONDS, _SHARE_OF_TIME * took)
            return self._known


def _families(found: Figures) -> Iterator[Metric]:
    yield _filled(
        GaugeMetricFamily("prolu_runs", "Runs that are not over.", labels=["state", "user"]), found.runs.items()
    )
    oldest = GaugeMetricFamily(
        "prolu_queue_oldest_wait_seconds", "How long the queued run that has waited longest waits.", labels=["user"]
    )
    yield _filled(oldest, _by_one(found.oldest_wait_seconds))
    attempts = CounterMetricFamily(
        "prolu_attempts",
        "Attempts that have ended; failure_class is empty of those that ended well.",
        labels=["outcome", "failure_class"],
    )
    yield _filled(attempts, found.attempts.items())
    gpu_seconds = CounterMetricFamily(
        "prolu_gpu_seconds", "GPU-seconds that attempts have taken, a CPU core counting as 1/32 GPU.", labels=["user"]
    )
    yield _filled(gpu_seconds, _by_one(found.gpu_seconds))
    yield from _of_the_cluster(found)


def _filled(family: Family, rows: Iterable[tuple[Sequence[str], float]]) -> Family:
    for labels, value in sorted(rows, key=lambda row: [*row[0]]):
        family.add_metric(labels, value)
    return family


def _by_one(values: Mapping[str, float]) -> Iterator[tuple[Sequence[str], float]]:
    return (([label], value) for label, value in values.items())


def _of_the_cluster(found: Figures) -> Iterator[Metric]:
    offer = found.offer
    nodes = GaugeMetricFamily("prolu_nodes", "Nodes of the cluster.", labels=["draining"])
    nodes.add_metric(["false"], offer.nodes - offer.draining)
    nodes.add_metric(["true"], offer.draining)
    yield nodes
    yield GaugeMetricFamily("prolu_cluster_cpus", "CPU cores of all nodes.", offer.cpus)
    gpus = GaugeMetricFamily("prolu_cluster_gpus", "GPUs of all nodes.", labels=["gpu_type"])
    yield _filled(gpus, _by_one(offer.gpus))
    yield GaugeMetricFamily("prolu_cluster_memory_bytes", "Memory of all nodes.", offer.memory_gb * _GIB)
    yield GaugeMetricFamily("prolu_dispatcher_term", "How often the lead of the dispatchers has changed.", found.term)
    if found.seen_at is not None:
        yield GaugeMetricFamily(
            "prolu_dispatcher_seen_timestamp_seconds",
            "Last sign of life of the leading dispatcher, seconds since 1970.",
            found.seen_at.timestamp(),
        )
