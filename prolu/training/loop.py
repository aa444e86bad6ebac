"""Train one run on one stream to its end, whatever that is. Knows neither Ray nor SQL."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

import torch

from prolu.data.places import Interrupted
from prolu.data.source import ActivationSource
from prolu.export import ExportError
from prolu.models.artifacts import StorageError
from prolu.models.ranks import ALONE, Ranks
from prolu.models.saved import CheckpointError
from prolu.spec.report import Failed, FailureClass, Report, Stopped, StopReason, Succeeded
from prolu.spec.run import RunSpec
from prolu.spec.sparsity import NoPenalty
from prolu.training.attempt import Attempt, StopRequested
from prolu.training.checkpoint import CheckpointStore
from prolu.training.learner import NonFiniteError
from prolu.training.narration import ended, narrated

_TRACEBACK_CHARACTERS = 4_000


def train(
    spec: RunSpec,
    source: ActivationSource,
    *,
    checkpoints: CheckpointStore,
    sink: Callable[[Report], None],
    should_stop: Callable[[], StopReason | None],
    resume_from: str | None = None,
    device: str = "cpu",
    clock: Callable[[], float] = time.monotonic,
    ranks: Ranks = ALONE,
) -> Succeeded | Failed | Stopped:
    """Train `spec` on `source` and return how it ended; everything before the end goes to `sink`.

    `should_stop` is asked before every step, and during evaluations before every batch; on a reason the state is saved and
    the attempt ends as Stopped. What an evaluation missed by that the resume makes up for.
    `resume_from` is a checkpoint's folder below the root of `checkpoints`. On the CPU, a resumed run ends bit by bit as
    an undisturbed one with the same number of torch threads, which is the caller's to set, and its reports repeat those
    since the checkpoint; a stop at step 0 or during the closing diagnostics repeats one report. `clock` (seconds) only
    spaces out progress.

    Each of several `ranks` calls this with the same spec, data and checkpoint. Their weights are those of one worker up to
    the rounding of sums, and on the same number of ranks bit by bit the same again. What the leader returns is how the run
    ended; the others return when it needs them no more. If another rank is gone, GangBrokenError is raised.

    Returns Failed for: a loss or weights that are NaN or infinite (`nan_loss`), a GPU out of memory (`gpu_oom`), a
    checkpoint that cannot be written (`storage`) or exported (`user_error`), one to resume from that is damaged or foreign
    (`bad_checkpoint`). What `source` and `sink` raise is passed on; and DataError is raised if the activations are no longer
    those that the checkpoint was trained on.
    """
    sink = narrated(sink)
    attempt = Attempt(
        spec,
        source,
        checkpoints=checkpoints,
        sink=sink,
        should_stop=should_stop,
        device=device,
        clock=clock,
        ranks=ranks,
    )
    try:
        return ended(_train(attempt, resume_from, should_stop))
    except NonFiniteError as error:
        return _failed(attempt, "nan_loss", f"{error}; {_calmer(spec)} Earlier checkpoints are kept.")
    except torch.OutOfMemoryError as error:
        return _failed(attempt, "gpu_oom", f"{_smaller(spec)} ({error})", traceback.format_exc())
    except CheckpointError as error:
        return _failed(attempt, "bad_checkpoint", str(error), traceback.format_exc())
    except ExportError as error:
        return _failed(attempt, "user_error", f"exports cannot be written: {error}")
    except StorageError as error:
        return _failed(attempt, "storage", str(error), traceback.format_exc())


def _train(
    attempt: Attempt, resume_from: str | None, should_stop: Callable[[], StopReason | None]
) -> Succeeded | Stopped:
    try:
        attempt.begin(resume_from)
        while not attempt.complete:
            attempt.advance()
        return attempt.finish()
    except StopRequested as request:
        return attempt.stop(request.reason)
    except Interrupted:  # by a source that was asked to stop, too, and noticed first
        return attempt.stop(should_stop() or "preempt")


def _failed(attempt: Attempt, failure_class: FailureClass, message: str, trace: str = "") -> Failed:
    failed = Failed(
        step=attempt.learner.steps_done,
        failure_class=failure_class,
        message=message,
        traceback_tail=trace[-_TRACEBACK_CHARACTERS:],
    )
    return ended(failed, with_traceback=bool(trace))


def _calmer(spec: RunSpec) -> str:
    training, sparsity = spec.training, spec.sparsity
    penalty = "" if isinstance(sparsity, NoPenalty) else f"or sparsity.coefficient (now {sparsity.coefficient:g}), "
    return (
        f"lower training.optimizer.learning_rate (now {training.optimizer.learning_rate:g}) {penalty}"
        f"or raise training.lr_warmup_steps (now {training.lr_warmup_steps}); at step 1, look at the data too."
    )


def _smaller(spec: RunSpec) -> str:
    return (
        f"The GPU ran out of memory; lower training.batch_size (now {spec.training.batch_size}) "
        f"or sae.d_sae (now {spec.sae.d_sae}), or give the run a larger share of a GPU."
    )
