"""One suite: submit, disturb, wait, judge. Runs where the small disk is mounted; see `benchmarks.chaos.__main__`."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

import ray
from sqlalchemy.exc import DBAPIError

from benchmarks.chaos.adversary import NotNow, Scene, plan
from benchmarks.chaos.databases import Kind
from benchmarks.chaos.seen import Seen
from benchmarks.chaos.stack import stack
from benchmarks.chaos.submitting import Submissions
from benchmarks.chaos.undisturbed import Undisturbed, undisturbed
from benchmarks.chaos.verdict import judge
from benchmarks.chaos.work import Work, work_of
from service.domain.lifecycle import TERMINAL

_TURN_SECONDS = 0.1
_LOOK_SECONDS = 1.0
_AHEAD_RUNS = 8
_PROCESSES = 2
_NUMBERS = ("submitted", "succeeded")
_HARM = ("lost", "duplicated", "wrong")


class Wishes(NamedTuple):
    """What the command line says."""

    seed: int
    runs: int
    databases: list[Kind]
    minutes: float
    """For each database, from the first submission."""
    pause_seconds: float
    """Between two disturbances, on average."""
    folder: str
    """Where the small disk is mounted, and what is thrown away afterwards."""
    output: str


def run(wishes: Wishes) -> bool:
    """Run the suite on every database, write the results and print them. Returns whether nothing was lost or spoilt."""
    work = work_of(wishes.runs)
    results: dict[Kind, dict[str, Any]] = {}
    with ThreadPoolExecutor(1) as aside:  # the disturbed runs leave cores idle while they wait for leases and retries
        expected = aside.submit(undisturbed, work.runs, processes=_PROCESSES)
        for kind in wishes.databases:
            results[kind] = result = _run_on(kind, work, expected, wishes)
            _write(Path(wishes.output), wishes, results)
            numbers = ", ".join(f"{result[name]} {name}" for name in (*_NUMBERS, *_HARM))
            _say(f"{kind}: runs {numbers} ({result['seconds']:.0f} s)")
            for sentence in result["found"]:
                _say(f"  {sentence}")
    return not any(result[name] for result in results.values() for name in _HARM)


def _write(output: Path, wishes: Wishes, results: Mapping[Kind, Mapping[str, Any]]) -> None:
    """Write what is known so far: every result by database."""
    names = next(iter(results.values())).keys()
    document: dict[str, Any] = {name: {kind: result[name] for kind, result in results.items()} for name in names}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({**document, "seed": wishes.seed, "runs": wishes.runs}, indent=2) + "\n")


def _run_on(kind: Kind, work: Work, expected: Future[dict[str, Undisturbed]], wishes: Wishes) -> dict[str, Any]:
    chance = random.Random(wishes.seed)
    logs = Path(wishes.output).with_suffix("") / kind
    with stack(kind, Path(wishes.folder), logs) as service, _ray_aside(logs / "ray.log"):
        service.connect()
        seen = Seen(service.database.url)
        submissions = Submissions(service.url, service.token, chance)
        try:
            play = _Play(work, submissions, Scene(service, seen, chance, lambda: play.submit_one()), wishes)
            play.on()
            verdict = judge(
                submissions.accepted,
                submissions.problems,
                seen,
                expected.result(),
                service.disk.artifacts,
                play.scene.sleepers,
            )
        finally:
            seen.close()
            ray.shutdown()
    return {
        "submitted": verdict.submitted,
        "succeeded": verdict.succeeded,
        "lost": len(verdict.lost),
        "duplicated": len(verdict.duplicated),
        "wrong": len(verdict.wrong),
        "found": [*verdict.lost, *verdict.duplicated, *verdict.wrong],
        "seconds": round(play.age(), 1),
        "disturbed": play.done,
        "disturbances": play.told,
        "attempts": dict(sorted(verdict.attempts.items())),
        "requests": submissions.sent,
        "disk": service.disk.kind,
        "sleepers": [sleeper.ended_after_seconds for sleeper in play.scene.sleepers],
    }


@contextmanager
def _ray_aside(log: Path) -> Iterator[None]:
    """Send what Ray prints in this process about dying nodes to a file."""
    with log.open("w") as file, redirect_stdout(file):
        yield


def _say(line: str) -> None:
    print(line, file=sys.__stdout__, flush=True)


class _Play:
    """The loop that submits, disturbs and waits."""

    def __init__(self, work: Work, submissions: Submissions, scene: Scene, wishes: Wishes) -> None:
        self.scene = scene
        self.told: list[dict[str, Any]] = []
        """What was done and when, in seconds from the beginning."""
        self._submissions = submissions
        self._wishes = wishes
        self._waiting: list[Any] = [work.sweep, *work.singles]
        self._plan = plan(scene.stack, wishes.runs, scene.chance)
        self._states: Counter[str] = Counter()
        self._began = time.monotonic()
        self._due = self._began + wishes.pause_seconds

    @property
    def done(self) -> dict[str, int]:
        """How often each kind of disturbance was done."""
        kinds = [one["kind"] for one in self.told]
        return {kind: kinds.count(kind) for kind in sorted({*kinds})}

    def age(self) -> float:
        """Seconds since the first submission."""
        return time.monotonic() - self._began

    def submit_one(self) -> None:
        """Submit the next of the work, if there is any left."""
        if self._waiting:
            self._submissions.submit(self._waiting.pop(0))

    def on(self) -> None:
        """Play until everything has ended, or the time is up."""
        looked_at = 0.0
        while self.age() < 60 * self._wishes.minutes:
            self.scene.stack.tend()
            self.scene.tend()
            self._disturb()
            # What is left for the moments when the API dies is submitted at the latest when nothing more is planned.
            kept = sum(one.kind == "kill the API" for one in self._plan)
            if len(self._waiting) > kept:
                self.submit_one()
            if time.monotonic() - looked_at > _LOOK_SECONDS:
                looked_at = time.monotonic()
                self._look()
                if self._is_over():
                    return
            time.sleep(_TURN_SECONDS)

    def _disturb(self) -> None:
        if not self._plan or time.monotonic() < self._due or self._is_ahead():
            return
        # The first that finds a victim: one that finds none must not hold up the others.
        for one in self._plan:
            try:
                what = one.do(self.scene)
            except NotNow:
                continue
            self._plan.remove(one)
            self.told.append({"at": round(self.age(), 1), "kind": one.kind, "what": what})
            _say(f"  {self.age():6.1f} s  {one.kind}: {what}")
            self._due = time.monotonic() + self._wishes.pause_seconds * self.scene.chance.uniform(0.5, 1.5)
            return

    def _is_ahead(self) -> bool:
        """Whether more was disturbed than was trained: on a slow machine, too, the last runs shall have their share."""
        share = len(self.told) / (len(self.told) + len(self._plan))
        return self._states["succeeded"] < share * self._wishes.runs - _AHEAD_RUNS

    def _look(self) -> None:
        with suppress(DBAPIError):  # the database may just be away
            self._states = self.scene.seen.states()

    def _is_over(self) -> bool:
        busy = self._waiting or self._submissions.pending or not self.scene.quiet
        all_in = self._states.total() >= self._wishes.runs or self._submissions.problems
        return bool(not busy and all_in and self._states.keys() <= TERMINAL)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that everything is stopped in order
    sys.exit(0 if run(Wishes(**json.loads(sys.argv[1]))) else 1)
