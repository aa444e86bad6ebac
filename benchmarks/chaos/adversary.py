"""Who disturbs the service: a seeded order of disturbances, and for each its victim out of what there is at the moment.

A disturbance is a function of the scene. It does its harm, notes what it will undo, and returns a sentence that says what
was done; or it raises NotNow, and is tried again a moment later.

The retry policy must be able to absorb all of it, or a run would fail as it should: nobody's run is struck on a third node
(the same class of loss on three nodes makes the run the suspect), nor spends more than its budget of three costly retries.
So victims are spared that were hit twice, and the disk fails twice, for less than the shortest pause before a retry.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psutil
import ray
from sqlalchemy.exc import DBAPIError

from benchmarks.chaos.databases import Undo
from benchmarks.chaos.seen import Seen, Training
from benchmarks.chaos.stack import API, DISPATCHER, NAMESPACE, ORPHAN_SECONDS, Stack

_MOST_NODES = 2
_MOST_COSTLY = 2
_DISK_SECONDS = 8.0
_DATABASE_SECONDS = (1.0, 5.0)
_REQUEST_SECONDS = 0.04
_ASK_SECONDS = 3.0
# A woken worker that nobody told to end may be vouched for by a poll that waited for it; then it ends as an orphan.
_END_SECONDS = ORPHAN_SECONDS + 30.0


class NotNow(Exception):
    """There is no victim at the moment."""


@dataclass
class Sleeper:
    """A worker that was stopped in the middle of a run, and what became of it when it woke up."""

    run_id: UUID
    epoch: int
    process: psutil.Process
    written: list[Any] | None = None
    """What its attempt had written when it was woken, after another attempt had finished the run."""
    ended_after_seconds: float | None = None
    """From its waking to the end of its process."""


@dataclass
class Scene:
    """What a disturbance may touch."""

    stack: Stack
    seen: Seen
    chance: random.Random
    submit_one: Callable[[], None]
    sleepers: list[Sleeper] = field(default_factory=list)
    _later: list[tuple[Callable[[], bool], Callable[[], None]]] = field(default_factory=list)

    def when(self, condition: Callable[[], bool], then: Callable[[], None]) -> None:
        """Do something as soon as a condition holds."""
        self._later.append((condition, then))

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Do something some seconds from now."""
        due = time.monotonic() + seconds
        self.when(lambda: time.monotonic() >= due, then)

    def tend(self) -> None:
        """Do what is due. What needs the database while that is away is looked at again next time."""
        waiting, self._later = self._later, []
        for condition, then in waiting:
            try:
                holds = condition()
                if holds:
                    then()
            except DBAPIError:
                holds = False
            if not holds:
                self._later.append((condition, then))

    @property
    def quiet(self) -> bool:
        """Whether everything that was begun has been undone."""
        return not self._later

    def training(self) -> list[Training]:
        """The attempts that train and may be struck without exceeding what the policy forgives. Raises NotNow."""
        try:
            found = [
                one
                for one in self.seen.training()
                if len(one.lost_on | {one.node}) <= _MOST_NODES and one.costly < _MOST_COSTLY
            ]
        except DBAPIError as error:
            raise NotNow from error
        asleep = {sleeper.run_id for sleeper in self.sleepers}
        return [one for one in found if one.run_id not in asleep]

    def one_training(self) -> Training:
        """One of them. Raises NotNow."""
        found = self.training()
        if not found:
            raise NotNow
        return self.chance.choice(found)


def kill_actor(scene: Scene) -> str:
    """SIGKILL the process that trains a run."""
    victim = scene.one_training()
    _process(victim).kill()
    return f"the actor of run {victim.run_id}, epoch {victim.epoch}"


def kill_node(scene: Scene) -> str:
    """SIGKILL the raylet of an added node on which something trains; its workers are left to find out."""
    strikable = {one.run_id for one in scene.training()}
    spared = {one.node for one in scene.seen.training() if one.run_id not in strikable}
    busy = sorted({one.node for one in scene.training()} - spared)
    if not busy or len(scene.stack.nodes.present()) < 2:
        raise NotNow
    victim = scene.chance.choice(busy)
    if not scene.stack.nodes.kill(victim):
        raise NotNow
    return f"the raylet of {victim}"


def kill_head(scene: Scene) -> str:
    """SIGKILL Ray's head, and with it the cluster: every attempt is lost at once, and so are all connections to it."""
    if not scene.training() or not scene.stack.nodes.complete:
        raise NotNow
    ray.shutdown()  # or Ray ends this process, too
    scene.stack.nodes.kill_head()
    scene.when(lambda: scene.stack.nodes.complete, scene.stack.connect)
    return "the head of Ray, with every attempt"


