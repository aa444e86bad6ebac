"""Gradient alignment: a case worked by hand, updates as in training, and a comparison that is fair to every estimator."""

import json
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from prolu.analysis.gradient_alignment import NotComparable, gradient_alignment, updates
from prolu.data.synthetic import SyntheticSource
from prolu.models import build_sae
from prolu.models.gradients import activation_of
from prolu.models.normalisation import Normaliser
from prolu.models.objective import objective
from prolu.models.pointwise import Pointwise
from prolu.spec.data import SyntheticData
from prolu.spec.estimators import Estimator, ReluLike, SigmoidKernel, Ste, Surrogate
from prolu.spec.report import Alignment
from prolu.spec.sae import ProluHybridSae, ProluSae, ReluSae
from prolu.spec.sparsity import L1, L1DecoderNorm, NoPenalty, SqrtL1
from prolu.spec.training import GradientAlignmentSpec

SYNTHETIC = SyntheticSource(SyntheticData(d_in=8, n_features=16, eval_samples=300))


class Rows:
    """A source whose held-out set is given."""

    dictionary = spliced = None
    identity = "given"
    normaliser = Normaliser("none")

    def __init__(self, x: Tensor) -> None:
        self._x = x
        self.d_in = x.shape[1]

    def batch(self, step: int, batch_size: int) -> Tensor:
        return self._x[step * batch_size : (step + 1) * batch_size]

    def evaluation(self, batch_size: int) -> Iterator[Tensor]:
        yield from self._x.split(batch_size)


def autoencoder(kind: str = "prolu") -> Pointwise:
    """One whose biases have both signs, so that gates open and shut and some are in the slack."""
    spec = ProluSae(d_sae=24) if kind == "prolu" else ProluHybridSae(d_sae=24)
    sae = build_sae(spec, 8, seed=0)
    assert isinstance(sae, Pointwise)
    with torch.no_grad():
        sae.b_enc.add_(0.4 * torch.randn(24, generator=torch.Generator().manual_seed(1)) - 0.2)
    return sae


def one_latent() -> Pointwise:
    """W_enc = 1, b_enc = -1, W_dec = 1/2, b_dec = 0."""
    sae = build_sae(ProluSae(d_sae=1), 1, seed=0)
    assert isinstance(sae, Pointwise)
    values = {"W_enc": [[1.0]], "b_enc": [-1.0], "W_dec": [[0.5]], "b_dec": [0.0]}
    sae.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return sae


def spec_of(
    estimators: list[Estimator], *, bandwidth: float = 1.0, batches: int = 2, batch_size: int = 1
) -> GradientAlignmentSpec:
    return GradientAlignmentSpec(estimators=estimators, bandwidths=[bandwidth], batches=batches, batch_size=batch_size)


def mean_of(alignments: list[Alignment], part: str, objective: str, group: str, *, smooth: bool) -> float:
    (found,) = [
        one
        for one in alignments
        if (one.part, one.objective, one.group, one.bandwidth is not None) == (part, objective, group, smooth)
    ]
    return found.cosine.mean


def test_a_case_of_one_latent_worked_by_hand() -> None:
    # x = 2: m = 2, z = 1, the gate is open, x_hat = 1, error -1. With lambda = 1/4, g = 2 * (-1) / 2 + 1/4 = -3/4.
    # Ste: for m g (1 + m) = -9/4, so W_enc -9/2; for b g m = -3/2; W_dec 2 * (-1) * 2 = -4; b_dec 9/4 - 2 = 1/4.
    alignments = gradient_alignment(
        one_latent(), Rows(torch.full((2, 1), 2.0)), spec_of([Ste()]), sparsity=L1(coefficient=0.25), over="sum"
    )
    update = {"W_enc": -4.5, "b_enc": -1.5, "W_dec": -4.0, "b_dec": 0.25}
    length = math.hypot(*update.values())
    # Smoothed L0 at bandwidth 1 has k = s'(1) times (2, 1, 0, -1).
    l0 = (-4.5 * 2 - 1.5 * 1 - 0.25) / (length * math.sqrt(6))
    assert mean_of(alignments, "loss", "l0", "all", smooth=True) == pytest.approx(l0, abs=1e-6)
    assert mean_of(alignments, "loss", "l0", "b_enc", smooth=True) == pytest.approx(-1)
    # Exact reconstruction has g = -1: W_enc -2, W_dec -4, b_dec 1 - 2; the error with the gate open is 1, shut 4: b_enc -3 k.
    k = math.exp(-1) / (1 + math.exp(-1)) ** 2
    exact = {"W_enc": -2.0, "b_enc": -3 * k, "W_dec": -4.0, "b_dec": -1.0}
    dot = sum(update[name] * exact[name] for name in update)
    expected = dot / (length * math.hypot(*exact.values()))
    assert mean_of(alignments, "loss", "reconstruction", "all", smooth=True) == pytest.approx(expected, abs=1e-6)
    assert mean_of(alignments, "loss", "reconstruction", "b_dec", smooth=False) == pytest.approx(-1)
    # Exact L1: W_enc 2, b_dec -1. Ste's own L1, g = 1: W_enc 6, b_enc 2, b_dec -3.
    expected = (6 * 2 + 3 * 1) / (math.hypot(6, 2, 3) * math.hypot(2, 1))
    assert mean_of(alignments, "penalty", "l1", "all", smooth=False) == pytest.approx(expected, abs=1e-6)


