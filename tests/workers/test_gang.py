"""The ranks of a gang as plain objects: they train for real and exchange by gloo, but in threads, and without Ray."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from prolu.spec import RunSpec
from prolu.spec.report import CheckpointWritten, Failed, LogLines, LostWorker, Outcome, Report, Stopped, Succeeded
from workers.actor import PackActor, Trainee
from workers.gang import Member, Seat
from workers.lines import Loss
from workers.messages import Acks, Assignment, Attempt, Reply, Surroundings, read_report

ATTEMPT = Attempt("0190-run", 1)
NAMES = ("g", "g-r1")


class Room:
    """Two actors that the test starts, and what the leader's lines to the other one say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.actors: dict[str, PackActor] = {}
        self.members: dict[str, Member] = {}
        self.loss: Loss | None = None
        self.silent = False
        self.heard: list[Report] = []
        self.ended = threading.Event()

    def start(
        self, *, spec: RunSpec | None = None, other: RunSpec | None = None, patience_seconds: float = 30.0
    ) -> None:
        """Start both ranks; the second one is given `other`, which is wrong unless it is the same."""
        spec = spec or run()
        surroundings = Surroundings(
            str(self.folder / "artifacts"), str(self.folder / "cache"), (str(self.folder),), False, patience_seconds
        )
        for rank in (1, 0):
            member = Member(Seat(rank, NAMES), self, host="127.0.0.1", patience_seconds=patience_seconds)
            self.members[NAMES[rank]] = member
            given = spec if rank == 0 else other or spec
            self.actors[NAMES[rank]] = PackActor(
                [Assignment(ATTEMPT, given.model_dump_json(), None)],
                surroundings,
                node=f"node-{rank}",
                devices=[f"GPU-{rank}"],
                member=member,
                end_process=self.ended.set,
            )

    def attach(self, name: str) -> bool:
        return name in self.actors

    def call(self, name: str, host: str, port: int) -> None:
        self.members[name].come(host, port)

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]:
        for name, ack in acks.items():
            if self.loss is not None:
                yield name, self.loss
            elif not self.silent:
                yield name, self.actors[name].poll(ack)

    def listen(self, until: Callable[[Report], bool]) -> Report:
        """Poll the leader, as a dispatcher would, until a report that satisfies `until`."""
        ack, deadline = len(self.heard), time.monotonic() + 60
        while time.monotonic() < deadline:
            self.ended.wait(0.01)  # leaves the interpreter to the threads that train
            for message in self.actors["g"].poll({ATTEMPT: ack}).messages:
                ack, report = message.seq, read_report(message.report)
                self.heard.append(report)
                if until(report):
                    return report
        raise AssertionError(f"never heard it; heard {self.heard}")

    def outcome(self) -> Report:
        return self.listen(lambda report: isinstance(report, Outcome))

    def logged(self) -> list[str]:
        """What the leader has said that was logged, each line without its time."""
        texts = [report.text for report in self.heard if isinstance(report, LogLines)]
        return [line.partition(" ")[2] for text in texts for line in text.split("\n")]


def run(steps: int = 20, **parts: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 8, "n_features": 16, "eval_samples": 64},
            "sae": {"kind": "prolu", "d_sae": 16},
            "sparsity": {"kind": "l1", "coefficient": 0.001},
            "training": {"steps": steps, "batch_size": 16, "checkpoint_every_steps": 10},
            "resources": {"ranks": 2},
        }
        | parts
    )


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setattr("workers.actor._VERDICT_SECONDS", 3.0)
    room = Room(tmp_path)
    yield room
    for actor in room.actors.values():
        actor.stop(ATTEMPT, "cancel")
    for actor in room.actors.values():
        actor.join()


def test_the_first_rank_speaks_for_both_and_names_their_nodes_and_devices(room: Room) -> None:
    room.start()
    assert isinstance(room.outcome(), Succeeded)
    reply = room.actors["g"].poll({})
    assert (reply.node, reply.nodes) == ("node-0", ("node-0", "node-1"))
    assert reply.devices == (("GPU-0",), ("GPU-1",))
    room.actors["g-r1"].join()
    said = [read_report(message.report) for message in room.actors["g-r1"].poll({}).messages]
    assert not [report for report in said if isinstance(report, CheckpointWritten)]


def test_the_first_rank_passes_on_what_the_other_logs_to_its_last_line(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Trainee._outcome

    def slow_to_end(trainee: Trainee) -> Outcome:
        outcome = train(trainee)
        if trainee.book is room.actors["g-r1"]._trainees[ATTEMPT].book:
            room.ended.wait(0.3)  # the first rank is done by then
        logging.getLogger("a.library").warning("that is all")
        return outcome

    monkeypatch.setattr(Trainee, "_outcome", slow_to_end)
    room.start()
    assert isinstance(room.outcome(), Succeeded)
    for rank in (0, 1):
        assert room.logged().count(f"[rank {rank}] WARNING a.library: that is all") == 1, room.logged()


def test_a_stop_of_the_first_stops_both_at_the_same_step(room: Room) -> None:
    room.start(spec=run(10_000_000))
    room.listen(lambda report: isinstance(report, CheckpointWritten))
    room.actors["g"].stop(ATTEMPT, "pause")
    outcome = room.outcome()
    assert isinstance(outcome, Stopped)
    assert outcome.reason == "pause"
    room.actors["g-r1"].join()
    said = [read_report(message.report) for message in room.actors["g-r1"].poll({}).messages]
    assert said[-1] == outcome


def test_what_one_rank_fails_of_the_run_fails_of(room: Room) -> None:
    elsewhere = run(data={"kind": "shards", "path": str(room.folder / "missing"), "eval_samples": 8})
    room.start(other=elsewhere)
    outcome = room.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure_class == "user_error"
    assert outcome.message.startswith("Rank 1: data.path is")
    why = "[rank 1] ERROR workers.actor: Step 0: failed (user_error): data.path is"
    assert [line for line in room.logged() if line.startswith(why)], room.logged()


def test_a_rank_whose_actor_died_ends_the_run_without_blame(room: Room) -> None:
    room.start(spec=run(10_000_000))
    room.listen(lambda report: isinstance(report, CheckpointWritten))
    room.loss = Loss("node_lost", "The node died.", "SIGKILL")
    room.actors["g-r1"].stop(ATTEMPT, "cancel")  # which no leader agreed on
    outcome = room.outcome()
    assert isinstance(outcome, Failed)
    assert (outcome.failure_class, outcome.message) == ("node_lost", "Rank 1 of 2 is lost: The node died.")
    assert outcome.lost == LostWorker(node="node-1", exit_cause="SIGKILL")
    assert outcome.step >= 10


def test_a_rank_that_falls_silent_or_never_comes_up_is_lost_and_an_orphan(room: Room) -> None:
    room.silent = True
    room.start(spec=run(10_000_000), patience_seconds=2.0)
    outcome = room.outcome()
    assert isinstance(outcome, Failed)
    assert (outcome.failure_class, outcome.message) == (
        "ray_infra",
        "Rank 1 of 2 is lost: It has not answered for 2 s.",
    )


def test_a_rank_that_the_cluster_does_not_know_is_lost_at_once(room: Room) -> None:
    lost: list[Failed] = []
    Member(Seat(0, NAMES), room, host="127.0.0.1", patience_seconds=30.0).watch(ATTEMPT, lost.append, print)
    assert [failed.message for failed in lost] == ["Rank 1 of 2 is lost: The Ray cluster does not know its worker."]
