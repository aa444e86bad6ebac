"""The workers among whom every batch of a run is divided, as one of them sees them. Knows no process and no network.

Whatever a step derives from the whole batch goes through here, so that ranks of one run train what one worker would. The
usual run has one worker: `ALONE`, which exchanges nothing. `prolu.training.gang` has those that do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


class Ranks:
    """A worker that has every batch to itself; every method is the case of one rank of what it says.

    All ranks must call the methods in the same order with tensors of the same shapes, `share` aside: each call but that
    waits for the others. Nothing here waits for the device, except `agree`, which is of the CPU.
    """

    rank: int = 0
    """This worker's number; 0 is the leader, who alone reports, evaluates and saves."""
    count: int = 1
    """How many there are."""

    @property
    def leads(self) -> bool:
        """Whether this is the leader."""
        return self.rank == 0

    def share(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "share d_in"]:
        """Return this worker's rows of a batch: as many as everybody's, those of rank 0 first."""
        return x

    def reduce(self, *, means: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
        """Put in place of each tensor its mean, or its sum, over all ranks; all of a dtype travel together."""

    def gather(self, x: Shaped[Tensor, " *shape"]) -> Shaped[Tensor, " ranks *shape"]:
        """Return everybody's `x`, in the order of ranks; no gradient flows back."""
        return x.detach().unsqueeze(0)

    def agree(self, value: int) -> int:
        """Return what the leader says; what the others say does not count. The only thing that may be waited for long."""
        return value

    def copy_from_leader(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite the tensors with the leader's."""

    def close(self) -> None:
        """Leave the others in the lurch: who waits for this worker, or will, gets an error. Of no use after a good end."""


ALONE: Final = Ranks()
"""The only worker of its run."""


def among_the_largest(ranks: Ranks, values: Float[Tensor, " candidates"], count: int) -> Float[Tensor, " candidates"]:
    """Return which of this rank's `values` are among the `count` largest of all ranks', as 1 and 0.

    Of equal values at the margin those of the lower ranks win, then those that stand first, so that never more than `count`
    do, and all ranks say the same on any device. If a value is NaN, it wins, and so may any other.
    """
    everybody = ranks.gather(values)
    flat = everybody.flatten()
    margin = torch.topk(flat, count, sorted=False).values.amin()
    above, level = ~(flat <= margin), flat == margin
    room = count - above.sum()
    won = above | (level & (level.cumsum(0) <= room))
    return won.reshape(everybody.shape)[ranks.rank].to(values.dtype)