def test_directions_that_are_always_zero_are_left_out() -> None:
    alignments = gradient_alignment(
        one_latent(), Rows(torch.full((2, 1), 2.0)), spec_of([Ste()]), sparsity=L1(coefficient=0.25), over="sum"
    )
    named = {(one.part, one.objective, one.group) for one in alignments}
    assert ("loss", "l0", "W_dec") not in named  # L0 does not depend on the decoder
    assert ("loss", "l1", "b_enc") not in named  # nor the exact L1 on a bias that only gates
    assert ("penalty", "reconstruction", "W_dec") not in named  # nor the penalty on the decoder
    assert ("penalty", "l0", "b_enc") in named


def test_a_batch_on_which_nothing_fires_does_not_count() -> None:
    x = torch.tensor([[2.0], [0.5], [3.0]])  # the gate opens above 1
    alignments = gradient_alignment(
        one_latent(), Rows(x), spec_of([Ste()], batches=3), sparsity=L1(coefficient=0.25), over="sum"
    )
    counts = {(one.part, one.objective, one.group): one.cosine.n for one in alignments}
    assert counts["penalty", "l0", "b_enc"] == 2
    assert counts["reconstruction", "reconstruction", "b_dec"] == 3


def test_mean_and_standard_error_are_those_over_batches() -> None:
    sae = autoencoder()
    sparsity = L1(coefficient=0.1)
    spec = spec_of([Ste()], bandwidth=0.1, batches=3, batch_size=100)
    together = gradient_alignment(sae, SYNTHETIC, spec, sparsity=sparsity, over="mean")
    single = [gradient_alignment(sae, Rows(x), spec, sparsity=sparsity, over="mean") for x in SYNTHETIC.evaluation(100)]
    for one, *apart in zip(together, *single, strict=True):
        cosines = torch.tensor([alone.cosine.mean for alone in apart], dtype=torch.float64)
        assert [alone.cosine.n for alone in apart] == [1, 1, 1]
        assert one.cosine.n == 3
        assert one.cosine.mean == pytest.approx(cosines.mean().item(), abs=1e-12)
        assert one.cosine.standard_error == pytest.approx(cosines.std().item() / math.sqrt(3), abs=1e-12)


def test_a_short_batch_counts_only_where_there_is_no_other() -> None:
    sae, sparsity = autoencoder(), L1(coefficient=0.1)
    x = torch.cat([*SYNTHETIC.evaluation(100)])[:250]
    spec = spec_of([Ste()], bandwidth=0.1, batches=3, batch_size=100)
    full = gradient_alignment(sae, Rows(x[:200]), spec, sparsity=sparsity, over="mean")
    assert {one.cosine.n for one in full} == {2}
    assert gradient_alignment(sae, Rows(x), spec, sparsity=sparsity, over="mean") == full
    alone = gradient_alignment(sae, Rows(x[:50]), spec, sparsity=sparsity, over="mean")
    assert {(one.cosine.n, one.cosine.standard_error) for one in alone} == {(1, None)}, "of one the error is unknown"


def test_an_estimator_that_is_the_gradient_of_the_smoothed_gate_has_cosine_one_on_the_biases() -> None:
    # Every projection is 1, so that relu(m) k(m + b), the surrogate's gradient of L1, is k(m + b), that of smoothed L0.
    sae = build_sae(ProluSae(d_sae=9), 1, seed=0)
    biases = torch.linspace(-3, -0.1, 9)
    sae.load_state_dict(sae.state_dict() | {"W_enc": torch.ones(1, 9), "b_enc": biases})
    same, other = Surrogate(kernel=SigmoidKernel(epsilon=0.5)), Surrogate(kernel=SigmoidKernel(epsilon=2.0))
    alignments = gradient_alignment(
        sae, Rows(torch.ones(4, 1)), spec_of([same, other], bandwidth=0.5), sparsity=L1(coefficient=1.0), over="mean"
    )
    cosines = {
        json.loads(one.estimator)["kernel"]["epsilon"]: one.cosine.mean
        for one in alignments
        if (one.part, one.objective, one.group) == ("penalty", "l0", "b_enc")
    }
    assert cosines[0.5] == pytest.approx(1, abs=1e-6)
    assert cosines[2.0] < 0.99


