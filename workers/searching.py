"""Have searches go on: tell of trials that have ended, and ask for points while there is room.

What a sampler thinks about (its library is imported with the first question) lies between two short transactions, and its
answer is written only if nothing has changed meanwhile. Nothing is kept here: another dispatcher goes on where this one died.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import structlog

from prolu.spec import SpecError
from service.domain.errors import QueueFull
from service.domain.expansion import Point, build
from service.domain.search import Asked, ask
from service.settings import Settings
from service.store import searches
from service.store.db import Database
from service.store.searches import Question

log = structlog.get_logger(__name__)

# So long one turn of the dispatcher may think; what is left has its turn half a second later.
_LONGEST_SECONDS = 1.0


class Searcher:
    """Moves every search as far as it goes."""

    def __init__(self, database: Database, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    def go_on(self) -> None:
        """Tell and ask for every search that has not ended, oldest first, for at most about a second."""
        deadline = self._clock() + _LONGEST_SECONDS
        with self._database.read() as session:
            waiting = searches.unfinished(session)
        for sweep_id in waiting:
            while self._clock() < deadline and self._step(sweep_id):
                pass

    def _step(self, sweep_id: UUID) -> bool:
        """Fill the room, and tell of one trial. Whether anything happened."""
        with self._database.read() as session:
            question = searches.question(session, sweep_id)
        if question is not None and self._answer(question):
            return True
        with self._database.begin() as session:
            return searches.tell_next(session, sweep_id)

    def _answer(self, question: Question) -> bool:
        """Add a trial. False where its owner has too many runs waiting: there will be room later."""
        try:
            asked = ask(question.search, question.sweep.base, question.trials)
        except Exception:  # of somebody else's library, with one user's space: no reason to hold up the whole queue
            log.exception("sampler_failed", sweep_id=str(question.sweep_id), trial=question.number)
            with self._database.begin() as session:
                return searches.pause(session, question.sweep_id)
        point, message = _point(question, asked)
        try:
            with self._database.begin() as session:
                added = searches.add(
                    session,
                    question,
                    asked,
                    point,
                    message=message,
                    most_waiting=self._settings.max_queued_per_user,
                )
        except QueueFull:
            return False
        if added:
            log.info("asked", sweep_id=str(question.sweep_id), trial=question.number)
        return added


def _point(question: Question, asked: Asked) -> tuple[Point | None, str | None]:
    try:
        return build(question.sweep, question.number, None, asked.settings()), None
    except SpecError as error:
        return None, str(error)
