"""End live attempts: by their owners' wishes, by limits of time, for others' sake. Asked first, by force after the grace.

Ray tells nobody that a call to stop got lost (the actor was out of reach for a moment), so it is made again until the
outcome comes; an actor heeds the first one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from prolu.spec.report import FailureClass, StopReason
from service.domain.limits import Limits, overrun
from service.settings import Settings
from service.store import queue
from service.store.db import Database
from service.store.live import LiveAttempt
from workers.cluster import Cluster, Loss
from workers.hearing import Listener
from workers.messages import Attempt

log = structlog.get_logger(__name__)

# Between two calls to stop one attempt.
_ASK_AGAIN_SECONDS = 2.0

_WISHES: dict[str, StopReason] = {"cancelled": "cancel", "paused": "pause"}


@dataclass(frozen=True)
class _Cause:
    """Why an attempt has to end."""

    reason: StopReason
    sentence: str | None = None


@dataclass(frozen=True)
class _Asked:
    """When an attempt was asked to end, by the dispatcher's own clock."""

    first_at: float
    last_at: float


class Ender:
    """Asks each attempt that has to end, again and again, and ends those by force that do not within the grace."""

    def __init__(
        self,
        database: Database,
        cluster: Cluster,
        listener: Listener,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._listener = listener
        self._settings = settings
        self._clock = clock
        # When this dispatcher asked. One before it may have noted a wish to stop, and died before it asked.
        self._asked: dict[Attempt, _Asked] = {}

    def end_those_due(
        self,
        live: Sequence[LiveAttempt],
        *,
        now: datetime,
        listened_seconds: float,
        evicted: Collection[str],
        everybody: bool,
    ) -> None:
        """Ask or end what has to end: `evicted` names nodes that are cleared, `everybody` clears them all.

        What was not said while nobody listened (no dispatcher, no database) proves nothing: silence counts for at most
        `listened_seconds`, until that is a lease's time. What an actor has to say waits in it, so one that has said nothing
        for a whole lease of listening has had nothing to say since its last word.
        """
        at_most = listened_seconds if listened_seconds < self._settings.lease_seconds else math.inf
        here = {_key(attempt) for attempt in live}
        self._asked = {key: asked for key, asked in self._asked.items() if key in here}
        for attempt in live:
            age = (now - attempt.started_at).total_seconds()
            age = min(age, at_most) if attempt.unheard else age
            silent = (now - (attempt.news_at or attempt.started_at)).total_seconds()
            silent = min(silent, at_most)
            over = overrun(attempt.state, self._limits(attempt), age_seconds=age, silent_seconds=silent)
            if over is not None and over.limit == "start":
                self._listener.lose(attempt, Loss("not_started", over.sentence))
                continue
            cause = self._cause(attempt, evicted, everybody=everybody)
            if cause is None and over is not None:
                cause = _Cause("timeout", over.sentence)
            if cause is not None:
                self._end(attempt, cause)

    def _limits(self, attempt: LiveAttempt) -> Limits:
        return Limits(
            start_seconds=attempt.start_limit_seconds or self._settings.start_limit_seconds,
            run_seconds=attempt.run_limit_seconds,
            no_progress_seconds=attempt.no_progress_limit_seconds or self._settings.no_progress_limit_seconds,
        )

    def _cause(self, attempt: LiveAttempt, evicted: Collection[str], *, everybody: bool) -> _Cause | None:
        wish = _WISHES.get(attempt.desired_state)
        if wish is not None:
            return _Cause(wish)
        if attempt.stop_reason == "timeout":
            return _Cause("timeout")
        # A plan, or a former dispatcher, may have written that it stops without asking it.
        if everybody or attempt.state == "stopping" or attempt.stop_asked_at is not None:
            return _Cause("preempt")
        if not any(node in evicted for node in attempt.nodes):
            return None
        return _Cause("preempt", "Its node is being cleared.")

    def _end(self, attempt: LiveAttempt, cause: _Cause) -> None:
        if attempt.unheard:  # so there is nothing to save
            self._listener.lose(attempt, Loss("preempted", f"It was ended before it began ({cause.reason})."))
            return
        key, now = _key(attempt), self._clock()
        asked = self._asked.get(key)
        grace = self._settings.stop_grace_seconds
        if asked is not None and now - asked.first_at > grace:
            failure_class: FailureClass = "timeout" if cause.reason == "timeout" else "preempted"
            sentence = f"It did not end within {grace:g} s of being asked ({cause.reason})."
            self._listener.lose(attempt, Loss(failure_class, sentence))
            return
        if asked is None:
            self._note(attempt, cause)
        if asked is None or now - asked.last_at >= _ASK_AGAIN_SECONDS:
            self._cluster.stop(attempt.actor_name, key, cause.reason)
            self._asked[key] = _Asked(now if asked is None else asked.first_at, now)

    def _note(self, attempt: LiveAttempt, cause: _Cause) -> None:
        with self._database.begin() as session:
            queue.mark_stopping(session, attempt.run_id, attempt.epoch, reason=cause.reason, message=cause.sentence)
        log.info("stopping", run_id=str(attempt.run_id), epoch=attempt.epoch, reason=cause.reason)


def _key(attempt: LiveAttempt) -> Attempt:
    return Attempt(str(attempt.run_id), attempt.epoch)
