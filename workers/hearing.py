"""Hear the live attempts: poll their actors, store what they say, give up those that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DataError, IntegrityError

from service.settings import Settings
from service.store import judging, queue, reports
from service.store.attempts import how_it_ended
from service.store.db import Database
from service.store.live import LiveAttempt
from service.store.reports import Applied, Delivery
from workers.cluster import Cluster, Loss
from workers.messages import Acks, Attempt, Reply, read_report
from workers.metrics import DispatcherMetrics

log = structlog.get_logger(__name__)

# What a database says of a report that it cannot hold.
_UNSTORABLE = (ValidationError, DataError, IntegrityError, OverflowError)


@dataclass(frozen=True)
class _Heard:
    """An attempt and what it said."""

    attempt: LiveAttempt
    delivery: Delivery


class Listener:
    """Pulls from actors and writes for `(run_id, epoch)`; a past epoch is neither heard nor written for."""

    def __init__(self, database: Database, cluster: Cluster, settings: Settings, metrics: DispatcherMetrics) -> None:
        self._database = database
        self._cluster = cluster
        self._settings = settings
        self._metrics = metrics
        self._last_heard: list[LiveAttempt] = []

    def hear(self, live: Sequence[LiveAttempt], *, within_seconds: float) -> None:
        """Store what the actors of the live attempts say, and give up those that Ray says are gone.

        Whoever does not answer in time (it comes up, it is far away) is not asked anew, and heard the next time.
        """
        present = [attempt for attempt in live if self._present(attempt)]
        self._last_heard = present
        by_name = {attempt.actor_name: attempt for attempt in present}
        heard: list[_Heard] = []
        for name, answer in self._cluster.poll(_acks(present), timeout=within_seconds):
            attempt = by_name.pop(name)
            if isinstance(answer, Loss):
                self.lose(attempt, answer)
            elif (read := self._read(attempt, answer)) is not None:
                heard.append(read)
        # Of those that start, Ray has taken the order and is making room or starting the process: it says so when that fails.
        starting = [attempt for attempt in by_name.values() if attempt.unheard]
        heard += [_Heard(attempt, Delivery(attempt.run_id, attempt.epoch, None, [])) for attempt in starting]
        self._store(heard)

    def keep_company(self) -> None:
        """Poll without storing, while the database is away: what the actors say waits in them, and they are no orphans."""
        for _ in self._cluster.poll(_acks(self._last_heard), timeout=self._settings.poll_seconds):
            pass

    def lose(self, attempt: LiveAttempt, loss: Loss) -> None:
        """Give up an attempt, and end what is left of its actor."""
        with self._database.begin() as session:
            state = queue.lose(
                session,
                attempt.run_id,
                attempt.epoch,
                failure_class=loss.failure_class,
                message=loss.message,
                exit_cause=loss.exit_cause,
            )
            end = how_it_ended(session, attempt.run_id, attempt.epoch)
        if state is not None and end is not None:
            self._metrics.ended(*end)
        log.warning(
            "attempt_lost",
            run_id=str(attempt.run_id),
            epoch=attempt.epoch,
            failure_class=loss.failure_class,
            message=loss.message,
            now=state,
        )
        self.end_actor(attempt.actor_name)

    def end_actor(self, name: str) -> None:
        """End an actor's process, done or not."""
        self._cluster.kill(name)
        self._last_heard = [attempt for attempt in self._last_heard if attempt.actor_name != name]
        self._metrics.killed()

    def _present(self, attempt: LiveAttempt) -> bool:
        if self._cluster.attach(attempt.actor_name):
            return True
        if attempt.unheard and attempt.holder != self._settings.holder:
            return False  # another dispatcher may be about to start it; its lease decides
        self.lose(attempt, Loss("ray_infra", "Its worker is gone: the Ray cluster does not know it."))
        return False

    def _read(self, attempt: LiveAttempt, reply: Reply) -> _Heard | None:
        try:
            messages = [(message.seq, read_report(message.report)) for message in reply.messages]
        except ValidationError as error:
            self._give_up_unstorable(attempt, error)
            return None
        said = Delivery(attempt.run_id, attempt.epoch, reply.node, messages, reply.nodes, reply.devices)
        return _Heard(attempt, said)

    def _store(self, heard: Sequence[_Heard]) -> None:
        """Store everything at once. Where something cannot be stored, one by one, so that it holds up no other."""
        if not heard:
            return
        try:
            applied = self._write(heard)
        except _UNSTORABLE as error:
            if len(heard) == 1:
                self._give_up_unstorable(heard[0].attempt, error)
                return
            for one in heard:
                self._store([one])
            return
        for one in heard:
            self._follow_up(one, applied[one.delivery.run_id, one.delivery.epoch])

    def _write(self, heard: Sequence[_Heard]) -> dict[tuple[UUID, int], Applied | None]:
        with self._database.begin() as session:
            deliveries = [one.delivery for one in heard]
            applied = reports.apply_all(session, deliveries, lease_seconds=self._settings.lease_seconds)
            judging.judge(session, [one for one in deliveries if applied[one.run_id, one.epoch] is not None])
            return applied

    def _follow_up(self, one: _Heard, applied: Applied | None) -> None:
        told = {"run_id": str(one.attempt.run_id), "epoch": one.attempt.epoch}
        if applied is None:
            self._metrics.refused(len(one.delivery.messages))
            log.warning("refused_messages_of_a_past_attempt", **told, messages=len(one.delivery.messages))
        else:
            self._metrics.renewed(int(applied.renewed))
            if applied.ended is not None:
                self._metrics.ended(*applied.ended)
                log.info("attempt_ended", **told, outcome=applied.ended.outcome)
        if applied is None or applied.ended is not None:
            self.end_actor(one.attempt.actor_name)

    def _give_up_unstorable(self, attempt: LiveAttempt, error: Exception) -> None:
        self.lose(attempt, Loss("internal_error", f"What it reported cannot be stored: {first_line(error)}"))


def _acks(live: Sequence[LiveAttempt]) -> dict[str, Acks]:
    return {attempt.actor_name: {Attempt(str(attempt.run_id), attempt.epoch): attempt.last_seq} for attempt in live}


def first_line(error: Exception) -> str:
    """The beginning of an error's text, for a log."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
