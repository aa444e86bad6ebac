"""Searches in the dispatcher: asked and told through the database alone, whoever leads."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from prolu.spec import SweepSpec
from prolu.spec.report import Report
from service.domain.errors import Invalid
from service.domain.search import ask
from service.store import extension, searches, successors, wishes
from service.store.live import LiveAttempt, live
from service.store.models import TrialRow
from service.store.successors import Again
from tests.workers.fake_cluster import FakeActor
from tests.workers.lab import Lab, progress
from tests.workers.searched import (
    achieved,
    all_trials,
    asked,
    begin_all,
    failing,
    runs,
    searching,
    state,
    stopped,
    submit,
    undisturbed,
    without_l0,
)

SAMPLERS = ["tpe", "nsga2", "motpe", "random"]


def finish_one(lab: Lab, outcome: Callable[[FakeActor], Report] = achieved) -> None:
    """The oldest actor trains, and ends so; the dispatcher hears of it."""
    actor = next(iter(lab.cluster.actors.values()))
    actor.say(progress(3), outcome(actor))
    lab.tick()


def to_the_end(lab: Lab, *, meanwhile: Callable[[], None] = lambda: None) -> None:
    lab.tick(2)
    while lab.cluster.actors:
        meanwhile()
        finish_one(lab)
        meanwhile()
        lab.tick(2)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_server_that_dies_after_every_step_asks_for_what_an_undisturbed_one_does(lab: Lab, kind: str) -> None:
    spec = searching(kind, trials=7)
    sweep_id = submit(lab, spec)
    to_the_end(lab, meanwhile=lab.succeed)
    assert asked(lab, sweep_id) == undisturbed(spec)
    assert len({str(one) for one in asked(lab, sweep_id)}) > 5
    assert state(lab, sweep_id) == "ended"
    assert sorted(runs(lab, sweep_id)) == [trial.number for trial in all_trials(lab, sweep_id) if trial.same_as is None]


def test_of_several_at_once_the_order_in_which_runs_ended_decides_and_not_when_somebody_looked(lab: Lab) -> None:
    spec = searching("tpe", trials=6, parallel=2)
    calm = submit(lab, spec)
    to_the_end(lab)
    at_once = submit(lab, spec)
    lab.tick(2)
    while lab.cluster.actors:
        for actor in list(lab.cluster.actors.values()):
            actor.say(progress(3))
        lab.tick()
        # Both end while nobody tells of trials; the clock of the database tells which was first.
        for actor in list(lab.cluster.actors.values()):
            actor.say(achieved(actor))
            lab.dispatcher._listener.hear(_live(lab), within_seconds=0)
        lab.succeed()
        lab.tick(3)
    assert asked(lab, at_once) == asked(lab, calm)
    told = [trial.told for trial in all_trials(lab, at_once)]
    assert told == list(range(1, 7))


def _live(lab: Lab) -> list[LiveAttempt]:
    with lab.database.read() as session:
        return live(session)


def test_never_more_points_are_open_than_the_search_allows(lab: Lab) -> None:
    lab.cluster.cpus = 8
    sweep_id = submit(lab, searching("random", trials=5, parallel=3))
    lab.tick(3)
    assert len(asked(lab, sweep_id)) == 3
    finish_one(lab)
    lab.tick()
    assert len(asked(lab, sweep_id)) == 4


def test_failures_and_results_that_are_no_numbers_are_told_as_such_and_the_search_goes_on(lab: Lab) -> None:
    sweep_id = submit(lab, searching("tpe", trials=4))
    lab.tick()
    for outcome in (failing, without_l0, achieved):
        finish_one(lab, outcome)
        lab.tick()
    failed, endless, complete, still_open = all_trials(lab, sweep_id)
    assert (failed.state, endless.state, complete.state, still_open.state) == ("failed", "failed", "complete", "open")
    assert "It diverged." in str(failed.message)
    assert "no finite l0" in str(endless.message)
    assert complete.values == [
        pytest.approx(complete.set["sae.d_sae"] / (1 + 100 * complete.set["sparsity.coefficient"]))
    ]
    assert [trial.on_front for trial in all_trials(lab, sweep_id)] == [False, False, True, False]


def test_a_paused_search_asks_for_nothing_until_it_is_resumed(lab: Lab) -> None:
    sweep_id = submit(lab, searching("tpe", trials=3))
    lab.tick()
    with lab.database.begin() as session:
        wishes.pause_sweep(session, sweep_id)
    begin_all(lab)
    lab.say(achieved)
    lab.tick(2)
    assert (state(lab, sweep_id), len(asked(lab, sweep_id))) == ("paused", 1)
    with lab.database.begin() as session:
        wishes.pause_sweep(session, sweep_id)  # a second wish changes nothing, though every run has ended
        wishes.resume_sweep(session, sweep_id)
    to_the_end(lab)
    assert (state(lab, sweep_id), len(asked(lab, sweep_id))) == ("ended", 3)


def test_a_cancelled_search_waits_for_what_is_open_and_asks_for_nothing_more(lab: Lab) -> None:
    sweep_id = submit(lab, searching("tpe", trials=3))
    lab.tick()
    begin_all(lab)
    with lab.database.begin() as session:
        wishes.cancel_sweep(session, sweep_id)
    lab.tick()
    assert state(lab, sweep_id) == "ending"
    lab.say(stopped)
    lab.tick(2)
    assert state(lab, sweep_id) == "ended"
    assert [(trial.state, trial.message) for trial in all_trials(lab, sweep_id)] == [
        ("failed", "Its run was cancelled.")
    ]


def test_more_trials_go_on_where_the_search_ended_as_if_it_never_had(lab: Lab) -> None:
    sweep_id = submit(lab, searching("tpe", trials=4))
    to_the_end(lab)
    assert state(lab, sweep_id) == "ended"
    extend(lab, sweep_id, searching("tpe", trials=6))
    to_the_end(lab)
    assert asked(lab, sweep_id) == undisturbed(searching("tpe", trials=6))


def extend(lab: Lab, sweep_id: UUID, spec: SweepSpec) -> None:
    with lab.database.begin() as session:
        extension.extend_sweep(session, sweep_id, spec=spec, points=[], highest_tier=0)


def test_a_search_grows_by_trials_and_by_nothing_else(lab: Lab) -> None:
    sweep_id = submit(lab, searching("tpe", trials=2))
    to_the_end(lab)
    for other in (
        searching("tpe", trials=1),
        searching("tpe", trials=9, search={"seed": 5}),
        searching("random", trials=9),
        searching("tpe", trials=9, early_stopping={"kind": "median", "metric": "l0", "goal": "minimize"}),
    ):
        with pytest.raises(Invalid, match="a search only grows"):
            extend(lab, sweep_id, other)
    assert state(lab, sweep_id) == "ended"


def test_a_failed_trial_that_is_tried_again_is_told_anew(lab: Lab) -> None:
    sweep_id = submit(lab, searching("tpe", trials=2))
    lab.tick()
    finish_one(lab, failing)
    lab.tick()
    finish_one(lab)
    lab.tick(2)
    assert state(lab, sweep_id) == "ended"
    with lab.database.begin() as session:
        assert successors.retry_failed(session, sweep_id, Again(), include_cancelled=False) == 1
    assert [trial.state for trial in all_trials(lab, sweep_id)] == ["open", "complete"]
    to_the_end(lab)
    first, second = all_trials(lab, sweep_id)
    assert (first.state, first.told, second.told, state(lab, sweep_id)) == ("complete", 3, 2, "ended")
    assert first.run_id == runs(lab, sweep_id)[0].id


def test_a_point_that_is_asked_for_twice_is_trained_once(lab: Lab) -> None:
    space = {"sae.d_sae": {"kind": "choice", "values": [16, 32]}}
    sweep_id = submit(lab, searching("random", trials=6, search={"space": space, "seed": 1}))
    to_the_end(lab)
    assert len(runs(lab, sweep_id)) == 2
    shared = [trial for trial in all_trials(lab, sweep_id) if trial.same_as is not None]
    assert len(shared) == 4
    by_number = {trial.number: trial for trial in all_trials(lab, sweep_id)}
    assert all(trial.values == by_number[trial.same_as or 0].values for trial in shared)


def test_an_answer_to_a_question_that_is_out_of_date_is_dropped(lab: Lab) -> None:
    sweep_id = submit(lab, searching("random", trials=5, parallel=2))
    with lab.database.read() as session:
        question = searches.question(session, sweep_id)
    assert question is not None
    lab.tick()
    with lab.database.begin() as session:
        answer = ask(question.search, question.sweep.base, question.trials)
        assert not searches.add(session, question, answer, None, message="late", most_waiting=None)
    assert all(trial.message is None for trial in all_trials(lab, sweep_id))


def test_a_search_whose_owner_may_not_have_more_runs_waiting_asks_when_there_is_room(lab: Lab) -> None:
    lab.cluster.cpus = 1
    lab.dispatcher = lab.new_dispatcher(max_queued_per_user=1)
    lab.expire_lead()
    sweep_id = submit(lab, searching("random", trials=5, parallel=4))
    lab.tick()
    assert len(asked(lab, sweep_id)) == 1
    lab.tick()
    assert len(asked(lab, sweep_id)) == 2, "the first one trains, and no longer waits"


def test_a_sampler_that_fails_pauses_its_search_and_holds_up_nobody_else(lab: Lab) -> None:
    sweep_id = submit(lab, searching("tpe", trials=5, parallel=2))
    lab.cluster.cpus = 8
    lab.tick()
    with lab.database.begin() as session:
        session.get_one(TrialRow, (sweep_id, 0)).distributions = {"sae.d_sae": "of a later version"}
        session.get_one(TrialRow, (sweep_id, 1)).state = "failed"
    other = lab.submit()
    lab.tick(2)
    assert state(lab, sweep_id) == "paused"
    assert lab.state(other) in ("starting", "running")
