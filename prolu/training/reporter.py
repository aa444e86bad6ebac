"""Turn a learner's state into reports. Knows no stream and no disk, and changes nothing that is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from prolu.analysis.bias_stats import bias_statistics, row_norms
from prolu.analysis.evaluation import evaluate
from prolu.analysis.gradient_alignment import gradient_alignment
from prolu.analysis.metrics import MetricSums, dead_fraction
from prolu.data.source import ActivationSource
from prolu.spec.report import BiasSnapshot, DiagnosticsMeasured, MetricPoint, Progress, Report
from prolu.training.learner import Learner, NonFiniteError, StepResult

PROGRESS_SECONDS = 1.0

# Architectures whose loss has a term beside reconstruction and penalty.
_WITH_AUXILIARY = ("gated", "topk", "batch_topk", "matryoshka_batch_topk")


class Reporter:
    """Sends the reports of one learner to a sink; progress at most once in PROGRESS_SECONDS by `clock`."""

    def __init__(self, learner: Learner, sink: Callable[[Report], None], clock: Callable[[], float]) -> None:
        self._learner = learner
        self._sink = sink
        self._clock = clock
        self._progress_at = -math.inf

    def progress(self, *, evaluating: bool = False) -> None:
        """Say how far the run is, unless it was said just now."""
        learner, now = self._learner, self._clock()
        total = learner.spec.training.steps
        if now - self._progress_at < PROGRESS_SECONDS and learner.steps_done < total:
            return
        self._progress_at = now
        phase = "evaluating" if evaluating else "training"
        self._sink(Progress(phase=phase, done=learner.steps_done, total=total))

    def training_metrics(self, result: StepResult) -> None:
        """Report the batch of the last step, as it was before the update.

        Beside the metrics of `prolu.analysis.metrics`, over this one batch: `loss`, its parts `reconstruction` and
        `penalty` (without its coefficient) and, of an architecture that has one, `auxiliary`, the `coefficient` and
        `learning_rate` of the step, and how many latents were `resampled` since the last point, if it was time to.
        """
        sums = MetricSums(self._learner.sae.d_in, device=result.x.device)
        sums.add(result.x, result.x_hat, result.acts)
        sums.pool(self._learner.ranks)
        values = sums.values() | {
            "loss": result.loss.item(),
            "reconstruction": result.reconstruction.item(),
            "penalty": result.penalty.item(),
            "coefficient": result.coefficient.item(),
            "learning_rate": result.learning_rate,
        }
        if self._learner.spec.sae.kind in _WITH_AUXILIARY:
            values["auxiliary"] = result.auxiliary.item()
        resampled = self._learner.resampler.count(self._learner.steps_done)
        if resampled is not None:
            values["resampled"] = float(resampled)
        values |= self._of_the_dead()
        self._point("train", values)

    def held_out_metrics(self, source: ActivationSource) -> dict[str, float]:
        """Evaluate on the held-out set, report and return its metrics, and dead_fraction once its window is full."""
        self.progress(evaluating=True)
        values = evaluate(self._learner.sae, source, batch_size=self._learner.spec.training.batch_size)
        values |= self._of_the_dead()
        self._point("held_out", values)
        return values

    def bias_snapshot(self) -> None:
        """Report the distribution of the gate's biases as they are, and how they moved since the snapshot before."""
        learner = self._learner
        firing = learner.firing
        statistics = bias_statistics(
            learner.sae.gate_bias.detach(),
            alive=~firing.dead,
            firing_frequency=firing.frequency,
            decoder_norms=row_norms(learner.sae.W_dec.detach()),
            previous=learner.biases.before(learner.steps_done),
        )
        self._sink(BiasSnapshot(step=learner.steps_done, tokens=learner.tokens, statistics=statistics))

    def diagnostics(self, source: ActivationSource) -> None:
        """Measure and report what the spec asks for beyond metrics, at the lambda of the last step."""
        learner, spec = self._learner, self._learner.spec
        if spec.training.gradient_alignment is None:
            return
        alignments = gradient_alignment(
            learner.sae,
            source,
            spec.training.gradient_alignment,
            sparsity=spec.sparsity,
            over=spec.training.reconstruction,
            coefficient=learner.coefficient,
        )
        self._sink(DiagnosticsMeasured(step=learner.steps_done, gradient_alignment=alignments))

    def _point(self, split: Literal["train", "held_out"], values: dict[str, float]) -> None:
        learner = self._learner
        infinite = [name for name, value in values.items() if not math.isfinite(value)]
        if infinite:
            raise NonFiniteError(
                f"The metric {infinite[0]} ({split}) became NaN or infinite at or before step {learner.steps_done}"
            )
        self._sink(MetricPoint(split=split, step=learner.steps_done, tokens=learner.tokens, values=values))

    def _of_the_dead(self) -> dict[str, float]:
        learner = self._learner
        if not learner.window_is_full:
            return {}
        window = learner.spec.training.dead_window_tokens
        return {"dead_fraction": dead_fraction(learner.firing.tokens_since_fired, window=window)}
