"""Start what the plan says: read the situation, plan, claim, ask the cluster for actors."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from prolu.spec.report import FailureClass
from service.domain.planning import Plan, Preemption
from service.settings import Settings
from service.store import lease, queue, situation
from service.store.db import Database
from service.store.queue import Claim
from workers.cluster import CLUSTER_LOST, CannotStart, Cluster
from workers.hearing import first_line
from workers.messages import Assignment, Attempt, Surroundings
from workers.metrics import DispatcherMetrics

log = structlog.get_logger(__name__)

# Without any event, time alone may change a plan: ages, limits, what room is held for.
_PLAN_AGAIN_SECONDS = 5.0


class Starter:
    """Plans when something has happened since the last plan, and claims what it decides; the claim is the guard, not the plan."""

    def __init__(
        self,
        database: Database,
        cluster: Cluster,
        settings: Settings,
        metrics: DispatcherMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._planned_event: tuple[int, int] | None = None
        self._planned_at = float("-inf")

    def start(self, *, anew: bool = False) -> None:
        """Start what fits now. `anew` plans even if nothing has happened."""
        with self._database.read() as session:
            newest = situation.last_event(session)
            stale = self._clock() - self._planned_at >= _PLAN_AGAIN_SECONDS
            if newest == self._planned_event and not stale and not anew:
                return
            now = situation.read(session, self._settings.policy)
        self._planned_event, self._planned_at = newest, self._clock()
        plan = now.plan(self._settings.policy)
        claims = self._claim(plan)
        epochs = {attempt.run_id: attempt.epoch for attempt in now.attempts}
        for preemption in plan.preemptions:
            self._make_room(preemption, epochs[preemption.run_id])
        for claim in claims:
            self._metrics.claimed(claim.waited_seconds)
            self._start_actor(claim)

    def _claim(self, plan: Plan) -> list[Claim]:
        """Take the runs that the plan starts."""
        starts = [decision for decision in plan.decisions if decision.start]
        chosen = {decision.run_id: decision.nodes for decision in starts}
        if not chosen:
            return []
        with self._metrics.claim(), self._database.begin() as session:
            if not lease.leads(session, self._settings.holder):
                return []  # the plan is as old as the lead that was lost while it was made
            return queue.claim(
                session,
                list(chosen),
                holder=self._settings.holder,
                lease_seconds=self._settings.lease_seconds,
                nodes=chosen,
                devices={decision.run_id: decision.devices for decision in starts},
            )

    def _make_room(self, preemption: Preemption, epoch: int) -> None:
        """Note that a live run stops for another. Alone, since whoever locks many runs locks them in order of their ids."""
        with self._database.begin() as session:
            message = f"It {preemption.reason}."
            queue.mark_stopping(session, preemption.run_id, epoch, reason="preempt", message=message)

    def _start_actor(self, claim: Claim) -> None:
        attempt = Attempt(str(claim.run_id), claim.epoch)
        assignment = Assignment(attempt, claim.spec.model_dump_json(), claim.resume_from)
        log.info("starting", run_id=attempt.run_id, epoch=attempt.epoch, resume_from=claim.resume_from)
        try:
            self._cluster.start(
                claim.actor_name, [assignment], self._surroundings(), claim.spec.resources, nodes=claim.nodes
            )
            self._metrics.started()
        except CannotStart as error:
            self._give_up(claim, "user_error", f"Ray does not start a worker with these resources: {first_line(error)}")
        except CLUSTER_LOST as error:
            self._give_up(claim, "ray_infra", f"Ray did not take the order for a worker: {first_line(error)}")

    def _give_up(self, claim: Claim, failure_class: FailureClass, message: str) -> None:
        log.error("cannot_start", run_id=str(claim.run_id), epoch=claim.epoch, why=message)
        with self._database.begin() as session:
            queue.lose(session, claim.run_id, claim.epoch, failure_class=failure_class, message=message)
        self._metrics.ended("lost", failure_class)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            artifact_root=self._settings.artifact_root,
            cache_dir=str(self._settings.cache_dir),
            data_roots=tuple(str(root) for root in self._settings.data_roots),
            hub_online=self._settings.hub != "offline",
            orphan_seconds=self._settings.orphan_seconds,
        )
