"""The loop that moves runs through their life: pull, apply, reap, stop, search, plan, start; and chores.

It is the only writer of run states. It holds nothing that the database and the cluster do not know, so it can be
killed at any moment and another one goes on: it finds the live attempts in the database and their actors by name.
Of several dispatchers one leads, and the others wait. Knows no Ray (see `workers.cluster`) and writes no SQL (see
`service.store`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.settings import Settings
from service.store import lease, nodes, queue, situation
from service.store.attempts import how_it_ended
from service.store.db import Database, database_now
from service.store.live import LiveAttempt, live
from workers.choring import Housekeeper
from workers.cluster import CLUSTER_LOST, Cluster
from workers.hearing import Listener, first_line
from workers.metrics import DispatcherMetrics
from workers.searching import Searcher
from workers.starting import Starter
from workers.stopping import Ender

log = structlog.get_logger(__name__)

_DATABASE_LOST = (OperationalError, InterfaceError, InternalError, PoolTimeout)
_DATABASE_RETRY_SECONDS = 2.0
_CLUSTER_LOST_SECONDS = 60.0
# What PostgreSQL says to one of two who wait for each other, or whose picture has changed: to try again.
_AGAIN = frozenset({"40P01", "40001", "55P03"})
# The dispatcher looks so often whether something was submitted or wished, and waits no longer for any actor's answer.
_BELL_SECONDS = 0.1
# A turn over a slow database may take so long, or half of a lease that is short.
_SLOW_TURN_SECONDS = 5.0
# The lead is renewed while this share of it is left.
_RENEW_LEAD_BELOW = 0.6


class Dispatcher:
    """One turn of `tick` after another; `run` does so until it is told to end."""

    def __init__(
        self,
        database: Database,
        cluster: Cluster,
        settings: Settings,
        *,
        metrics: DispatcherMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._metrics = metrics or DispatcherMetrics()
        self._listener = Listener(database, cluster, settings, self._metrics)
        self._ender = Ender(database, cluster, self._listener, settings, clock)
        self._starter = Starter(database, cluster, settings, self._metrics, clock)
        self._searcher = Searcher(database, settings, clock)
        self._housekeeper = Housekeeper(database, cluster, settings, clock)
        self._draining = False
        self._live_at_last_look = 0
        self._seen_event: tuple[int, int] | None = None
        self._term: int | None = None
        self._leads_until = float("-inf")
        # Leases that ran out while nobody could renew them (no dispatcher, no database) prove nothing;
        # attempts get one lease's time to be heard before they are reaped.
        self._hearing_since = clock()
        self._heard_at: tuple[float, datetime] | None = None
        self._cluster_lost_since: float | None = None

    def run(self, ended: threading.Event) -> None:
        """Tick until `ended` is set, then drain or leave the attempts alone, by the settings. A lost database is waited for."""
        while not ended.is_set():
            self._turn(ended)
        if self._settings.on_exit == "drain":
            self.drain()
        self._resign()

    def drain(self) -> None:
        """Start nothing more, have every attempt checkpoint and go back to the queue, and wait until they have."""
        self._draining = True
        pace = threading.Event()
        deadline = self._clock() + self._settings.stop_grace_seconds
        while self._clock() < deadline:
            if not self._turn(pace) or not self._live_at_last_look:
                return

    def tick(self) -> None:
        """Do everything once, if this dispatcher leads: hear the attempts, reap the silent, honour wishes, start what fits."""
        if not self._leads():
            return
        known = self._cluster.names()
        with self._database.read() as session:
            attempts = live(session)
            now = database_now(session)
        self._notice_sleep(now)
        self._end_strangers(known, attempts)
        self._listener.hear(attempts, within_seconds=min(_BELL_SECONDS, self._settings.poll_seconds))
        self._reap()
        self._serve()

    def _turn(self, ended: threading.Event) -> bool:
        """Tick, and for the rest of the interval serve whoever rings. Returns False where the database was out of reach."""
        began = self._clock()
        try:
            with self._metrics.tick():
                self.tick()
            left = self._settings.poll_seconds - (self._clock() - began)
            while left > 0 and not ended.is_set():
                ended.wait(min(left, _BELL_SECONDS))
                left -= _BELL_SECONDS
                if self._term is not None and self._somebody_rang():
                    self._serve()
        except _DATABASE_LOST as error:
            if _is_again(error):
                log.info("transaction_again", error=first_line(error))
                return True
            log.warning("database_unavailable", error=first_line(error))
            self._hearing_since = self._clock()
            with suppress(*CLUSTER_LOST):
                self._listener.keep_company()
            ended.wait(_DATABASE_RETRY_SECONDS)
            return False
        except CLUSTER_LOST as error:
            self._wait_for_the_cluster(error, ended)
            return False
        self._cluster_lost_since = None
        return True

    def _wait_for_the_cluster(self, error: Exception, ended: threading.Event) -> None:
        """Wait a little; raise what Ray said where it has been out of reach for too long: a new process connects anew."""
        self._cluster_lost_since = self._cluster_lost_since or self._clock()
        if self._clock() - self._cluster_lost_since > _CLUSTER_LOST_SECONDS:
            raise error
        log.warning("cluster_unavailable", error=first_line(error))
        ended.wait(_DATABASE_RETRY_SECONDS)

    def _leads(self) -> bool:
        """Whether this dispatcher leads, by a lease that it renews in time."""
        seconds = self._settings.leader_seconds
        if self._leads_until - self._clock() > _RENEW_LEAD_BELOW * seconds:
            return True
        asked_at = self._clock()
        with self._database.begin() as session:
            term = lease.lead(session, self._settings.holder, seconds=seconds)
        if term is None:
            if self._term is not None:
                log.warning("another_dispatcher_leads", term=self._term)
            self._term, self._leads_until = None, float("-inf")
            self._metrics.leads(yes=False)
            return False
        if term != self._term:
            log.info("leading", term=term, holder=self._settings.holder)
            self._hearing_since = self._clock()
            self._metrics.leads(yes=True)
        self._term, self._leads_until = term, asked_at + seconds
        return True

    def _resign(self) -> None:
        try:
            with self._database.begin() as session:
                lease.resign(session, self._settings.holder)
        except _DATABASE_LOST as error:
            log.warning("database_unavailable", error=first_line(error))

    def _somebody_rang(self) -> bool:
        with self._database.read() as session:
            return situation.last_event(session) != self._seen_event

    def _notice_sleep(self, now: datetime) -> None:
        """Whoever was stopped, or slept with its machine, has heard nobody meanwhile, though it still leads."""
        heard, self._heard_at = self._heard_at, (self._clock(), now)
        if heard is None:
            return
        gap = max(self._clock() - heard[0], (now - heard[1]).total_seconds())
        if gap > self._longest_turn:
            self._hearing_since = self._clock()

    @property
    def _longest_turn(self) -> float:
        """What a busy turn may take, in seconds; who took longer was away, and may have missed leases running out."""
        lease_seconds = self._settings.lease_seconds
        return max(lease_seconds / 4, min(_SLOW_TURN_SECONDS, lease_seconds / 2)) + self._settings.poll_seconds

    def _end_strangers(self, known: set[str], attempts: list[LiveAttempt]) -> None:
        """Kill actors whose attempt is over. `known` was read before `attempts`; an attempt comes before its actor."""
        wanted = {attempt.actor_name for attempt in attempts}
        for name in known - wanted:
            if name.startswith(queue.ACTOR_PREFIX):
                log.info("ending_actor_of_no_live_attempt", actor=name)
                self._listener.end_actor(name)

    def _reap(self) -> None:
        if self._heard_at is not None and self._clock() - self._heard_at[0] > self._longest_turn:
            self._hearing_since = self._clock()  # this turn itself stood still
        if self._clock() - self._hearing_since < self._settings.lease_seconds:
            return
        with self._database.begin() as session:
            reaped = [(*key, how_it_ended(session, *key)) for key in queue.reap(session)]
        for run_id, epoch, end in reaped:
            if end is not None:
                self._metrics.ended(*end)
            log.warning("lease_expired", run_id=str(run_id), epoch=epoch)

    def _serve(self) -> None:
        """Grant wishes, end what has to end, start what fits."""
        seen = self._cluster.nodes()
        with self._database.begin() as session:
            if not lease.leads(session, self._settings.holder):
                self._leads_until = float("-inf")
                return
            self._seen_event = situation.last_event(session)
            queue.settle(session)
            changed = nodes.record_nodes(session, seen)
            evicted = nodes.evicted(session)
            attempts = live(session)
            now = database_now(session)
        self._live_at_last_look = len(attempts)
        self._ender.end_those_due(
            attempts,
            now=now,
            listened_seconds=self._clock() - self._hearing_since,
            evicted=evicted,
            everybody=self._draining,
        )
        if not self._draining:
            self._searcher.go_on()
            self._starter.start(anew=changed)
            self._housekeeper.go_on()


def _is_again(error: Exception) -> bool:
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _AGAIN
