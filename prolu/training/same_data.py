"""A run goes on with the data that it began with, or not at all: batches are numbered, and other data have other batches.

What was held out would be trained on, and the curve would show neither. Knows specs and identities, no source.
"""

from __future__ import annotations

from prolu.data.places import DataError
from prolu.models.saved import CheckpointConfig
from prolu.spec.data import DataSpec, LanguageModelData, ShardsData


def require_same_data(checkpoint: CheckpointConfig, identity: str | None) -> None:
    """Raise DataError unless the data that are here now have the `identity` of those that the checkpoint was trained on."""
    if checkpoint.data_identity == identity:
        return
    raise DataError(
        f"{_named(checkpoint.spec.data)}, which no longer gives the activations that the run was trained on up to step "
        f"{checkpoint.step}: then {checkpoint.data_identity or 'unknown'}; now {identity or 'unknown'}. "
        "A run keeps to one set of data: submit it again to train from the start, on these or on those once they are back; "
        "its checkpoints are kept."
    )


def _named(data: DataSpec) -> str:
    match data:
        case ShardsData():
            return f"data.path is {data.path!r}"
        case LanguageModelData():
            return f"data.model is {data.model!r} and data.corpus {data.corpus.model_dump(mode='json')}"
        case _:
            return f"data.kind is {data.kind!r}"
