"""Turn a learner's state into reports. Knows no stream and no disk, and changes nothing that is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from prolu.analysis.bias_stats import bias_statistics
from prolu.analysis.evaluation import evaluate
from prolu.analysis.metrics import MetricSums, dead_fraction
from prolu.data.source import ActivationSource
from prolu.spec.report import BiasSnapshot, MetricPoint, Progress, Report
from prolu.training.learner import Learner, NonFiniteError, StepResult

PROGRESS_SECONDS = 1.0


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
        `penalty` (without its coefficient), and the `coefficient` and `learning_rate` of the step.
        """
        sums = MetricSums(self._learner.sae.d_in, device=result.x.device)
        sums.add(result.x, result.x_hat, result.acts)
        values = sums.values() | {
            "dead_fraction": self._dead_fraction(),
            "loss": result.loss.item(),
            "reconstruction": result.reconstruction.item(),
            "penalty": result.penalty.item(),
            "coefficient": result.coefficient,
            "learning_rate": result.learning_rate,
        }
        self._point("train", values)

    def held_out_metrics(self, source: ActivationSource) -> dict[str, float]:
        """Evaluate on the held-out set, report and return l0, l1, mse, fvu; and the dead_fraction of training so far."""
        self.progress(evaluating=True)
        values = evaluate(self._learner.sae, source, batch_size=self._learner.spec.training.batch_size)
        values["dead_fraction"] = self._dead_fraction()
        self._point("held_out", values)
        return values

    def bias_snapshot(self) -> None:
        """Report the distribution of the encoder biases as they are."""
        learner = self._learner
        statistics = bias_statistics(learner.sae.b_enc.detach(), ~learner.dead)
        self._sink(BiasSnapshot(step=learner.steps_done, tokens=learner.tokens, statistics=statistics))

    def _point(self, split: Literal["train", "held_out"], values: dict[str, float]) -> None:
        learner = self._learner
        infinite = [name for name, value in values.items() if not math.isfinite(value)]
        if infinite:
            raise NonFiniteError(
                f"The metric {infinite[0]} ({split}) became NaN or infinite at or before step {learner.steps_done}"
            )
        self._sink(MetricPoint(split=split, step=learner.steps_done, tokens=learner.tokens, values=values))

    def _dead_fraction(self) -> float:
        learner = self._learner
        return dead_fraction(learner.tokens_since_fired, window=learner.spec.training.dead_window_tokens)
