"""One attempt at a run: what is due before and after each step, and how it begins and ends. A loop drives it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from prolu.data.places import Interrupted
from prolu.data.source import ActivationSource
from prolu.models.artifacts import StorageError
from prolu.models.ranks import ALONE, Ranks
from prolu.spec.report import Report, Stopped, StopReason, Succeeded
from prolu.spec.run import RunSpec
from prolu.training.attentive import AttentiveSource
from prolu.training.checkpoint import CheckpointStore, load_checkpoint
from prolu.training.learner import Learner
from prolu.training.reporter import Reporter
from prolu.training.same_data import require_same_data_everywhere

_REASONS: tuple[StopReason, ...] = get_args(StopReason)

# Activations at the beginning of the stream that b_dec may start from.
_FIRST_ACTIVATIONS = 8_192


class StopRequested(Exception):
    """Somebody asked the attempt to end."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason: StopReason = reason


class Attempt:
    """A learner with its reports and checkpoints.

    Before a step, if it is time: a resample, on activations that training reads next. After each step, in this order, what
    is due: training metrics, bias snapshot, evaluation, diagnostics, checkpoint. A checkpoint comes last, so that whoever
    accepts it in order has every report up to its step, and a resume repeats none before it. An evaluation that a stop
    or a failure cuts short costs no weights: they are saved then, and the resume makes up for it. One report comes twice
    after a stop at step 0, which saves nothing: the first bias snapshot; and one after a stop during the closing
    diagnostics, which the resume repeats with the evaluation before them: the last held-out metrics.

    Of several ranks each has an attempt of its own, and all go through the same steps. The leader alone listens, for all of
    them, before each batch; it alone evaluates, saves and sends reports, while the others wait before the next batch.
    """

    def __init__(
        self,
        spec: RunSpec,
        source: ActivationSource,
        *,
        checkpoints: CheckpointStore,
        sink: Callable[[Report], None],
        should_stop: Callable[[], StopReason | None],
        device: str = "cpu",
        clock: Callable[[], float] = time.monotonic,
        ranks: Ranks = ALONE,
    ) -> None:
        self.learner = Learner(
            spec,
            source.d_in,
            input_rms=source.normaliser.rms,
            data_identity=source.identity,
            device=device,
            ranks=ranks,
        )
        self._spec = spec
        self._ranks = ranks
        self._source = AttentiveSource(source, before_batch=self._listen_together, measuring=self._listen)
        self._checkpoints = checkpoints
        self._sink = sink if ranks.leads else _unheard
        self._should_stop = should_stop
        self._reporter = Reporter(self.learner, self._sink, clock)
        self._saved_step = 0
        self._held_out: dict[str, float] | None = None

    @property
    def complete(self) -> bool:
        """Whether every step is done."""
        return self.learner.steps_done >= self._spec.training.steps

    def begin(self, resume_from: str | None) -> None:
        """Start afresh, with a snapshot of the biases, or go on from the checkpoint at a path below the store's root.

        Raises CheckpointError or StorageError if there is a checkpoint to resume from and it cannot be used, DataError if the
        data are no longer those that it was trained on, or not those of the leader.
        """
        learner = self.learner
        require_same_data_everywhere(self._source.identity, self._ranks)
        if resume_from is None:
            if self._spec.sae.b_dec_init != "zero":
                learner.initialise(self._next_activations(_FIRST_ACTIVATIONS))
                learner.require_finite()
            learner.align()
            self._snapshot()
        else:
            learner.restore(load_checkpoint(self._checkpoints.root, resume_from))
            learner.align()
            self._saved_step = learner.steps_done
            if self._evaluation_due() and int(learner.evaluated_step) != learner.steps_done:
                self._evaluate_and_save()
        self._reporter.progress()

    def advance(self) -> None:
        """Train one step, with what is due before and after it. Raises StopRequested, NonFiniteError, StorageError."""
        learner, training = self.learner, self._spec.training
        samples = learner.resampler.samples_due(learner.steps_done)
        inputs = self._next_activations(samples) if samples else None
        x = self._source.batch(learner.steps_done, training.batch_size)
        # Nobody is heard from here to the end of the step: a checkpoint between a resample and its step would resample again.
        if inputs is not None:
            learner.resample(inputs)
        result = learner.step(x)
        metrics_due = self._due(training.metrics_every_steps)
        snapshot_due = self._due(training.bias_snapshot_every_steps)
        if metrics_due or snapshot_due or self._evaluation_due() or self._checkpoint_due():
            learner.require_finite()
        if metrics_due:
            self._reporter.training_metrics(result)
        if snapshot_due:
            self._snapshot()
        self._evaluate_and_save()
        self._reporter.progress()

    def finish(self) -> Succeeded:
        """End a complete attempt; one that was resumed after the last step is evaluated again."""
        metrics = self._held_out or (self._reporter.held_out_metrics(self._source) if self._ranks.leads else {})
        return Succeeded(step=self.learner.steps_done, metrics=metrics)

    def stop(self, reason: StopReason) -> Stopped:
        """End early: save what was trained since the last checkpoint. Raises NonFiniteError, StorageError."""
        self._save_the_rest()
        return Stopped(step=self.learner.steps_done, reason=reason)

    def _evaluate_and_save(self) -> None:
        if self._evaluation_due():
            try:
                self._evaluate()
            except (StopRequested, Interrupted):
                raise  # `stop` saves
            except Exception:
                with contextlib.suppress(StorageError):  # the first failure is the one to report
                    self._save_the_rest()
                raise
        if self._checkpoint_due():
            self._save(final=self.complete)

    def _evaluate(self) -> None:
        if self._ranks.leads:
            self._held_out = self._reporter.held_out_metrics(self._source)
            if self.complete:
                self._reporter.diagnostics(self._source)
        self.learner.evaluated_step.fill_(self.learner.steps_done)

    def _snapshot(self) -> None:
        self._reporter.bias_snapshot()
        self.learner.remember_biases()

    def _evaluation_due(self) -> bool:
        return self._due(self._spec.training.evaluate_every_steps)

    def _checkpoint_due(self) -> bool:
        return self._due(self._spec.training.checkpoint_every_steps)

    def _due(self, every_steps: int | None) -> bool:
        return self.complete or (every_steps is not None and self.learner.steps_done % every_steps == 0)

    def _save_the_rest(self) -> None:
        if self.learner.steps_done != self._saved_step:
            self.learner.require_finite()
            self._save(final=False)

    def _save(self, *, final: bool) -> None:
        if self._ranks.leads:
            self._sink(self._checkpoints.write(self.learner.checkpoint(), final=final))
        self._saved_step = self.learner.steps_done

    def _next_activations(self, count: int) -> Float[Tensor, "count d_in"]:
        """Return the activations of the next batches, which training will read, too."""
        step, batch_size = self.learner.steps_done, self._spec.training.batch_size
        batches = [self._source.batch(step + ahead, batch_size) for ahead in range(-(-count // batch_size))]
        return torch.cat(batches)[:count]

    def _listen(self) -> None:
        reason = self._should_stop()
        if reason is not None:
            raise StopRequested(reason)

    def _listen_together(self) -> None:
        """Have every rank stop at the same step, at the leader's word."""
        reason = self._should_stop() if self._ranks.leads else None
        word = self._ranks.agree(0 if reason is None else 1 + _REASONS.index(reason))
        if word:
            raise StopRequested(_REASONS[word - 1])


def _unheard(report: Report) -> None:
    """Drop what the leader says as well."""
