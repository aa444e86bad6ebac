"""What a dispatcher counts and times while it works, for Prometheus. Knows neither Ray nor SQL.

These are of one process and begin at zero with it; what must survive it is taken from the database by the API's
`/metrics`. No label has more values than there are outcomes and failure classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from prolu.client.wire import AttemptOutcome
from prolu.spec.report import FailureClass

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0)


class DispatcherMetrics:
    """Counters and histograms of one dispatcher; each method says one thing that has happened."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._leads = Gauge(
            "prolu_dispatcher_leads", "1 while this dispatcher leads, 0 while it stands by.", registry=self.registry
        )
        self._ticks = self._histogram("prolu_tick_duration_seconds", "One turn of the dispatcher.", _SHORT)
        self._claims = self._histogram("prolu_claim_duration_seconds", "One claim of planned runs in SQL.", _SHORT)
        self._waits = self._histogram("prolu_wait_seconds", "How long runs had been queued before each start.", _LONG)
        self._renewals = self._counter("prolu_lease_renewals", "Leases of attempts that were renewed.")
        self._refused = self._counter(
            "prolu_zombie_writes_refused", "Messages of past attempts, none of which was stored."
        )
        self._started = self._counter("prolu_actors_started", "Actors that Ray was asked to start.")
        self._killed = self._counter("prolu_actors_killed", "Actors that were ended, done or not.")
        self._attempts = Counter(
            "prolu_dispatched_attempts",
            "Attempts whose end this dispatcher wrote; failure_class is empty of those that ended well.",
            ["outcome", "failure_class"],
            registry=self.registry,
        )

    @contextmanager
    def tick(self) -> Iterator[None]:
        """Time a turn."""
        with self._ticks.time():
            yield

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Time a claim, from the plan's end to the commit."""
        with self._claims.time():
            yield

    def leads(self, *, yes: bool) -> None:
        """It took, kept or lost the lead."""
        self._leads.set(yes)

    def claimed(self, waited_seconds: float) -> None:
        """A run was claimed that had been queued so long, this time; what it trained before is not counted."""
        self._waits.observe(max(0.0, waited_seconds))

    def renewed(self, leases: int = 1) -> None:
        """Leases were renewed, since their attempts were heard."""
        self._renewals.inc(leases)

    def refused(self, messages: int) -> None:
        """A past attempt said something, and nothing of it was stored. A poll without a message counts as one."""
        self._refused.inc(max(1, messages))

    def started(self) -> None:
        """Ray was asked for an actor."""
        self._started.inc()

    def killed(self) -> None:
        """An actor was ended."""
        self._killed.inc()

    def ended(self, outcome: AttemptOutcome, failure_class: FailureClass | None = None) -> None:
        """The end of an attempt was written."""
        self._attempts.labels(outcome, failure_class or "").inc()

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[int | None]:
        """Serve `/metrics` in a thread, without a token, while the block lasts; nothing with port 0. Gives the port.

        Raises OSError if the port is taken.
        """
        if port == 0:
            yield None
            return
        server, thread = start_http_server(port, host, self.registry)
        try:
            yield port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, documentation, buckets=buckets, registry=self.registry)

    def _counter(self, name: str, documentation: str) -> Counter:
        return Counter(name, documentation, registry=self.registry)
