"""Have chores done: hear of those at work, end those that take too long, start the next ones.

A chore takes no room from runs, so the plan does not know of it; few are at work at once. Those that another dispatcher had
ordered ended with it, and are begun anew.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DataError

from prolu.client.wire import NodeRead
from service.settings import Settings
from service.store import chore_work, chores, lease, nodes
from service.store.chore_work import Taken
from service.store.db import Database
from workers.cluster import CLUSTER_LOST, CannotStart, Cluster
from workers.hearing import first_line
from workers.messages import ChoreAnswer, ChoreOrder

log = structlog.get_logger(__name__)

_REFUSED: tuple[type[Exception], ...] = (CannotStart, *CLUSTER_LOST)
# What is said of an answer that cannot be read, or that a database cannot hold.
_UNSTORABLE = (ValueError, DataError, OverflowError)


@dataclass(frozen=True)
class _AtWork:
    """A chore that was ordered."""

    chore: Taken
    node: str
    since: float


class Housekeeper:
    """Keeps in memory only what it has ordered; the rows tell the rest."""

    def __init__(
        self,
        database: Database,
        cluster: Cluster,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._at_work: dict[str, _AtWork] = {}
        # What has been heard of them and is not in the database yet: nobody says it twice.
        self._answers: dict[str, ChoreAnswer] = {}

    def go_on(self) -> None:
        """Write down what has come, and start what there is room for. Asks little where nobody has asked for anything."""
        if self._at_work:
            self._hear()
            self._end_the_slow()
            self._settle_all()
        with self._database.read() as session:
            if not chore_work.any_open(session):
                return
            able = [node for node in nodes.nodes(session) if node.cpus >= chores.CPUS and not node.draining]
        self._start(able)

    def _hear(self) -> None:
        self._answers |= {name: answer for name, answer in self._cluster.answers() if name in self._at_work}

    def _end_the_slow(self) -> None:
        seconds = self._settings.chore_seconds
        for name, one in self._at_work.items():
            if name not in self._answers and self._clock() - one.since > seconds:
                self._cluster.recall(name)
                self._answers[name] = ChoreAnswer("failed", f"It took more than {seconds:g} s, and was ended.")

    def _settle_all(self) -> None:
        """Write down each answer; one that the database does not take stays until the next turn."""
        for name, answer in [*self._answers.items()]:
            self._settle(self._at_work[name].chore, answer)
            del self._answers[name], self._at_work[name]

    def _settle(self, chore: Taken, answer: ChoreAnswer) -> None:
        told = {"chore": str(chore.id), "epoch": chore.epoch, "kind": chore.kind}
        try:
            counts = self._write(chore, answer)
        except _UNSTORABLE as error:
            answer = ChoreAnswer("failed", f"What came of it cannot be recorded: {first_line(error)}")
            counts = self._write(chore, answer)
        if counts:
            log.info("chore_ended", **told, outcome=answer.outcome)
        else:
            log.warning("refused_answer_of_a_past_chore", **told)

    def _write(self, chore: Taken, answer: ChoreAnswer) -> bool:
        with self._database.begin() as session:
            match answer.outcome:
                case "done":
                    return chore_work.succeed(session, chore, json.loads(answer.told))
                case "failed":
                    return chore_work.fail(session, chore, answer.told)
                case "lost":
                    return chore_work.lose(session, chore, answer.told)

    def _start(self, able: Sequence[NodeRead]) -> None:
        """Take what there is room for. What was taken before and is not at work here, for whatever reason, is taken again."""
        at_work = [(one.chore.id, one.chore.epoch) for one in self._at_work.values()]
        room = self._settings.chores_at_once if able else 0
        with self._database.begin() as session:
            if not lease.leads(session, self._settings.holder):
                return
            taken = chore_work.take(session, self._settings.holder, at_once=room, at_work=at_work)
        for chore in taken:
            self._order(chore, self._least_busy(able))

    def _order(self, chore: Taken, node: str) -> None:
        order = ChoreOrder(chore.kind, chore.format, self._settings.artifact_root, chore.checkpoint, chore.target)
        log.info("chore_ordered", chore=str(chore.id), epoch=chore.epoch, kind=chore.kind, node=node)
        try:
            self._cluster.order(chore.name, order, node)
        except _REFUSED as error:
            self._settle(chore, ChoreAnswer("lost", f"Ray did not take the order: {first_line(error)}"))
        else:
            self._at_work[chore.name] = _AtWork(chore, node, self._clock())

    def _least_busy(self, able: Sequence[NodeRead]) -> str:
        """The node with the fewest chores of ours, of those with the most cores."""
        busy = Counter(one.node for one in self._at_work.values())
        return min(able, key=lambda node: (busy[node.name], -node.cpus, node.name)).name
