"""What ranks exchange, and that a batch that they share is treated as the whole that it is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prolu.analysis.metrics import MetricSums
from prolu.data.places import DataError
from prolu.models.objective import objective
from prolu.models.ranks import ALONE, Ranks, among_the_largest
from prolu.models.sae import Sae, sae_of
from prolu.models.topk import BatchTopK
from prolu.spec.sae import BatchTopKSae
from prolu.spec.sparsity import NoPenalty
from prolu.training.gang import Gang, GangBrokenError, find_store
from prolu.training.same_data import require_same_data_everywhere
from tests.training.gangs import HOST, together

BATCH = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


class Told(Ranks):
    """A rank that is told what everybody has."""

    def __init__(self, rank: int, everybody: Tensor) -> None:
        self.rank, self.count, self._everybody = rank, len(everybody), everybody

    def gather(self, x: Tensor) -> Tensor:
        return self._everybody


def test_a_worker_alone_exchanges_nothing() -> None:
    tensor = torch.tensor([1.0, 2.0])
    ALONE.reduce(means=[tensor], sums=[tensor])
    ALONE.copy_from_leader([tensor])
    ALONE.close()
    assert tensor.tolist() == [1, 2]
    assert ALONE.leads
    assert ALONE.agree(7) == 7
    assert ALONE.share(BATCH) is BATCH
    assert ALONE.gather(tensor).tolist() == [[1, 2]]


def test_shares_are_equal_parts_of_the_batch_in_order() -> None:
    shares = together(3, lambda gang: gang.share(BATCH))
    assert [len(share) for share in shares] == [4, 4, 4]
    assert torch.equal(torch.cat(shares), BATCH)


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(ValueError, match="12 cannot be shared equally by 5 ranks"):
        together(5, lambda gang: gang.share(BATCH))


def test_means_and_sums_of_every_dtype_are_those_of_all_ranks() -> None:
    def exchanged(gang: Gang) -> list[Tensor]:
        own = float(gang.rank)
        mean, wide = torch.full((2, 3), own), torch.full((2,), own, dtype=torch.float64)
        total, count = torch.full((4,), own), torch.full((), gang.rank)
        gang.reduce(means=[mean, wide], sums=[total, count])
        return [mean, wide, total, count]

    for mean, wide, total, count in together(3, exchanged):
        assert (mean == 1).all()
        assert (wide == 1).all()
        assert (total == 3).all()
        assert count == 3
        assert (mean.dtype, wide.dtype, count.dtype) == (torch.float32, torch.float64, torch.int64)


def test_everybody_gathers_the_same_in_the_order_of_ranks() -> None:
    for matrices, numbers in together(
        3, lambda gang: (gang.gather(torch.full((2, 2), float(gang.rank))), gang.gather(torch.tensor(gang.rank)))
    ):
        assert matrices[:, 0, 0].tolist() == [0, 1, 2]
        assert matrices.shape == (3, 2, 2)
        assert numbers.tolist() == [0, 1, 2]


def test_what_the_leader_says_and_has_counts() -> None:
    def followed(gang: Gang) -> tuple[int, Tensor, Tensor]:
        state, steps = torch.full((2,), gang.rank + 5.0), torch.tensor(gang.rank + 5)
        gang.copy_from_leader([state, steps])
        return gang.agree(gang.rank + 3), state, steps

    for word, state, steps in together(3, followed):
        assert word == 3
        assert state.tolist() == [5, 5]
        assert steps == 5


def test_who_waits_for_a_rank_that_is_gone_is_told() -> None:
    def left(gang: Gang) -> None:
        if gang.rank == 1:
            gang.close()
            return
        with pytest.raises(GangBrokenError, match="Another rank is gone"):
            gang.agree(0)

    together(2, left)


def test_a_leader_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(GangBrokenError, match=f"cannot be reached at {HOST}:1"):
        find_store(HOST, 1, patience_seconds=0.1)


@given(st.data())
def test_exactly_the_largest_of_all_ranks_win_whatever_is_equal(data: st.DataObject) -> None:
    ranks, candidates = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    values = data.draw(st.lists(st.integers(-2, 3), min_size=ranks * candidates, max_size=ranks * candidates))
    count = data.draw(st.integers(1, ranks * candidates))
    everybody = torch.tensor(values, dtype=torch.float32).reshape(ranks, candidates)
    won = torch.stack([among_the_largest(Told(rank, everybody), everybody[rank], count) for rank in range(ranks)])
    assert won.sum() == count
    assert sorted(everybody[won > 0].tolist()) == sorted(values)[-count:]


def test_a_value_that_is_nan_is_not_lost_among_the_largest() -> None:
    everybody = torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])
    assert among_the_largest(Told(1, everybody), everybody[1], 1)[0] == 1


def batch_topk(ranks: Ranks) -> Sae:
    sae = sae_of(BatchTopKSae(d_sae=6, k=2), 6)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(6))
        sae.W_dec.copy_(torch.eye(6))
    sae.ranks = ranks
    return sae


def trained_on(ranks: Ranks, x: Tensor) -> tuple[Tensor, float]:
    """The acts of one rank in a training pass, and the threshold after it."""
    sae = batch_topk(ranks)
    acts = objective(sae, ranks.share(x), sparsity=NoPenalty(), over="mean", dead=None).acts.detach()
    sae.after_step(acts)
    assert isinstance(sae, BatchTopK)
    return acts, sae.threshold.item()


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_winners_of_a_batch_and_its_threshold_do_not_depend_on_how_it_is_shared(ranks: int) -> None:
    x = BATCH * torch.arange(12).unsqueeze(1)  # so that the shares differ in how many win
    acts, threshold = trained_on(ALONE, x)
    shared = together(ranks, lambda gang: trained_on(gang, x))
    assert torch.equal(torch.cat([share for share, _ in shared]), acts)
    assert len({int((share > 0).sum()) for share, _ in shared}) > 1
    assert {own for _, own in shared} == {threshold}


def test_pooled_sums_are_those_of_the_whole_batch() -> None:
    x, x_hat = BATCH + 100, BATCH.relu() + 90
    whole = MetricSums(6)
    whole.add(x, x_hat, BATCH.relu())

    def pooled(gang: Gang) -> dict[str, float]:
        sums = MetricSums(6)
        sums.add(gang.share(x), gang.share(x_hat), gang.share(BATCH.relu()))
        sums.pool(gang)
        return sums.values()

    for values in together(3, pooled):
        assert values == pytest.approx(whole.values(), rel=1e-12)


def test_a_rank_with_other_data_than_the_leader_says_so() -> None:
    def compared(gang: Gang) -> str | None:
        try:
            require_same_data_everywhere("shards of " + ("yesterday" if gang.rank == 1 else "today"), gang)
        except DataError as error:
            return str(error)
        return None

    first, second, third = together(3, compared)
    assert first is None
    assert third is None
    assert second is not None
    assert "Rank 1 has other data" in second
    assert "yesterday" in second
