"""A cluster in memory: the test decides what its actors say, and when they die."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from prolu.client.wire import NodeRead
from prolu.spec import ResourcesSpec
from prolu.spec.report import Report, StopReason
from workers.cluster import CannotStart, Loss
from workers.messages import Acks, Assignment, Attempt, ChoreAnswer, ChoreOrder, Message, Reply, Surroundings
from workers.outbox import Outbox


class FakeActor:
    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.outbox = Outbox(assignment.attempt)
        self.asked_to_stop: list[StopReason] = []
        self.loss: Loss | None = None
        self.silent = False
        self.gibberish = False

    def say(self, *reports: Report) -> None:
        for report in reports:
            self.outbox.put(report)


class FakeCluster:
    def __init__(self, cpus: int = 2) -> None:
        self.cpus = cpus
        self.actors: dict[str, FakeActor] = {}
        self.killed: list[str] = []
        self.orders: dict[str, ChoreOrder] = {}
        self.chore_answers: dict[str, ChoreAnswer] = {}
        self.recalled: list[str] = []
        self.refused: set[str] = set()
        self.out_of_reach_for: set[str] = set()
        self.polls = 0
        self.polled, self.started = threading.Event(), threading.Event()
        self.while_polling: Callable[[], None] = lambda: None

    @property
    def only(self) -> FakeActor:
        (actor,) = self.actors.values()
        return actor

    def nodes(self) -> list[NodeRead]:
        return [NodeRead(name="node-a", cpus=self.cpus, gpus=0, memory_gb=64)]

    def names(self) -> set[str]:
        return set(self.actors)

    def start(
        self,
        name: str,
        assignments: Sequence[Assignment],
        surroundings: Surroundings,
        resources: ResourcesSpec,
        *,
        nodes: Sequence[str] = (),
    ) -> None:
        (assignment,) = assignments
        if assignment.attempt.run_id in self.refused:
            raise CannotStart("the precision is too fine")
        if assignment.attempt.run_id in self.out_of_reach_for:
            raise ConnectionError("the head does not answer")
        self.actors[name] = FakeActor(assignment)
        self.started.set()

    def attach(self, name: str) -> bool:
        return name in self.actors

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]:
        self.polls += 1
        self.while_polling()
        self.polled.set()
        if any(self.actors[name].silent for name in acks):
            threading.Event().wait(timeout)  # as Ray does for whoever has not answered
        for name, ack in acks.items():
            actor = self.actors[name]
            if actor.loss is not None:
                yield name, actor.loss
            elif actor.gibberish:
                yield (
                    name,
                    Reply("node-a", [Message(actor.assignment.attempt, 1_000, '{"kind": "of a later version"}')]),
                )
            elif not actor.silent:
                yield name, Reply("node-a", actor.outbox.pending(ack[actor.assignment.attempt]))

    def stop(self, name: str, attempt: Attempt, reason: StopReason) -> None:
        if attempt.run_id in self.out_of_reach_for:
            raise ConnectionError("the head does not answer")
        self.actors[name].asked_to_stop.append(reason)

    def kill(self, name: str) -> None:
        self.killed.append(name)
        self.actors.pop(name, None)

    def order(self, name: str, order: ChoreOrder, node: str) -> None:
        self.orders[name] = order

    def answers(self) -> Iterator[tuple[str, ChoreAnswer]]:
        heard, self.chore_answers = self.chore_answers, {}
        yield from heard.items()

    def recall(self, name: str) -> None:
        self.recalled.append(name)
