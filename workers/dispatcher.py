"""The loop that moves runs through their life: plan, start, pull, apply, stop, reap.

It is the only writer of run states. It holds nothing that the database and the cluster do not know, so it can be
killed at any moment and another one goes on: it finds the live attempts in the database and their actors by name.
Knows no Ray (see `workers.cluster`) and writes no SQL (see `service.store`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from prolu.spec.report import Outcome, Report
from service.domain.scheduling import plan
from service.settings import Settings
from service.store import queue, reports
from service.store.db import Database
from service.store.queue import Claim, LiveAttempt
from workers.cluster import CannotStart, Cluster, Loss
from workers.messages import Acks, Assignment, Attempt, Reply, StopReason, Surroundings, read_report

log = structlog.get_logger(__name__)

_CANDIDATES = 200
_DATABASE_RETRY_SECONDS = 2.0


class Dispatcher:
    """One turn of `tick` after another; `run` does so until it is told to end."""

    def __init__(
        self,
        database: Database,
        cluster: Cluster,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._draining = False
        self._stopping_since: dict[Attempt, float] = {}
        self._live_at_last_look = 0
        # Leases that ran out while nobody could renew them (no dispatcher, no database) prove nothing;
        # attempts get one lease's time to be heard before they are reaped.
        self._hearing_since = clock()

    def run(self, ended: threading.Event) -> None:
        """Tick until `ended` is set, then drain or leave the attempts alone, by the settings. A lost database is waited for."""
        while not ended.is_set():
            self._paced_tick(ended)
        if self._settings.on_exit == "drain":
            self.drain()

    def drain(self) -> None:
        """Start nothing more, have every attempt checkpoint and go back to the queue, and wait until they have."""
        self._draining = True
        pace = threading.Event()
        deadline = self._clock() + self._settings.stop_grace_seconds
        while self._clock() < deadline:
            if not self._paced_tick(pace) or not self._live_at_last_look:
                return

    def tick(self) -> None:
        """Do everything once: hear the attempts, reap the silent, honour wishes, start what fits."""
        known = self._cluster.names()
        live = self._live()
        self._end_strangers(known, live)
        present = [attempt for attempt in live if self._present(attempt)]
        self._hear(present)
        self._reap()
        self._honour_wishes()
        if not self._draining:
            self._start()

    def _paced_tick(self, ended: threading.Event) -> bool:
        """Tick, and fill up the rest of the interval by waiting. Returns False where the database was out of reach."""
        began, pause = self._clock(), self._settings.poll_seconds
        try:
            self.tick()
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            log.warning("database_unavailable", error=_first_line(error))
            self._hearing_since = self._clock()
            pause = _DATABASE_RETRY_SECONDS
        ended.wait(max(0.0, pause - (self._clock() - began)))
        return pause != _DATABASE_RETRY_SECONDS

    def _live(self) -> list[LiveAttempt]:
        with self._database.read() as session:
            return queue.live(session)

    def _end_strangers(self, known: set[str], live: list[LiveAttempt]) -> None:
        """Kill actors whose attempt is over. `known` was read before `live`; an attempt is written before its actor starts."""
        wanted = {attempt.actor_name for attempt in live}
        for name in known - wanted:
            if name.startswith(queue.ACTOR_PREFIX):
                log.info("ending_actor_of_no_live_attempt", actor=name)
                self._cluster.kill(name)

    def _present(self, attempt: LiveAttempt) -> bool:
        if self._cluster.attach(attempt.actor_name):
            return True
        if attempt.state == "starting" and attempt.holder != self._settings.holder:
            return False  # another dispatcher may be about to start it; its lease decides
        self._lose(attempt, Loss("ray_infra", "Its worker is gone: the Ray cluster does not know it."))
        return False

    def _hear(self, live: list[LiveAttempt]) -> None:
        by_name = {attempt.actor_name: attempt for attempt in live}
        acks: dict[str, Acks] = {
            name: {Attempt(str(attempt.run_id), attempt.epoch): attempt.last_seq} for name, attempt in by_name.items()
        }
        for name, answer in self._cluster.poll(acks, timeout=self._settings.poll_seconds):
            attempt = by_name.pop(name)
            if isinstance(answer, Loss):
                self._lose(attempt, answer)
            else:
                self._apply(attempt, answer)
        for attempt in by_name.values():
            if attempt.state == "starting":
                # Ray has taken the order and is making room or starting the process: it says so when that fails.
                self._store(attempt, [], node=None)

    def _apply(self, attempt: LiveAttempt, reply: Reply) -> None:
        """Store what an attempt said. One whose words nobody can store is ended, so that it holds up no other."""
        try:
            messages = [(message.seq, read_report(message.report)) for message in reply.messages]
            accepted = self._store(attempt, messages, node=reply.node)
        except (ValidationError, DataError, IntegrityError, OverflowError) as error:
            self._lose(attempt, Loss("internal_error", f"What it reported cannot be stored: {_first_line(error)}"))
            return
        if accepted is None:
            log.warning("refused_messages_of_a_past_attempt", **_named(attempt), messages=len(messages))
        outcome = next((report for _, report in messages if isinstance(report, Outcome)), None)
        if outcome is not None:
            log.info("attempt_ended", **_named(attempt), outcome=outcome.kind)
        if accepted is None or outcome is not None:
            self._cluster.kill(attempt.actor_name)

    def _store(self, attempt: LiveAttempt, messages: list[tuple[int, Report]], *, node: str | None) -> int | None:
        with self._database.begin() as session:
            return reports.apply(
                session,
                attempt.run_id,
                attempt.epoch,
                messages,
                lease_seconds=self._settings.lease_seconds,
                node=node,
            )

    def _lose(self, attempt: LiveAttempt, loss: Loss) -> None:
        with self._database.begin() as session:
            state = queue.lose(
                session,
                attempt.run_id,
                attempt.epoch,
                failure_class=loss.failure_class,
                message=loss.message,
            )
        log.warning(
            "attempt_lost", **_named(attempt), failure_class=loss.failure_class, message=loss.message, now=state
        )
        self._cluster.kill(attempt.actor_name)

    def _reap(self) -> None:
        if self._clock() - self._hearing_since < self._settings.lease_seconds:
            return
        with self._database.begin() as session:
            reaped = queue.reap(session)
        for run_id, epoch in reaped:
            log.warning("lease_expired", run_id=str(run_id), epoch=epoch)

    def _honour_wishes(self) -> None:
        with self._database.begin() as session:
            queue.settle(session)
            queue.record_nodes(session, self._cluster.nodes())
            live = queue.live(session)
        self._live_at_last_look = len(live)
        named = {Attempt(str(attempt.run_id), attempt.epoch) for attempt in live}
        self._stopping_since = {key: since for key, since in self._stopping_since.items() if key in named}
        for attempt in live:
            reason = self._reason_to_stop(attempt)
            if reason is not None:
                self._stop(attempt, reason)

    def _reason_to_stop(self, attempt: LiveAttempt) -> StopReason | None:
        wishes: dict[str, StopReason] = {"cancelled": "cancel", "paused": "pause"}
        # A former dispatcher may have ended between writing `stopping` and asking for it.
        preempted = self._draining or attempt.state == "stopping"
        return wishes.get(attempt.desired_state, "preempt" if preempted else None)

    def _stop(self, attempt: LiveAttempt, reason: StopReason) -> None:
        """Ask once; an attempt that has not ended after the grace period is ended by force."""
        key = Attempt(str(attempt.run_id), attempt.epoch)
        if key not in self._stopping_since:
            self._stopping_since[key] = self._clock()
            with self._database.begin() as session:
                queue.mark_stopping(session, attempt.run_id, attempt.epoch)
            self._cluster.stop(attempt.actor_name, key, reason)
            log.info("stopping", **_named(attempt), reason=reason)
        elif self._clock() - self._stopping_since[key] > self._settings.stop_grace_seconds:
            self._lose(
                attempt,
                Loss("preempted", f"It did not end within {self._settings.stop_grace_seconds} s of being asked."),
            )

    def _start(self) -> None:
        with self._database.begin() as session:
            waiting = queue.candidates(session, limit=_CANDIDATES)
            if not waiting:
                return
            decisions = plan(waiting, queue.live(session), queue.nodes(session))
            chosen: list[UUID] = [decision.run_id for decision in decisions if decision.start]
            claims = queue.claim(
                session, chosen, holder=self._settings.holder, lease_seconds=self._settings.lease_seconds
            )
        for claim in claims:
            self._start_actor(claim)

    def _start_actor(self, claim: Claim) -> None:
        attempt = Attempt(str(claim.run_id), claim.epoch)
        assignment = Assignment(attempt, claim.spec.model_dump_json(), claim.resume_from)
        log.info("starting", run_id=attempt.run_id, epoch=attempt.epoch, resume_from=claim.resume_from)
        try:
            self._cluster.start(claim.actor_name, [assignment], self._surroundings(), claim.spec.resources)
        except CannotStart as error:
            log.error("cannot_start", run_id=attempt.run_id, epoch=attempt.epoch, why=str(error))
            message = f"Ray does not start a worker with these resources: {_first_line(error)}"
            with self._database.begin() as session:
                queue.lose(session, claim.run_id, claim.epoch, failure_class="user_error", message=message)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            artifact_root=self._settings.artifact_root,
            cache_dir=str(self._settings.cache_dir),
            data_roots=tuple(str(root) for root in self._settings.data_roots),
            hub_online=self._settings.hub != "offline",
            orphan_seconds=self._settings.orphan_seconds,
        )


def _named(attempt: LiveAttempt) -> dict[str, Any]:
    return {"run_id": str(attempt.run_id), "epoch": attempt.epoch}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
