"""One attempt at a run: what is due after each step, and how it begins and ends. Knows no stream; a loop drives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from prolu.data.source import ActivationSource
from prolu.spec.report import Report, Stopped, Succeeded
from prolu.spec.run import RunSpec
from prolu.training.checkpoint import CheckpointStore, load_checkpoint
from prolu.training.learner import Learner
from prolu.training.reporter import Reporter

StopReason = Literal["cancel", "pause", "preempt", "orphaned"]


class Attempt:
    """A learner with its reports and checkpoints.

    After each step, in this order, what is due: training metrics, bias snapshot, evaluation, checkpoint. A checkpoint
    comes last, so that whoever accepts it in order has every report up to its step, and a resume repeats none before it.
    """

    def __init__(
        self,
        spec: RunSpec,
        source: ActivationSource,
        *,
        checkpoints: CheckpointStore,
        sink: Callable[[Report], None],
        device: str = "cpu",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.learner = Learner(spec, source.d_in, device=device)
        self._training = spec.training
        self._source = source
        self._checkpoints = checkpoints
        self._sink = sink
        self._reporter = Reporter(self.learner, sink, clock)
        self._saved_step = 0
        self._held_out: dict[str, float] | None = None

    @property
    def complete(self) -> bool:
        """Whether every step is done."""
        return self.learner.steps_done >= self._training.steps

    def begin(self, resume_from: str | None) -> None:
        """Start afresh, with a snapshot of the biases, or go on from the checkpoint at a path below the store's root.

        Raises CheckpointError or StorageError if there is a checkpoint to resume from and it cannot be used.
        """
        if resume_from is not None:
            self.learner.restore(load_checkpoint(self._checkpoints.root, resume_from))
            self._saved_step = self.learner.steps_done
        else:
            self._reporter.bias_snapshot()
        self._reporter.progress()

    def advance(self, x: Float[Tensor, "batch d_in"]) -> None:
        """Train one step and do what is due after it. Raises NonFiniteError, StorageError."""
        result = self.learner.step(x)
        training = self._training
        metrics_due = self._due(training.metrics_every_steps)
        snapshot_due = self._due(training.bias_snapshot_every_steps)
        evaluation_due = self._due(training.evaluate_every_steps)
        checkpoint_due = self._due(training.checkpoint_every_steps)
        if metrics_due or snapshot_due or evaluation_due or checkpoint_due:
            self.learner.require_finite()
        if metrics_due:
            self._reporter.training_metrics(result)
        if snapshot_due:
            self._reporter.bias_snapshot()
        if evaluation_due:
            self._held_out = self._reporter.held_out_metrics(self._source)
        if checkpoint_due:
            self._save()
        self._reporter.progress()

    def finish(self) -> Succeeded:
        """End a complete attempt; one that was resumed after the last step is evaluated again."""
        metrics = self._held_out or self._reporter.held_out_metrics(self._source)
        return Succeeded(step=self.learner.steps_done, metrics=metrics)

    def stop(self, reason: StopReason) -> Stopped:
        """End early: save what was trained since the last checkpoint. Raises NonFiniteError, StorageError."""
        if self.learner.steps_done != self._saved_step:
            self.learner.require_finite()
            self._save()
        return Stopped(step=self.learner.steps_done, reason=reason)

    def _due(self, every_steps: int | None) -> bool:
        return self.complete or (every_steps is not None and self.learner.steps_done % every_steps == 0)

    def _save(self) -> None:
        self._sink(self._checkpoints.write(self.learner.checkpoint(), final=self.complete))
        self._saved_step = self.learner.steps_done
