"""What training does, told in sentences to `logging`, for whoever reads the log of a run. Changes nothing and keeps nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from prolu.spec.report import CheckpointWritten, DiagnosticsMeasured, Failed, MetricPoint, Report, Stopped, Succeeded

log = logging.getLogger("prolu.training")

Ended = TypeVar("Ended", Succeeded, Failed, Succeeded | Stopped)

# What says most about an autoencoder, as far as it was measured.
_TOLD = ("l0", "fvu", "ce_loss_score", "dead_fraction")


def narrated(sink: Callable[[Report], None]) -> Callable[[Report], None]:
    """Return a sink that hands every report on, and tells of evaluations, resamples, diagnostics and checkpoints."""

    def tell(report: Report) -> None:
        sink(report)
        match report:
            case MetricPoint(split="held_out", step=step, values=values):
                found = ", ".join(f"{name} {values[name]:.4g}" for name in _TOLD if name in values)
                log.info("Step %d: evaluated on held-out activations: %s.", step, found)
            case MetricPoint(step=step, values={"resampled": count}):
                log.info("Step %d: %d latents have been resampled since the last training metrics.", step, count)
            case DiagnosticsMeasured(step=step):
                log.info("Step %d: diagnostics are measured.", step)
            case CheckpointWritten(step=step, path=path, files=files):
                log.info("Step %d: a checkpoint of %d bytes is in %s.", step, sum(file.bytes for file in files), path)

    return tell


def ended(outcome: Ended, *, with_traceback: bool = False) -> Ended:
    """Tell how training ended, and return it; `with_traceback` adds that of the exception that is being handled."""
    match outcome:
        case Succeeded(step=step):
            log.info("Step %d: every step is done.", step)
        case Stopped(step=step, reason=reason):
            log.info("Step %d: stopped, as it was asked to (%s).", step, reason)
        case Failed(step=step, failure_class=failure_class, message=message):
            log.error("Step %d: failed (%s): %s", step, failure_class, message, exc_info=with_traceback)
    return outcome
