"""Ranks in processes of their own, which exchange by torch.distributed. Knows no autoencoder, and not who starts whom.

They meet at a `TCPStore` that the leader opens. Values on the CPU go by gloo, those on a GPU by nccl; what must be agreed on
before a step goes by gloo in any case, so that it waits for no GPU. Nothing here is encrypted or authenticated, as ever with
torch.distributed: the nodes of a cluster must trust their network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, distributed
from torch._C._distributed_c10d import PrefixStore, ProcessGroupGloo, Store, TCPStore  # torch.distributed types none

from prolu.models.ranks import Ranks

# The leader may evaluate for hours while the others wait for its word. Whether it lives is not for a time limit to say:
# a connection that breaks ends the waiting at once, and whoever started the ranks watches them.
_LONGEST_WAIT = timedelta(days=30)


class GangBrokenError(Exception):
    """Another rank is gone, so this one cannot go on."""


class Gang(Ranks):
    """One of `count` workers that share every batch equally; it is `rank`, and lives on `device`.

    Sums are the same on every rank to the bit, since each is computed once and sent around; against those of a single worker
    they differ by rounding. Every method raises GangBrokenError if another rank is gone.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        count: int,
        *,
        host: str,
        patience_seconds: float = 300.0,
        device: str = "cpu",
    ) -> None:
        """Meet the others at `store`, within `patience_seconds`; `host` is the address at which this worker can be reached."""
        self.rank = rank
        self.count = count
        self._by_cpu: Any = _gloo(PrefixStore("gloo", store), rank, count, host, patience_seconds)
        self._by_gpu: Any = _nccl(PrefixStore("nccl", store), rank, count) if device == "cuda" else None

    def share(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "share d_in"]:
        """Return rows [rank * batch / count, (rank + 1) * batch / count). Raises ValueError if the shares are unequal."""
        rows, rest = divmod(len(x), self.count)
        if rest:
            raise ValueError(f"A batch of {len(x)} cannot be shared equally by {self.count} ranks; choose a multiple.")
        return x[self.rank * rows : (self.rank + 1) * rows]

    @torch.no_grad()
    def reduce(self, *, means: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
        """Put in place of each tensor its mean, or its sum, over all ranks; all of a dtype travel together."""
        self._in_buckets([*means, *sums], lambda group, bucket: group.allreduce([bucket]))
        for tensor in means:
            tensor.div_(self.count)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch gives it no type
    def gather(self, x: Shaped[Tensor, " *shape"]) -> Shaped[Tensor, " ranks *shape"]:
        """Return everybody's `x`, in the order of ranks; no gradient flows back."""
        own = x.detach().reshape(-1).contiguous()
        everybody = own.new_empty(self.count, len(own))
        _wait(self._group_of(own).allgather([list(everybody.unbind())], [own]))
        return everybody.reshape(self.count, *x.shape)

    def agree(self, value: int) -> int:
        """Return what the leader says; waits for it, however long that takes."""
        said = torch.tensor([value])
        _wait(self._by_cpu.broadcast(said, 0))
        return int(said)

    @torch.no_grad()
    def copy_from_leader(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite the tensors with the leader's."""
        self._in_buckets(tensors, lambda group, bucket: group.broadcast(bucket, 0))

    def close(self) -> None:
        """Leave the others in the lurch: who waits for this worker, or will, gets an error. Of no use after a good end."""
        if self._by_gpu is not None:
            self._by_gpu.abort()
        self._by_cpu = self._by_gpu = (
            None  # gloo closes its connections when nobody holds them, and not when it is aborted
        )

    def _in_buckets(self, tensors: Sequence[Tensor], exchange: Callable[[Any, Tensor], Any]) -> None:
        """Lay tensors of a dtype on a device end to end, exchange each such bucket, and write it back."""
        kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        for alike in kinds.values():
            bucket = torch.cat([tensor.reshape(-1) for tensor in alike])
            _wait(exchange(self._group_of(bucket), bucket))
            for tensor, part in zip(alike, bucket.split([tensor.numel() for tensor in alike]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def _group_of(self, tensor: Tensor) -> Any:
        return self._by_cpu if tensor.device.type == "cpu" else self._by_gpu


def open_store(host: str) -> TCPStore:
    """Open the place to meet, on a free port of this node; its `port` is for the others to know."""
    return TCPStore(host, 0, is_master=True, wait_for_workers=False)


def find_store(host: str, port: int, *, patience_seconds: float) -> TCPStore:
    """Connect to the place that the leader opened. Raises GangBrokenError if it cannot be reached in that time."""
    try:
        return TCPStore(
            host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=patience_seconds)
        )
    except RuntimeError as error:
        raise GangBrokenError(f"The leading rank cannot be reached at {host}:{port}: {_first_line(error)}") from error


def _gloo(store: Store, rank: int, count: int, host: str, patience_seconds: float) -> Any:
    gloo: Any = ProcessGroupGloo
    options = gloo._Options()
    options._devices = [gloo.create_device(hostname=host)]  # by default it takes whatever the hostname resolves to
    options._timeout = timedelta(seconds=patience_seconds)
    try:
        group = gloo(store, rank, count, options)
    except RuntimeError as error:
        raise GangBrokenError(f"The ranks could not be connected: {_first_line(error)}") from error
    group._set_default_timeout(_LONGEST_WAIT)
    return group


def _nccl(store: Store, rank: int, count: int) -> Any:
    return distributed.ProcessGroupNCCL(store, rank, count, distributed.ProcessGroupNCCL.Options())


def _wait(work: Any) -> None:
    try:
        work.wait()
    except RuntimeError as error:
        raise GangBrokenError(f"Another rank is gone: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
