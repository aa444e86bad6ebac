"""A run goes on with the data that it began with, or not at all: batches are numbered, and other data have other batches.

What was held out would be trained on, and the curve would show neither. Knows specs and identities, no source.
"""

from __future__ import annotations

import hashlib

import torch

from prolu.data.places import DataError
from prolu.models.ranks import Ranks
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


def require_same_data_everywhere(identity: str, ranks: Ranks) -> None:
    """Raise DataError on a rank whose data are not the leader's: shares of different batches make no batch."""
    digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()
    of_all = ranks.gather(torch.tensor(int.from_bytes(digest) >> 1)).tolist()
    if of_all[ranks.rank] != of_all[0]:
        raise DataError(
            f"Rank {ranks.rank} has other data at the same place than rank 0: here they are {identity}. "
            "All nodes must read the same files: put them where every node sees the same, or give the run one rank."
        )


def _named(data: DataSpec) -> str:
    match data:
        case ShardsData():
            return f"data.path is {data.path!r}"
        case LanguageModelData():
            return f"data.model is {data.model!r} and data.corpus {data.corpus.model_dump(mode='json')}"
        case _:
            return f"data.kind is {data.kind!r}"
