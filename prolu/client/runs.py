"""`client.runs`: submit runs, decide about them, follow them, and read what they report."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from prolu.client.display import waiting
from prolu.client.errors import WaitedTooLong
from prolu.client.following import follow
from prolu.client.http import Http, Params, path_id
from prolu.client.keeping import Keeping
from prolu.client.specs import checked
from prolu.client.wire import (
    AttemptRead,
    BiasSnapshotRead,
    CheckpointRead,
    CloneRequest,
    CompareRequest,
    ComparisonRead,
    DiagnosticsRead,
    EventRead,
    ExplainRead,
    LogRead,
    MetricRead,
    Page,
    PlacePatch,
    RetryRequest,
    RunCreate,
    RunRead,
    RunState,
    RunSummary,
    Tier,
)
from prolu.spec import LimitsSpec, RunSpec, validate

TERMINAL: frozenset[RunState] = frozenset({"succeeded", "failed", "cancelled"})

Identity = UUID | str


class Runs(Keeping[RunRead]):
    """The runs that you may see."""

    def __init__(self, http: Http, sleep: Callable[[float], None]) -> None:
        super().__init__(http, "/v1/runs", RunRead)
        self._sleep = sleep

    def submit(
        self,
        spec: RunSpec | Mapping[str, Any] | Path,
        *,
        priority: int = 50,
        tier: Tier = "normal",
        preemptible: bool = False,
        reuse: bool = False,
    ) -> RunRead:
        """Put a run into the queue; plain data, or a YAML or JSON file, is validated here first.

        With `reuse` it refers to an identical finished run, if there is one (`reused_from`), and has succeeded at once.
        Raises SpecError, Invalid, Forbidden, OSError.

        Example: `run = client.runs.submit(Path("run.yaml"), priority=70)`.
        """
        checked_spec = checked(spec, RunSpec)
        body = validate(
            {"spec": checked_spec, "priority": priority, "tier": tier, "preemptible": preemptible, "reuse": reuse},
            RunCreate,
        )
        return self._http.post("/v1/runs", RunRead, body)

    def get(self, run: Identity) -> RunRead:
        """One run with its spec. Raises NotFound.

        Example: `client.runs.get(run.id).spec.sparsity`.
        """
        return self._http.get(f"/v1/runs/{path_id(run)}", RunRead)

    def explain(self, run: Identity) -> ExplainRead:
        """Why the run waits, what stands before it, and when it would start. Raises NotFound.

        Example: `client.runs.explain(waiting.id).reason`.
        """
        return self._http.get(f"/v1/runs/{path_id(run)}/explain", ExplainRead)

    def list(
        self,
        filter: str = "",
        *,
        order_by: str = "",
        state: RunState | Sequence[RunState] | None = None,
        owner: str | None = None,
        sweep: Identity | None = None,
        id: str | None = None,
        archived: bool = False,
        limit: int | None = None,
    ) -> builtins.list[RunSummary]:
        """Runs without their specs, the newest first unless `order_by` says otherwise; all of them unless `limit` says how many.

        `filter` and `order_by` are in the language of `client.results.query`; `state` is one state or several; `id` is
        what an id begins or ends with, four digits or more. Those in the archive are left out, unless `archived` is true or
        their sweep is asked for. Raises Invalid.

        Example: `client.runs.list('spec.sae.kind = "prolu"', order_by="metrics.fvu", state="succeeded", limit=10)`.
        """
        params: Params = {
            "filter": filter or None,
            "order_by": order_by or None,
            "state": [state] if isinstance(state, str) else [*state] if state else None,
            "owner": owner,
            "sweep_id": None if sweep is None else path_id(sweep),
            "id": id,
            "archived": "true" if archived else None,
        }
        return [*self._http.pages("/v1/runs", RunSummary, params, limit)]

    def cancel(self, run: Identity) -> RunRead:
        """Wish that the run end; it does so soon. Raises Conflict if it has succeeded or failed already.

        Example: `client.runs.cancel(waiting.id)`.
        """
        return self._http.post(f"/v1/runs/{path_id(run)}:cancel", RunRead)

    def pause(self, run: Identity) -> RunRead:
        """Wish that the run rest until it is resumed; if it trains it writes a checkpoint first. Raises Conflict if it ended.

        Example: `client.runs.pause(waiting.id)`.
        """
        return self._http.post(f"/v1/runs/{path_id(run)}:pause", RunRead)

    def resume(self, run: Identity) -> RunRead:
        """Put a paused run back into the queue, or take back a pause that has not come. Raises Conflict for any other.

        Example: `client.runs.resume(paused.id)`.
        """
        return self._http.post(f"/v1/runs/{path_id(run)}:resume", RunRead)

    def retry(self, run: Identity, *, from_scratch: bool = False, limits: LimitsSpec | None = None) -> RunRead:
        """Submit a run in the place of one that failed or was cancelled, and return it; it goes on from the last checkpoint.

        `limits` gives it other time limits, such as more time after a `timeout`; what is None in it stays. A run that waits
        for its next attempt waits no longer, and is returned itself. Raises Conflict for any other, SpecError, Invalid.

        Example: `client.runs.retry(failed.id, from_scratch=True)`.
        """
        body = validate({"from_scratch": from_scratch, "limits": limits}, RetryRequest)
        return self._http.post(f"/v1/runs/{path_id(run)}:retry", RunRead, body)

    def clone(
        self,
        run: Identity,
        *,
        set: Mapping[str, Any] | None = None,
        name: str | None = None,
        priority: int | None = None,
        tier: Tier | None = None,
        preemptible: bool | None = None,
    ) -> RunRead:
        """Submit a run like another, with what `set` changes by path (`{"sparsity.coefficient": 0.002}`).

        Raises SpecError, Invalid.

        Example: `client.runs.clone(run.id, set={"sparsity.coefficient": 0.003}, name="sparser")`.
        """
        body = validate(
            {"set": dict(set or {}), "name": name, "priority": priority, "tier": tier, "preemptible": preemptible},
            CloneRequest,
        )
        return self._http.post(f"/v1/runs/{path_id(run)}:clone", RunRead, body)

    def change(
        self,
        run: Identity,
        *,
        priority: int | None = None,
        tier: Tier | None = None,
        preemptible: bool | None = None,
    ) -> RunRead:
        """Change the run's place in the queue; what is None stays. Raises Conflict if it ended, Forbidden, SpecError.

        Example: `client.runs.change(waiting.id, priority=90)`.
        """
        body = validate({"priority": priority, "tier": tier, "preemptible": preemptible}, PlacePatch)
        return self._http.patch(f"/v1/runs/{path_id(run)}", RunRead, body)

    def wait(
        self,
        run: Identity,
        *,
        timeout_seconds: float | None = None,
        poll_seconds: float = 1.0,
        on_update: Callable[[RunRead], None] = lambda _run: None,
        progress: bool = False,
    ) -> RunRead:
        """Return the run once it has succeeded, failed or been cancelled; tell `on_update` what every look shows.

        With `progress` a terminal or a notebook shows a bar meanwhile. An interrupt leaves the run running. Raises WaitedTooLong.

        Example: `client.runs.wait(run.id, progress=True).metrics["l0"]`.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with waiting(self._http, f"Run {run}", f'client.runs.cancel("{run}")', progress=progress) as show:
            while True:
                with self._http.patiently():
                    seen = self.get(run)
                on_update(seen)
                if show is not None:
                    show([seen])
                if seen.state in TERMINAL:
                    return seen
                if deadline is not None and time.monotonic() >= deadline:
                    raise WaitedTooLong(
                        f"Run {seen.id} is still {seen.state} after {timeout_seconds:g} s; wait longer."
                    )
                self._sleep(poll_seconds)

    def metrics(
        self,
        run: Identity,
        *,
        names: Sequence[str] = (),
        split: Literal["train", "held_out"] | None = None,
        from_step: int | None = None,
        to_step: int | None = None,
        points: int | None = None,
    ) -> builtins.list[MetricRead]:
        """The metric series, by step: of all metrics or those named, in a span of steps, whole or in so many `points` of each.

        Example: `[(point.step, point.values["l0"]) for point in client.runs.metrics(run.id, names=["l0"], points=100)]`.
        """
        params = {
            "names": [*names] or None,
            "split": split,
            "from_step": from_step,
            "to_step": to_step,
            "points": points,
        }
        return [*self._http.pages(f"/v1/runs/{path_id(run)}/metrics", MetricRead, params)]

    def compare(self, *runs: Identity, bins: int = 24) -> ComparisonRead:
        """Two to ten runs beside the first: where their specs differ, metrics with differences, biases on common bins.

        Raises NotFound, SpecError, Invalid.

        Example: `client.runs.compare(run.id, other.id).spec`.
        """
        body = validate({"run_ids": [path_id(run) for run in runs], "bins": bins}, CompareRequest)
        return self._http.post("/v1/runs:compare", ComparisonRead, body)

    def biases(self, run: Identity, *, last: int | None = None) -> builtins.list[BiasSnapshotRead]:
        """The statistics of the encoder biases, by step; all snapshots, or the `last` so many.

        Example: `[one.statistics.all.fraction_negative for one in client.runs.biases(run.id)]`.
        """
        path = f"/v1/runs/{path_id(run)}/bias_statistics"
        if last is None:
            return [*self._http.pages(path, BiasSnapshotRead)]
        return [*self._http.pages(path, BiasSnapshotRead, {"order": "desc"}, last)][::-1]

    def diagnostics(self, run: Identity) -> builtins.list[DiagnosticsRead]:
        """What was measured beyond metrics, by step: where each gradient estimator's update points.

        Example: `[one.gradient_alignment for one in client.runs.diagnostics(run.id)]`.
        """
        return [*self._http.pages(f"/v1/runs/{path_id(run)}/diagnostics", DiagnosticsRead)]

    def checkpoints(self, run: Identity) -> builtins.list[CheckpointRead]:
        """The checkpoints, by step.

        Example: `client.runs.checkpoints(run.id)[-1].step`.
        """
        return [*self._http.pages(f"/v1/runs/{path_id(run)}/checkpoints", CheckpointRead)]

    def attempts(self, run: Identity) -> builtins.list[AttemptRead]:
        """Every try at the run, the first one first.

        Example: `[attempt.outcome for attempt in client.runs.attempts(run.id)]`.
        """
        return [*self._http.pages(f"/v1/runs/{path_id(run)}/attempts", AttemptRead)]

    def attempt_seconds(self, run: Identity) -> float:
        """How long the tries at the run took in all, in seconds, starts of workers included; one that lives counts nothing.

        Example: `client.runs.attempt_seconds(run.id) / 3600`.
        """
        return sum(
            (one.finished_at - one.started_at).total_seconds()
            for one in self.attempts(run)
            if one.finished_at is not None
        )

    def logs(self, run: Identity, *, epoch: int | None = None, lines: int | None = None) -> builtins.list[LogRead]:
        """What its worker logged and printed, oldest first: all of it, of one attempt (`epoch`), or the last `lines` lines.

        Example: `"".join(chunk.text for chunk in client.runs.logs(run.id, lines=100))`.
        """
        path = f"/v1/runs/{path_id(run)}/logs"
        if lines is not None:
            return self._http.get(path, Page[LogRead], {"epoch": epoch, "tail": lines}).items
        return [*self._http.pages(path, LogRead, {"epoch": epoch})]

    def follow_logs(self, run: Identity, *, epoch: int | None = None, lines: int | None = None) -> Iterator[LogRead]:
        """The same, and then what comes, as it comes, until the run (or the attempt) has ended. Raises ConnectionFailed.

        Example: `for chunk in client.runs.follow_logs(run.id): print(chunk.text, end="")`.
        """
        path = f"/v1/runs/{path_id(run)}/logs"
        params = {"follow": "true", "epoch": epoch, "tail": lines}
        for message in follow(self._http, path, params, sleep=self._sleep):
            yield LogRead.model_validate_json(message.data)

    def follow_metrics(
        self, run: Identity, *, split: Literal["train", "held_out"] | None = None
    ) -> Iterator[MetricRead]:
        """The metric series, and then what comes, as it comes, until the run has ended; each step once, by kind of batch.

        An attempt that goes on from a checkpoint repeats the steps since then, with equal values; they are left out here.
        Raises ConnectionFailed, NotFound.

        Example: `for point in client.runs.follow_metrics(run.id, split="train"): print(point.step, point.values["l0"])`.
        """
        told: dict[str, int] = {}
        path = f"/v1/runs/{path_id(run)}/metrics/stream"
        for message in follow(self._http, path, {"split": split}, sleep=self._sleep):
            point = MetricRead.model_validate_json(message.data)
            if point.step > told.get(point.split, -1):
                told[point.split] = point.step
                yield point

    def events(self, run: Identity) -> builtins.list[EventRead]:
        """Everything that happened to the run, in order.

        Example: `[(event.at, event.kind) for event in client.runs.events(run.id)]`.
        """
        return [*self._http.pages(f"/v1/runs/{path_id(run)}/events", EventRead)]
