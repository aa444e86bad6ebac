"""`client.sweeps`: submit sweeps, decide about them, follow them, and read their results."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from prolu.client.bias_curves import BiasCurves
from prolu.client.display import waiting
from prolu.client.errors import WaitedTooLong
from prolu.client.following import follow
from prolu.client.frontiers import Frontier
from prolu.client.http import Http, Params, path_id
from prolu.client.keeping import Keeping
from prolu.client.results import Results, SeedResults
from prolu.client.runs import TERMINAL, Identity
from prolu.client.specs import checked
from prolu.client.wire import (
    BiasCurvesRead,
    FrontierRead,
    PlacePatch,
    ResultRow,
    RetryFailedRequest,
    RunSummary,
    SeedGroupRead,
    Seeds,
    SharingRequest,
    SweepBiasRead,
    SweepCreate,
    SweepExtend,
    SweepMetricRead,
    SweepPreview,
    SweepRead,
    Tier,
    TrialRead,
)
from prolu.spec import LimitsSpec, SweepSpec, validate
from prolu.spec.pareto import Goal


class Sweeps(Keeping[SweepRead]):
    """The sweeps that you may see."""

    def __init__(self, http: Http, sleep: Callable[[float], None]) -> None:
        super().__init__(http, "/v1/sweeps", SweepRead)
        self._sleep = sleep

    def submit(
        self,
        spec: SweepSpec | Mapping[str, Any] | Path,
        *,
        priority: int = 50,
        tier: Tier = "normal",
        preemptible: bool = False,
        reuse: bool = False,
    ) -> SweepRead:
        """Put every run of a sweep into the queue, or none; plain data, or a YAML or JSON file, is validated here first.

        With `reuse` its points refer to identical finished runs, where there are any; without, the answer's `reusable` says how
        many there are. Raises SpecError, Invalid, Forbidden, OSError.

        Example: `sweep = client.sweeps.submit(Path("sweep.yaml"), reuse=True)`.
        """
        checked_spec = checked(spec, SweepSpec)
        body = validate(
            {"spec": checked_spec, "priority": priority, "tier": tier, "preemptible": preemptible, "reuse": reuse},
            SweepCreate,
        )
        return self._http.post("/v1/sweeps", SweepRead, body)

    def preview(self, spec: SweepSpec | Mapping[str, Any] | Path) -> SweepPreview:
        """The runs that a sweep would put into the queue, and which were finished elsewhere; nothing is written.

        Of a search, those that it would ask for first. Raises SpecError, Invalid.

        Example: `client.sweeps.preview(Path("sweep.yaml")).count`.
        """
        return self._http.post(
            "/v1/sweeps:preview", SweepPreview, validate({"spec": checked(spec, SweepSpec)}, SweepCreate)
        )

    def get(self, sweep: Identity) -> SweepRead:
        """One sweep, and how many of its runs are in which state. Raises NotFound.

        Example: `client.sweeps.get(sweep.id).states["succeeded"]`.
        """
        return self._http.get(f"/v1/sweeps/{path_id(sweep)}", SweepRead)

    def list(
        self, *, id: str | None = None, archived: bool = False, limit: int | None = None
    ) -> builtins.list[SweepRead]:
        """Sweeps, the newest first, without the archive unless that is asked for; all unless `limit` says how many.

        `id` is what an id begins or ends with, four digits or more.

        Example: `client.sweeps.list(limit=10)`.
        """
        params: Params = {"id": id, "archived": "true" if archived else None}
        return [*self._http.pages("/v1/sweeps", SweepRead, params, limit)]

    def cancel(self, sweep: Identity) -> SweepRead:
        """Wish that every run of the sweep that has not ended end. Raises Conflict if there is none.

        Example: `client.sweeps.cancel(going.id)`.
        """
        return self._http.post(f"/v1/sweeps/{path_id(sweep)}:cancel", SweepRead)

    def pause(self, sweep: Identity) -> SweepRead:
        """Wish that every run of the sweep that has not ended rest until it is resumed. Raises Conflict if there is none.

        Example: `client.sweeps.pause(going.id)`.
        """
        return self._http.post(f"/v1/sweeps/{path_id(sweep)}:pause", SweepRead)

    def resume(self, sweep: Identity) -> SweepRead:
        """Take back every pause of the sweep's runs. Raises Conflict if none is paused.

        Example: `client.sweeps.resume(resting.id)`.
        """
        return self._http.post(f"/v1/sweeps/{path_id(sweep)}:resume", SweepRead)

    def retry_failed(
        self,
        sweep: Identity,
        *,
        from_scratch: bool = False,
        include_cancelled: bool = False,
        limits: LimitsSpec | None = None,
    ) -> SweepRead:
        """Submit a run in the place of each one that failed, all or none; `limits` as for a run. Raises Conflict, Invalid.

        Example: `client.sweeps.retry_failed(broken.id)`.
        """
        body = validate(
            {"from_scratch": from_scratch, "include_cancelled": include_cancelled, "limits": limits}, RetryFailedRequest
        )
        return self._http.post(f"/v1/sweeps/{path_id(sweep)}:retry_failed", SweepRead, body)

    def extend(self, sweep: Identity, spec: SweepSpec | Mapping[str, Any] | Path, *, reuse: bool = False) -> SweepRead:
        """Give the sweep a new description that has all its points and more, which are submitted; a search gets more trials.

        With `reuse` new points refer to identical finished runs, where there are any. Raises SpecError, Invalid.

        Example: `client.sweeps.extend(going.id, Path("more.yaml"))`.
        """
        body = validate({"spec": checked(spec, SweepSpec), "reuse": reuse}, SweepExtend)
        return self._http.post(f"/v1/sweeps/{path_id(sweep)}:extend", SweepRead, body)

    def change(
        self,
        sweep: Identity,
        *,
        priority: int | None = None,
        tier: Tier | None = None,
        preemptible: bool | None = None,
    ) -> SweepRead:
        """Change the place in the queue of its runs that have not ended, and of those to come; what is None stays.

        Raises Conflict, Forbidden, SpecError.

        Example: `client.sweeps.change(going.id, priority=20)`.
        """
        body = validate({"priority": priority, "tier": tier, "preemptible": preemptible}, PlacePatch)
        return self._http.patch(f"/v1/sweeps/{path_id(sweep)}", SweepRead, body)

    def share(self, sweep: Identity, *users: str) -> SweepRead:
        """Let users decide about the sweep and its runs as you do, but for sharing it. Raises Forbidden, Invalid, NotFound.

        Example: `client.sweeps.share(sweep.id, "ada", "grace")`.
        """
        body = validate({"users": [*users]}, SharingRequest)
        return self._http.post(f"/v1/sweeps/{path_id(sweep)}:share", SweepRead, body)

    def unshare(self, sweep: Identity, *users: str) -> SweepRead:
        """Share the sweep with these users no longer. Raises Forbidden, Invalid, NotFound.

        Example: `client.sweeps.unshare(sweep.id, "grace")`.
        """
        body = validate({"users": [*users]}, SharingRequest)
        return self._http.post(f"/v1/sweeps/{path_id(sweep)}:unshare", SweepRead, body)

    def runs(self, sweep: Identity) -> builtins.list[RunSummary]:
        """The runs of a sweep, by point.

        Example: `[run.state for run in client.sweeps.runs(sweep.id)]`.
        """
        return [*self._http.pages(f"/v1/sweeps/{path_id(sweep)}/runs", RunSummary)]

    def trials(self, sweep: Identity) -> builtins.list[TrialRead]:
        """What a searching sweep asked for, by number, what came of it, and which no other one beats. Raises Conflict.

        Example: `[trial.values for trial in client.sweeps.trials(search.id) if trial.on_front]`.
        """
        return [*self._http.pages(f"/v1/sweeps/{path_id(sweep)}/trials", TrialRead)]

    def results(self, sweep: Identity, filter: str = "", *, order_by: str = "", limit: int | None = None) -> Results:
        """One row per run: what was set, the final metrics, the last bias statistics; by point unless `order_by` says otherwise.

        `filter` and `order_by` are in the language of `client.results.query`, which has columns to choose too. Raises NotFound,
        Invalid.

        Example: `client.sweeps.results(sweep.id, 'state = "succeeded"', order_by="metrics.fvu").to_polars()`.
        """
        params = {"filter": filter or None, "order_by": order_by or None}
        rows = [*self._http.pages(f"/v1/sweeps/{path_id(sweep)}/results", ResultRow, params, limit)]
        return Results(rows, ordered=bool(order_by))

    def results_over_seeds(self, sweep: Identity, *, against: str | None = None) -> SeedResults:
        """One row per group of runs that differ in `training.seed` alone: each number with its error and interval.

        `against` is a variant: rows of the others then tell their differences from it at equal settings, paired by seed.

        Example: `client.sweeps.results_over_seeds(sweep.id, against="relu").records()`.
        """
        path = f"/v1/sweeps/{path_id(sweep)}/results_over_seeds"
        return SeedResults([*self._http.pages(path, SeedGroupRead, {"against": against})], against=against)

    def frontier(
        self,
        sweep: Identity,
        *,
        x: str = "metrics.l0",
        y: str = "metrics.fvu",
        x_goal: Goal | None = None,
        y_goal: Goal | None = None,
        by: str = "family",
        seeds: Seeds = "each",
        dominated: bool = False,
        filter: str = "",
    ) -> Frontier:
        """The Pareto frontier of each family of its runs, over any two numbers, as `client.results.frontier`. Raises NotFound.

        Example: `client.sweeps.frontier(sweep.id, y="metrics.fvu").records()`.
        """
        params = {
            "x": x,
            "y": y,
            "x_goal": x_goal,
            "y_goal": y_goal,
            "by": by,
            "seeds": seeds,
            "filter": filter or None,
        }
        params |= {"dominated": "true" if dominated else None}
        return Frontier(self._http.get(f"/v1/sweeps/{path_id(sweep)}/frontier", FrontierRead, params))

    def biases(
        self,
        sweep: Identity,
        x: str = "spec.sparsity.coefficient",
        *,
        by: str = "family",
        latents: Literal["all", "alive", "dead"] = "all",
        bins: int = 24,
        filter: str = "",
    ) -> BiasCurves:
        """The last biases of its runs against a field, as `client.results.biases`. Raises NotFound, Invalid.

        Example: `client.sweeps.biases(sweep.id, "spec.sparsity.coefficient", latents="alive").records()`.
        """
        params: Params = {"x": x, "by": by, "latents": latents, "bins": bins, "filter": filter or None}
        return BiasCurves(self._http.get(f"/v1/sweeps/{path_id(sweep)}/biases", BiasCurvesRead, params))

    def bias_statistics(self, sweep: Identity, *, histograms: bool = True) -> builtins.list[SweepBiasRead]:
        """The last bias statistics of every run that has any, by point; without histograms far less travels.

        Example: `{one.point: one.statistics.all.bias.mean for one in client.sweeps.bias_statistics(sweep.id)}`.
        """
        params = {"histograms": None if histograms else "false"}
        return [*self._http.pages(f"/v1/sweeps/{path_id(sweep)}/bias_statistics", SweepBiasRead, params)]

    def follow_metrics(
        self, sweep: Identity, *, split: Literal["train", "held_out"] | None = None
    ) -> Iterator[SweepMetricRead]:
        """What its runs have measured, and then what comes, as it comes, until all have ended; each step of a run once, by split.

        Of each run they come in order; those of several runs come as they are reported. Raises ConnectionFailed, NotFound.

        Example: `for point in client.sweeps.follow_metrics(sweep.id): print(point.run_id, point.step, point.values["l0"])`.
        """
        told: dict[tuple[UUID, str], int] = {}
        path = f"/v1/sweeps/{path_id(sweep)}/metrics/stream"
        for message in follow(self._http, path, {"split": split}, sleep=self._sleep):
            point = SweepMetricRead.model_validate_json(message.data)
            series = point.run_id, point.split
            if point.step > told.get(series, -1):
                told[series] = point.step
                yield point

    def wait(
        self,
        sweep: Identity,
        *,
        timeout_seconds: float | None = None,
        poll_seconds: float = 1.0,
        on_update: Callable[[builtins.list[RunSummary]], None] | None = None,
        on_look: Callable[[SweepRead], None] = lambda _sweep: None,
        progress: bool = False,
    ) -> SweepRead:
        """Return the sweep once its runs have ended, and its search if it has one; tell `on_look` what every look shows.

        A look is one request, for how many runs are in which state, unless `on_update` is to hear of the runs themselves, or bars
        are shown: those take one more for every hundred runs.

        With `progress` a terminal or a notebook shows bars meanwhile: one of the whole sweep, and one of each run that is worked
        on, up to eight. An interrupt leaves the runs running. Raises WaitedTooLong.

        Example: `client.sweeps.wait(sweep.id, progress=True).states`.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with waiting(self._http, f"Sweep {sweep}", f'client.sweeps.cancel("{sweep}")', progress=progress) as show:
            while True:
                with self._http.patiently():
                    found = self.get(sweep)
                    # After the counts, so that the last look shows every run as it ended.
                    runs = self.runs(sweep) if on_update is not None or show is not None else []
                on_look(found)
                if on_update is not None:
                    on_update(runs)
                if show is not None:
                    show(runs)
                going = sum(count for state, count in found.states.items() if state not in TERMINAL)
                if going == 0 and not _searches(found):
                    return found
                if deadline is not None and time.monotonic() >= deadline:
                    raise WaitedTooLong(
                        f"{going} of {found.count} runs have not ended after {timeout_seconds:g} s; wait longer."
                    )
                self._sleep(poll_seconds)


def _searches(sweep: SweepRead) -> bool:
    return sweep.search is not None and sweep.search.state != "ended"