def kill_dispatcher(scene: Scene) -> str:
    """SIGKILL one `python -m workers` of two, whichever leads."""
    found = scene.stack.processes(DISPATCHER)
    if not found:
        raise NotNow
    victim = scene.chance.choice(found)
    victim.kill()
    return f"one of two dispatchers, process {victim.pid}"


def kill_api(scene: Scene) -> str:
    """SIGKILL `python -m service` while a submission is on its way."""
    found = scene.stack.processes(API)
    if not found:
        raise NotNow
    scene.submit_one()
    time.sleep(scene.chance.uniform(0.0, _REQUEST_SECONDS))
    found[0].kill()
    return "the API, within a submission"


def fail_disk(scene: Scene) -> str:
    """Leave no room for a checkpoint, for a while."""
    if len(scene.training()) < 2:
        raise NotNow
    scene.stack.disk.fail()
    scene.after(_DISK_SECONDS, scene.stack.disk.mend)
    return f"the disk of the artifact store, for {_DISK_SECONDS:g} s"


def stop_actor(scene: Scene) -> str:
    """SIGSTOP the process that trains a run, and wake it after another attempt has finished the run."""
    victim = scene.one_training()
    sleeper = Sleeper(victim.run_id, victim.epoch, _process(victim))
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    scene.sleepers.append(sleeper)

    def wake() -> None:
        sleeper.written = scene.seen.written_by(sleeper.run_id, sleeper.epoch)
        woken_at = time.monotonic()
        if sleeper.process.is_running():
            os.kill(sleeper.process.pid, signal.SIGCONT)

        def ended() -> bool:
            age = time.monotonic() - woken_at
            if not sleeper.process.is_running() or sleeper.process.status() == psutil.STATUS_ZOMBIE:
                sleeper.ended_after_seconds = round(age, 2)
            return sleeper.ended_after_seconds is not None or age > _END_SECONDS

        scene.when(ended, lambda: None)

    scene.when(lambda: scene.seen.succeeded(victim.run_id), wake)
    return f"the actor of run {victim.run_id}, epoch {victim.epoch}, until another attempt has finished the run"


def interrupt(name: str) -> Callable[[Scene], str]:
    """A disturbance of the database, by its name there."""

    def disturb(scene: Scene) -> str:
        if not scene.training():
            raise NotNow
        undo: Undo | None = scene.stack.database.interruptions[name]()
        if undo is None:
            return "every session"
        seconds = scene.chance.uniform(*_DATABASE_SECONDS)
        scene.after(seconds, undo)
        return f"for {seconds:.1f} s"

    return disturb


# How often each comes in a suite of forty runs.
_TIMES: Mapping[str, tuple[Callable[[Scene], str], int]] = {
    "kill an actor": (kill_actor, 5),
    "kill a node": (kill_node, 3),
    "kill the head": (kill_head, 1),
    "kill the dispatcher": (kill_dispatcher, 4),
    "kill the API": (kill_api, 4),
    "stop an actor": (stop_actor, 3),
    "fill the disk": (fail_disk, 2),
}
_TIMES_OF_A_DATABASE = 3
_FULL = 40
# Below so many runs nothing would be left to be seen after it, and the short suite would wait for a cluster most of its time.
_ENOUGH_FOR_THE_HEAD = 10


@dataclass(frozen=True)
class Disturbance:
    """One thing to do."""

    kind: str
    do: Callable[[Scene], str]


def plan(stack: Stack, runs: int, chance: random.Random) -> list[Disturbance]:
    """What to do to a suite of so many runs, in what order: every kind once, and then the rest; the head only to many runs."""
    share = runs / _FULL
    known = {
        **{kind: one for kind, one in _TIMES.items() if one[0] is not kill_head or runs >= _ENOUGH_FOR_THE_HEAD},
        **{name: (interrupt(name), _TIMES_OF_A_DATABASE) for name in stack.database.interruptions},
    }
    first = [Disturbance(kind, do) for kind, (do, _) in known.items()]
    more = [Disturbance(kind, do) for kind, (do, times) in known.items() for _ in range(round(times * share) - 1)]
    chance.shuffle(first)
    chance.shuffle(more)
    first.sort(key=lambda one: one.do is not stop_actor)  # it takes longest until we know what came of it
    return first + more


def _process(victim: Training) -> psutil.Process:
    """The process of an attempt's actor, asked of the actor itself. Raises NotNow if it does not answer."""
    if not ray.is_initialized():
        raise NotNow  # the head is away
    try:
        actor = ray.get_actor(victim.actor_name, namespace=NAMESPACE)
        return psutil.Process(ray.get(actor.pid.remote(), timeout=_ASK_SECONDS))
    except (ValueError, ray.exceptions.RayError, psutil.NoSuchProcess) as error:
        raise NotNow from error
