"""What became of the work: lost, duplicated, wrong, each with sentences that say what was found.

lost         accepted by the service, and not in the database, or not succeeded
duplicated   a run nobody's accepted submission asked for; a run with two attempts at once, or that succeeded twice; rows
             that an attempt wrote after it was over, or that a woken sleeper wrote
wrong        final weights that differ in any bit from the undisturbed run's; or a series of metrics that does
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.chaos.adversary import Sleeper
from benchmarks.chaos.seen import Seen
from benchmarks.chaos.undisturbed import WEIGHTS, Undisturbed
from service.store.models import AttemptRow, CheckpointRow, MetricPointRow, RunRow


@dataclass
class Verdict:
    """The five numbers, and the sentences behind the last three."""

    submitted: int
    succeeded: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    """By failure class, or `succeeded`."""

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, duplicated or wrong."""
        return not (self.lost or self.duplicated or self.wrong)


def judge(
    accepted: Sequence[Mapping[str, Any]],
    problems: Sequence[Exception],
    seen: Seen,
    expected: Mapping[str, Undisturbed],
    artifacts: Path,
    sleepers: Sequence[Sleeper],
) -> Verdict:
    """Compare what was accepted, what the database holds and what lies in the store with the undisturbed runs."""
    rows = _Rows(seen)
    verdict = Verdict(sum(answer.get("count", 1) for answer in accepted))
    verdict.attempts.update(attempt.failure_class or attempt.outcome or "live" for attempt in rows.attempts_of_all)
    verdict.lost += [f"a submission was not accepted: {problem}" for problem in problems]
    _judge_presence(verdict, accepted, rows)
    for run in rows.runs:
        attempts = rows.attempts[run.id]
        verdict.succeeded += run.state == "succeeded"
        if doubles := _doubles(run, attempts, rows):
            verdict.duplicated.append(f"run {run.id} ({run.name}): {'; '.join(doubles)}")
        if run.state != "succeeded":
            verdict.lost.append(f"run {run.id} ({run.name}) is {run.state}: {run.message}")
        elif errors := _errors(run, rows, expected, artifacts):
            verdict.wrong.append(f"run {run.id} ({run.name}): {'; '.join(errors)}")
    verdict.duplicated += [what for sleeper in sleepers if (what := _of_sleeper(sleeper, seen))]
    return verdict


class _Rows:
    """Every row that is judged, by run."""

    def __init__(self, seen: Seen) -> None:
        self.runs: Sequence[RunRow] = seen.rows(RunRow)
        self.attempts_of_all: Sequence[AttemptRow] = seen.rows(AttemptRow)
        self.attempts: dict[UUID, list[AttemptRow]] = defaultdict(list)
        for attempt in sorted(self.attempts_of_all, key=lambda one: one.epoch):
            self.attempts[attempt.run_id].append(attempt)
        self.checkpoints: dict[UUID, list[CheckpointRow]] = defaultdict(list)
        for checkpoint in seen.rows(CheckpointRow):
            self.checkpoints[checkpoint.run_id].append(checkpoint)
        self.points: dict[UUID, list[MetricPointRow]] = defaultdict(list)
        for point in seen.rows(MetricPointRow):
            self.points[point.run_id].append(point)


def _judge_presence(verdict: Verdict, accepted: Sequence[Mapping[str, Any]], rows: _Rows) -> None:
    singles = {UUID(answer["id"]) for answer in accepted if "count" not in answer}
    sweeps = {UUID(answer["id"]): answer["count"] for answer in accepted if "count" in answer}
    held = {run.id for run in rows.runs if run.sweep_id is None}
    verdict.lost += [f"run {one} was accepted and is not there" for one in singles - held]
    verdict.duplicated += [f"nobody was told of run {one}" for one in held - singles]
    of_sweeps = Counter(run.sweep_id for run in rows.runs if run.sweep_id is not None)
    for sweep_id in sweeps.keys() | of_sweeps.keys():
        there, promised = of_sweeps[sweep_id], sweeps.get(sweep_id, 0)
        verdict.lost += [f"sweep {sweep_id} lacks a run"] * max(0, promised - there)
        verdict.duplicated += [f"sweep {sweep_id} has a run too many"] * max(0, there - promised)


def _doubles(run: RunRow, attempts: Sequence[AttemptRow], rows: _Rows) -> list[str]:
    found = []
    if sum(attempt.outcome == "succeeded" for attempt in attempts) > 1:
        found.append("two attempts succeeded")
    for one, next_one in pairwise(attempts):
        if one.finished_at is None or next_one.started_at < one.finished_at:
            found.append(f"epochs {one.epoch} and {next_one.epoch} were live at once")
    by_epoch = {attempt.epoch: attempt for attempt in attempts}
    for checkpoint in rows.checkpoints[run.id]:
        end = by_epoch[checkpoint.epoch].finished_at
        if end is not None and checkpoint.created_at > end:
            found.append(f"epoch {checkpoint.epoch} wrote the checkpoint of step {checkpoint.step} after its end")
    for point in rows.points[run.id]:
        # A step belongs to the last attempt that trained it: an earlier one's row would have been written after it.
        later = [
            attempt.epoch
            for attempt in attempts
            if attempt.epoch > point.epoch and (attempt.resumed_from_step or 0) < point.step <= attempt.last_step
        ]
        if later:
            found.append(f"metrics of step {point.step} are epoch {point.epoch}'s, though epoch {later[-1]} trained it")
        if point.step > by_epoch[point.epoch].last_step:
            found.append(f"metrics of step {point.step} are of epoch {point.epoch}, which never got there")
    return found


def _errors(run: RunRow, rows: _Rows, expected: Mapping[str, Undisturbed], artifacts: Path) -> list[str]:
    calm = expected.get(run.digest)
    if calm is None:
        return ["nobody submitted such a spec"]
    finals = [checkpoint for checkpoint in rows.checkpoints[run.id] if checkpoint.final]
    if not finals:
        return ["it succeeded without a final checkpoint"]
    found = []
    for final in finals:
        weights = (artifacts / final.path / WEIGHTS).read_bytes()
        if hashlib.sha256(weights).hexdigest() != calm.weights:
            found.append(f"the weights of epoch {final.epoch} differ from the undisturbed run's")
    points = {(point.split, point.step): point.metrics for point in rows.points[run.id]}
    if points != calm.metrics:
        different = {key for key in points.keys() | calm.metrics.keys() if points.get(key) != calm.metrics.get(key)}
        found.append(f"the metrics differ at {len(different)} of {len(calm.metrics)} points, first at {min(different)}")
    return found


def _of_sleeper(sleeper: Sleeper, seen: Seen) -> str | None:
    who = f"the stopped attempt {sleeper.epoch} of run {sleeper.run_id}"
    if sleeper.written is None:
        return f"{who} was never woken, since no other attempt finished the run"
    if sleeper.ended_after_seconds is None:
        return f"{who} goes on after it was woken"
    if seen.written_by(sleeper.run_id, sleeper.epoch) != sleeper.written:
        return f"{who} wrote to the database after it was woken"
    return None
