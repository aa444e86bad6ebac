"""Training: the loop, one run's state, schedules, checkpoints."""

from prolu.models.artifacts import StorageError
from prolu.models.saved import CheckpointError, load_sae
from prolu.spec.report import StopReason
from prolu.training.checkpoint import Checkpoint, CheckpointStore, load_checkpoint
from prolu.training.learner import Learner, NonFiniteError, StepResult
from prolu.training.loop import train

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointStore",
    "Learner",
    "NonFiniteError",
    "StepResult",
    "StopReason",
    "StorageError",
    "load_checkpoint",
    "load_sae",
    "train",
]
