"""Sweeps that search or stop early, in a lab whose runs achieve what a formula says."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select

from prolu.client.wire import TrialRead
from prolu.spec import RunSpec, SweepSpec, validate
from prolu.spec.report import Failed, MetricPoint, Report, Stopped, Succeeded
from service.domain.expansion import build, expand
from service.domain.search import Trial, ask
from service.store import queue, trials
from service.store.models import RunRow, SearchRow
from tests.workers.fake_cluster import FakeActor
from tests.workers.lab import Lab, progress

BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "d_in": 8},
    "sae": {"kind": "prolu", "d_sae": 16},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 100, "evaluate_every_steps": 10},
}
SPACE: dict[str, Any] = {
    "sparsity.coefficient": {"kind": "log_uniform", "low": 1e-4, "high": 1e-1},
    "sae.d_sae": {"kind": "integer", "low": 16, "high": 64, "step": 16},
    "sae.kind": {"kind": "choice", "values": ["prolu", "relu"]},
    "sae.estimator.kind": {"kind": "choice", "values": ["ste", "relu_like"], "when": {"sae.kind": "prolu"}},
}
OBJECTIVES = [{"metric": "l0", "goal": "minimize"}, {"metric": "ce_loss_score", "goal": "maximize"}]


def searching(kind: str, *, trials: int = 8, parallel: int = 1, **changes: Any) -> SweepSpec:
    """A sweep that searches by this sampler, for one objective or for two."""
    objectives = OBJECTIVES if kind in ("nsga2", "motpe") else OBJECTIVES[:1]
    search = {
        "kind": kind,
        "space": SPACE,
        "objectives": objectives,
        "trials": trials,
        "parallel": parallel,
        "startup": 3,
        **changes.pop("search", {}),
    }
    return validate({"name": "s", "base": BASE, "search": search, **changes}, SweepSpec)


def submit(lab: Lab, spec: SweepSpec, *, reuse: bool = False) -> UUID:
    with lab.database.begin() as session:
        sweep = queue.submit_sweep(
            session, owner_id=lab.owner_id, spec=spec, points=expand(spec), priority=50, reuse_later=reuse
        )
        return sweep.id


def metrics_of(spec: RunSpec) -> dict[str, float]:
    """What a run of these settings would achieve, if it were trained."""
    coefficient, d_sae = getattr(spec.sparsity, "coefficient", 0.0), spec.sae.d_sae
    return {"l0": d_sae / (1 + 100 * coefficient), "ce_loss_score": 1 - coefficient}


def achieved(actor: FakeActor) -> Report:
    return Succeeded(step=100, metrics=metrics_of(RunSpec.model_validate_json(actor.assignment.spec)))


def undisturbed(sweep: SweepSpec) -> list[dict[str, Any]]:
    """What the sampler of a sweep asks for when each point ends before the next one is chosen, and nothing lies between."""
    search, known = sweep.search, list[Trial]()
    assert search is not None
    settings = []
    for number in range(search.trials):
        answer = ask(search, sweep.base, known)
        metrics = metrics_of(build(sweep, number, None, answer.settings()).spec)
        values = [metrics[objective.metric] for objective in search.objectives]
        known.append(Trial(number, "complete", answer.params, answer.distributions, answer.attributes, values))
        settings.append(dict(answer.set))
    return settings


def failing(_: FakeActor) -> Report:
    return Failed(step=3, failure_class="user_error", message="It diverged.")


def without_l0(_: FakeActor) -> Report:
    """As a worker reports whose l0 was NaN: what JSON cannot say is left out."""
    return Succeeded(step=100, metrics={"ce_loss_score": 0.5})


def stopped(_: FakeActor) -> Report:
    return Stopped(step=3, reason="cancel")


def evaluation(step: int, l0: float) -> MetricPoint:
    return MetricPoint(split="held_out", step=step, tokens=step, values={"l0": l0})


def all_trials(lab: Lab, sweep_id: UUID) -> list[TrialRead]:
    with lab.database.read() as session:
        return trials.trials(session, sweep_id, limit=1_000, cursor=None).items


def asked(lab: Lab, sweep_id: UUID) -> list[dict[str, Any]]:
    """What was asked for, by number."""
    return [trial.set for trial in all_trials(lab, sweep_id)]


def state(lab: Lab, sweep_id: UUID) -> str:
    with lab.database.read() as session:
        return str(session.get_one(SearchRow, sweep_id).state)


def runs(lab: Lab, sweep_id: UUID) -> dict[int, RunRow]:
    """The runs that count, by point."""
    with lab.database.read() as session:
        rows = session.scalars(select(RunRow).where(RunRow.sweep_id == sweep_id, ~RunRow.superseded)).all()
    return {row.point: row for row in rows if row.point is not None}


def begin_all(lab: Lab) -> None:
    """Have every actor say that it trains."""
    for actor in lab.cluster.actors.values():
        actor.say(progress(3))
    lab.tick()