@pytest.mark.parametrize("kind", ["prolu", "prolu_hybrid"])
@pytest.mark.parametrize("sparsity", [L1(coefficient=0.3), SqrtL1(coefficient=0.02), L1DecoderNorm(coefficient=0.1)])
def test_the_update_is_what_training_computes(kind: str, sparsity: L1 | SqrtL1 | L1DecoderNorm) -> None:
    sae = autoencoder(kind)
    assert isinstance(sae.spec, ProluSae | ProluHybridSae)
    x = next(SYNTHETIC.evaluation(64))
    ((_, parts),) = updates(
        sae, x, {"own": activation_of(sae.spec)}, sparsity=sparsity, over="sum", coefficient=sparsity.coefficient
    )
    terms = objective(sae, x, sparsity=sparsity, over="sum", dead=torch.zeros(24, dtype=torch.bool))
    (terms.reconstruction + sparsity.coefficient * terms.penalty + terms.auxiliary).backward()
    for name, parameter in sae.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parts["loss"][name], parameter.grad, atol=1e-6), name


def test_with_its_own_gates_held_fixed_relu_like_descends_the_exact_reconstruction() -> None:
    alignments = gradient_alignment(
        autoencoder(),
        SYNTHETIC,
        spec_of([ReluLike()], bandwidth=0.1, batch_size=100),
        sparsity=L1(coefficient=0.1),
        over="mean",
    )
    for group in ("W_enc", "W_dec", "b_dec"):
        cosine = mean_of(alignments, "reconstruction", "reconstruction", group, smooth=False)
        assert cosine == pytest.approx(1, abs=1e-5), group
    assert mean_of(alignments, "penalty", "l1", "W_enc", smooth=False) == pytest.approx(1, abs=1e-5)


def test_every_estimator_sees_the_same_batches() -> None:
    sae, sparsity = autoencoder(), L1(coefficient=0.1)
    both = spec_of([Ste(), ReluLike()], bandwidth=0.1, batch_size=64)
    together = gradient_alignment(sae, SYNTHETIC, both, sparsity=sparsity, over="mean")
    alone = [
        one
        for estimator in (Ste(), ReluLike())
        for one in gradient_alignment(
            sae, SYNTHETIC, spec_of([estimator], bandwidth=0.1, batch_size=64), sparsity=sparsity, over="mean"
        )
    ]
    assert together == alone


def test_the_coefficient_weighs_the_penalty_and_is_by_default_that_of_the_spec() -> None:
    spec = spec_of([Ste()], bandwidth=0.1, batch_size=64)
    weak, strong = L1(coefficient=0.1), L1(coefficient=50.0)
    own = gradient_alignment(autoencoder(), SYNTHETIC, spec, sparsity=strong, over="mean")
    given = gradient_alignment(autoencoder(), SYNTHETIC, spec, sparsity=weak, over="mean", coefficient=50.0)
    assert own == given
    cosines = [mean_of(own, part, "l0", "b_enc", smooth=True) for part in ("loss", "penalty")]
    assert cosines[0] == pytest.approx(cosines[1], abs=1e-3)  # such a penalty is nearly all of the loss


def test_estimators_are_named_by_their_canonical_json() -> None:
    alignments = gradient_alignment(
        autoencoder(), SYNTHETIC, spec_of([Ste(), Ste()]), sparsity=L1(coefficient=0.1), over="mean"
    )
    assert {one.estimator for one in alignments} == {'{"kind":"ste"}'}
    assert all(one.cosine.n <= 2 for one in alignments)  # named twice, compared once


def test_the_autoencoder_stays_as_it_was() -> None:
    sae = autoencoder()
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    gradient_alignment(sae, SYNTHETIC, spec_of([ReluLike()]), sparsity=L1(coefficient=0.1), over="mean")
    assert all(torch.equal(before[name], tensor) for name, tensor in sae.state_dict().items())
    assert all(parameter.grad is None for parameter in sae.parameters())
    assert isinstance(sae.spec, ProluSae)
    assert sae.spec.estimator == Ste()


def test_other_architectures_and_losses_without_penalty_are_refused() -> None:
    with pytest.raises(NotComparable, match="this SAE is 'relu'"):
        gradient_alignment(
            build_sae(ReluSae(d_sae=4), 8, seed=0), SYNTHETIC, spec_of([Ste()]), sparsity=L1(coefficient=1), over="mean"
        )
    with pytest.raises(NotComparable, match="without penalty"):
        gradient_alignment(autoencoder(), SYNTHETIC, spec_of([Ste()]), sparsity=NoPenalty(), over="mean")
