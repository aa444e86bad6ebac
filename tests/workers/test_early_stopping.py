"""Early stopping in the dispatcher: judged where points are stored, and the same whoever leads."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select

from prolu.spec import SweepSpec, validate
from prolu.spec.report import Succeeded
from service.store import sweep_tables
from service.store.models import CheckpointRow, EventRow, JudgementRow
from service.store.successors import Again, retry_failed
from tests.workers.fake_cluster import FakeActor
from tests.workers.lab import Lab, checkpoint, progress
from tests.workers.searched import (
    BASE,
    OBJECTIVES,
    all_trials,
    asked,
    evaluation,
    runs,
    searching,
    stopped,
    submit,
)

ASHA = {"kind": "asha", "metric": "l0", "goal": "minimize", "min_steps": 10, "reduction_factor": 2}
MEDIAN = {"kind": "median", "metric": "l0", "goal": "minimize", "min_steps": 10, "min_runs": 1}


def four(rule: dict[str, Any]) -> SweepSpec:
    coefficients = [0.001, 0.002, 0.003, 0.004]
    return validate({"base": BASE, "grid": {"sparsity.coefficient": coefficients}, "early_stopping": rule}, SweepSpec)


class Field:
    """The four runs of a sweep, all of them training."""

    def __init__(self, lab: Lab, rule: dict[str, Any]) -> None:
        lab.cluster.cpus = 4
        self.lab = lab
        self.sweep_id = submit(lab, four(rule))
        lab.tick(2)
        self.run_ids = [row.id for _, row in sorted(runs(lab, self.sweep_id).items())]
        actors = {UUID(actor.assignment.attempt.run_id): actor for actor in lab.cluster.actors.values()}
        self.actors = [actors[run_id] for run_id in self.run_ids]
        for actor in self.actors:
            actor.say(progress(3))
        lab.tick()

    def reports(self, point: int, step: int, l0: float) -> None:
        self.actors[point].say(evaluation(step, l0))
        self.lab.tick()

    def states(self) -> list[str]:
        return [row.state for _, row in sorted(runs(self.lab, self.sweep_id).items())]

    def verdicts(self) -> list[tuple[int, int, str]]:
        with self.lab.database.read() as session:
            rows = session.scalars(select(JudgementRow).where(JudgementRow.sweep_id == self.sweep_id)).all()
        return sorted((self.run_ids.index(row.run_id), row.step, row.verdict) for row in rows)

    def events(self, point: int) -> list[EventRow]:
        kinds = ("stopped_early", "goes_on")
        wanted = (EventRow.run_id == self.run_ids[point]) & EventRow.kind.in_(kinds)
        with self.lab.database.read() as session:
            return list(session.scalars(select(EventRow).where(wanted).order_by(EventRow.id)))


def said_in_turn(lab: Lab, *, killed: bool) -> list[tuple[int, int, str]]:
    field = Field(lab, ASHA)
    for point, step, l0 in ((0, 10, 5.0), (1, 10, 4.0), (2, 10, 6.0), (3, 10, 3.0), (1, 20, 4.0), (3, 20, 2.0)):
        if killed:
            lab.succeed()
        field.reports(point, step, l0)
    verdicts = field.verdicts()
    for actor in list(lab.cluster.actors.values()):
        actor.say(stopped(actor) if actor.asked_to_stop else Succeeded(step=100, metrics={"l0": 1.0}))
    lab.tick(2)
    assert not lab.cluster.actors
    return verdicts


def test_a_new_dispatcher_decides_as_the_old_one_would_have(lab: Lab) -> None:
    calm = said_in_turn(lab, killed=False)
    assert calm == [
        (0, 10, "go_on"),
        (1, 10, "go_on"),
        (1, 20, "go_on"),
        (2, 10, "stop"),
        (3, 10, "go_on"),
        (3, 20, "go_on"),
    ]
    assert said_in_turn(lab, killed=True) == calm


def test_a_stopped_run_says_why_in_its_results_and_events_and_keeps_its_checkpoints(lab: Lab) -> None:
    field = Field(lab, ASHA)
    field.reports(0, 10, 5.0)
    field.actors[1].say(checkpoint(field.actors[1], 10))
    field.reports(1, 10, 7.0)
    reason = "Stopped early by asha: l0 7 at step 10 (rung 0); the best 1 of 2 runs there go on, and need 5."
    (event,) = field.events(1)
    assert (event.kind, event.detail["reason"], event.detail["value"], event.detail["bound"]) == (
        "stopped_early",
        reason,
        7.0,
        5.0,
    )
    assert field.actors[1].asked_to_stop == ["cancel"]
    field.actors[1].say(stopped(field.actors[1]))
    lab.tick(2)
    assert field.states() == ["running", "cancelled", "running", "running"], "and it is not tried again"
    with lab.database.read() as session:
        rows = sweep_tables.results(session, field.sweep_id, limit=10, cursor=None).items
    assert [row.stopped_early for row in rows] == [None, reason, None, None]
    with lab.database.read() as session:
        kept = session.scalars(select(CheckpointRow.step).where(CheckpointRow.run_id == field.run_ids[1])).all()
    assert kept == [10]


def test_every_rung_is_judged_once_though_a_resumed_attempt_repeats_its_steps(lab: Lab) -> None:
    field = Field(lab, ASHA)
    field.reports(0, 10, 5.0)
    field.reports(1, 10, 4.0)
    field.reports(0, 10, 5.0)
    assert field.verdicts() == [(0, 10, "go_on"), (1, 10, "go_on")], "0 was the best when it came, and goes on"
    assert [event.kind for event in field.events(0)] == ["goes_on"]


def test_the_median_rule_too_leaves_what_it_decided_of_a_step(lab: Lab) -> None:
    field = Field(lab, MEDIAN)
    field.reports(1, 10, 7.0)
    field.reports(0, 10, 4.0)
    field.actors[0].say(Succeeded(step=100, metrics={"l0": 4.0}))
    lab.tick()
    field.reports(1, 10, 7.0)
    assert field.verdicts() == [(0, 10, "go_on"), (1, 10, "go_on")]
    field.reports(1, 20, 7.0)
    assert field.states()[1] == "running", "nobody who succeeded was at step 20"


def test_runs_are_compared_at_one_step_only(lab: Lab) -> None:
    field = Field(lab, ASHA)
    field.reports(0, 10, 5.0)
    field.reports(1, 12, 7.0)
    assert field.verdicts() == [(0, 10, "go_on"), (1, 12, "go_on")]


def test_of_those_that_report_together_each_is_judged_as_if_it_had_come_in_turn(lab: Lab) -> None:
    field = Field(lab, ASHA)
    for actor, l0 in zip(field.actors, (5.0, 6.0, 4.0, 4.5), strict=True):
        actor.say(evaluation(10, l0))
    lab.tick()
    assert field.verdicts() == [(0, 10, "go_on"), (1, 10, "stop"), (2, 10, "go_on"), (3, 10, "go_on")]


def test_the_median_rule_waits_for_runs_that_have_succeeded(lab: Lab) -> None:
    field = Field(lab, MEDIAN)
    for step, l0 in ((5, 8.0), (10, 4.0)):
        field.reports(0, step, l0)
    field.reports(1, 10, 7.0)
    assert "cancel" not in field.actors[1].asked_to_stop
    field.actors[0].say(Succeeded(step=100, metrics={"l0": 4.0}))
    lab.tick()
    field.reports(2, 10, 6.5)
    field.reports(3, 10, 6.0)
    assert field.verdicts() == [(0, 10, "go_on"), (1, 10, "go_on"), (2, 10, "stop"), (3, 10, "go_on")], "the mean is 6"


def test_training_metrics_and_other_sweeps_are_not_judged(lab: Lab) -> None:
    field = Field(lab, {**ASHA, "split": "train"})
    field.reports(0, 10, 5.0)
    field.reports(1, 10, 7.0)
    assert field.verdicts() == []


def test_a_run_that_was_faster_than_its_end_has_succeeded(lab: Lab) -> None:
    field = Field(lab, ASHA)
    field.reports(0, 10, 5.0)
    field.reports(1, 10, 7.0)
    field.actors[1].say(Succeeded(step=100, metrics={"l0": 7.0}))
    lab.tick()
    row = runs(lab, field.sweep_id)[1]
    assert (row.state, row.stopped_early) == ("succeeded", None)


def test_cancelled_runs_are_tried_again_but_not_those_that_were_stopped_early(lab: Lab) -> None:
    field = Field(lab, ASHA)
    field.reports(0, 10, 5.0)
    field.reports(1, 10, 7.0)
    field.actors[1].say(stopped(field.actors[1]))
    lab.tick()
    lab.wish_cancelled(field.run_ids[2])
    lab.tick()
    field.actors[2].say(stopped(field.actors[2]))
    lab.tick()
    with lab.database.begin() as session:
        assert retry_failed(session, field.sweep_id, Again(), include_cancelled=True) == 1
    assert runs(lab, field.sweep_id)[2].retry_of == field.run_ids[2]


def test_a_search_learns_from_what_was_stopped_early(lab: Lab) -> None:
    sweep_id = submit(lab, searching("tpe", trials=3, early_stopping=ASHA, search={"objectives": OBJECTIVES[:1]}))
    lab.tick()

    def end(actor: FakeActor, l0: float) -> None:
        actor.say(progress(3), evaluation(10, l0))
        lab.tick()
        actor.say(stopped(actor) if actor.asked_to_stop else Succeeded(step=100, metrics={"l0": l0}))
        lab.tick(2)

    end(lab.cluster.only, 5.0)
    end(lab.cluster.only, 9.0)
    assert len(asked(lab, sweep_id)) == 3
    first, second, _ = all_trials(lab, sweep_id)
    assert (first.state, first.values, second.state, second.values) == ("complete", [5.0], "pruned", None)
    assert "Stopped early by asha" in str(second.message)
