"""One step of training: against a plain reference, and the promises about norms, counters and waiting."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from prolu.data.synthetic import SyntheticSource
from prolu.models import Sae
from prolu.models.gradients import activation_of
from prolu.models.objective import Terms
from prolu.models.penalties import penalty_for
from prolu.spec.run import RunSpec
from prolu.training import CheckpointError, Learner, NonFiniteError
from prolu.training.schedules import learning_rate, penalty_coefficient

SpecMaker = Callable[..., RunSpec]

SEES_NORMS = {"kind": "l1_decoder_norm", "coefficient": 0.01}
KINDS = [
    pytest.param({"kind": "relu", "d_sae": 40}, {"kind": "l1", "coefficient": 0.01}, id="relu l1"),
    pytest.param({"kind": "relu", "d_sae": 40}, {"kind": "sqrt_l1", "coefficient": 0.01}, id="relu sqrt_l1"),
    pytest.param(
        {"kind": "prolu", "d_sae": 40, "estimator": {"kind": "relu_like"}},
        {"kind": "l1", "coefficient": 0.01},
        id="prolu relu_like",
    ),
    pytest.param(
        {"kind": "prolu", "d_sae": 40, "estimator": {"kind": "ste"}},
        {"kind": "l1", "coefficient": 0.01, "warmup_steps": 5},
        id="prolu ste",
    ),
]


def train_plainly(spec: RunSpec, source: SyntheticSource, steps: int) -> dict[str, Tensor]:
    """The training of the post in its plainest form: autograd's products, Adam written out, float32."""
    learner = Learner(spec, source.d_in)
    weights = {name: tensor.clone().requires_grad_() for name, tensor in learner.sae.state_dict().items()}
    activation, training = activation_of(spec.sae), spec.training
    adam = training.optimizer
    first = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for step in range(steps):
        x = source.batch(step, training.batch_size)
        acts = activation((x - weights["b_dec"]) @ weights["W_enc"], weights["b_enc"])
        error = (acts @ weights["W_dec"] + weights["b_dec"] - x).square().sum(1).mean()
        loss = error / (x.shape[1] if training.reconstruction == "mean" else 1)
        loss = loss + penalty_coefficient(step, spec.sparsity) * penalty_for(spec.sparsity, acts, weights["W_dec"])
        gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
        with torch.no_grad():
            if spec.sae.decoder_norm == "unit":
                rows = weights["W_dec"]
                gradients["W_dec"] -= (gradients["W_dec"] * rows).sum(1, keepdim=True) * rows
            for name, weight in weights.items():
                first[name] = adam.beta1 * first[name] + (1 - adam.beta1) * gradients[name]
                second[name] = adam.beta2 * second[name] + (1 - adam.beta2) * gradients[name] ** 2
                m_hat = first[name] / (1 - adam.beta1 ** (step + 1))
                v_hat = second[name] / (1 - adam.beta2 ** (step + 1))
                weight -= learning_rate(step, training) * m_hat / (v_hat.sqrt() + adam.epsilon)
            if spec.sae.decoder_norm == "unit":
                weights["W_dec"] /= weights["W_dec"].norm(dim=1, keepdim=True)
    return {name: weight.detach() for name, weight in weights.items()}


@pytest.mark.parametrize("reconstruction", ["mean", "sum"])
@pytest.mark.parametrize("decoder_norm", ["unit", "free"])
@pytest.mark.parametrize(("sae", "sparsity"), KINDS)
def test_steps_equal_the_plain_reference(
    make_spec: SpecMaker,
    source: SyntheticSource,
    sae: dict[str, Any],
    sparsity: dict[str, Any],
    decoder_norm: str,
    reconstruction: str,
) -> None:
    # epsilon is large beside rounding, so that gradients that should be 0 do not decide the sign of a step
    training = {"reconstruction": reconstruction, "optimizer": {"kind": "adam", "learning_rate": 0.01, "epsilon": 1e-4}}
    if decoder_norm == "free":
        sparsity = {**sparsity, "kind": "l1_decoder_norm"}
    spec = make_spec(sae=sae | {"decoder_norm": decoder_norm}, sparsity=sparsity, training=training)
    learner = Learner(spec, source.d_in)
    for step in range(12):
        learner.step(source.batch(step, spec.training.batch_size))
    expected = train_plainly(spec, source, 12)
    torch.testing.assert_close(dict(learner.sae.state_dict()), expected, rtol=1e-3, atol=1e-5)


def test_decoder_rows_keep_norm_one(make_spec: SpecMaker, source: SyntheticSource) -> None:
    learner = Learner(make_spec(), source.d_in)
    for step in range(30):
        learner.step(source.batch(step, 32))
    torch.testing.assert_close(learner.sae.W_dec.norm(dim=1), torch.ones(40))


def test_free_decoder_rows_may_grow(make_spec: SpecMaker, source: SyntheticSource) -> None:
    learner = Learner(make_spec(sae={"decoder_norm": "free"}, sparsity=SEES_NORMS), source.d_in)
    for step in range(30):
        learner.step(source.batch(step, 32))
    assert (learner.sae.W_dec.norm(dim=1) - 1).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["l1", "sqrt_l1"])
def test_a_zero_coefficient_trains_for_reconstruction_alone(
    make_spec: SpecMaker, source: SyntheticSource, kind: str
) -> None:
    learner = Learner(make_spec(sparsity={"kind": kind, "coefficient": 0.0}), source.d_in)
    result = learner.step(source.batch(0, 32))
    assert result.loss == result.reconstruction
    assert result.penalty > 0


def test_the_result_of_a_step_is_the_forward_pass_before_its_update(
    make_spec: SpecMaker, source: SyntheticSource
) -> None:
    learner = Learner(make_spec(), source.d_in)
    x = source.batch(0, 32)
    with torch.no_grad():
        acts = learner.sae.encode(x)
        x_hat = learner.sae.decode(acts)
    result = learner.step(x)
    assert torch.equal(result.acts, acts)
    assert torch.equal(result.x_hat, x_hat)
    assert result.reconstruction == (x_hat - x).square().mean()
    assert result.loss == pytest.approx((result.reconstruction + 0.01 * result.penalty).item())
    assert result.auxiliary == 0
    assert not any(tensor.requires_grad for tensor in (result.acts, result.x_hat, result.loss, result.penalty))
    assert not torch.equal(learner.sae.encode(x), acts)


@pytest.mark.parametrize("decoder_norm", ["unit", "free"])
def test_clipping_bounds_the_norm_of_all_gradients_together(
    make_spec: SpecMaker, source: SyntheticSource, decoder_norm: str
) -> None:
    x = source.batch(0, 32)
    moments = {}
    for clip in (None, 1e-3):
        learner = Learner(
            make_spec(sae={"decoder_norm": decoder_norm}, sparsity=SEES_NORMS, training={"gradient_clip_norm": clip}),
            source.d_in,
        )
        learner.step(x)
        training = learner.checkpoint().training
        moments[clip] = torch.cat(
            [training[f"optimizer.exp_avg.{name}"].flatten() for name in learner.sae.state_dict()]
        )
    # after one step the first moment is a tenth of the gradient
    assert moments[None].norm() > 10 * 1e-3
    assert moments[1e-3].norm() == pytest.approx(0.1 * 1e-3, rel=1e-3)
    torch.testing.assert_close(moments[1e-3] / moments[1e-3].norm(), moments[None] / moments[None].norm())


def test_a_gradient_below_the_bound_is_not_clipped(make_spec: SpecMaker, source: SyntheticSource) -> None:
    weights = []
    for clip in (None, 1e6):
        learner = Learner(make_spec(training={"gradient_clip_norm": clip}), source.d_in)
        learner.step(source.batch(0, 32))
        weights.append(learner.sae.W_enc.detach())
    torch.testing.assert_close(weights[0], weights[1])


def test_tokens_since_fired_count_whole_batches_and_start_again_at_zero(
    make_spec: SpecMaker, source: SyntheticSource
) -> None:
    learner = Learner(make_spec(training={"dead_window_tokens": 64}), source.d_in)
    with torch.no_grad():
        learner.sae.W_enc[:, 0] = 0  # this latent cannot fire
    for step in range(3):
        result = learner.step(source.batch(step, 32))
        assert learner.tokens == 32 * (step + 1)
        assert learner.firing.tokens_since_fired[0] == learner.tokens
        assert bool(learner.firing.dead[0]) == (learner.tokens >= 64)
        assert not learner.firing.tokens_since_fired[(result.acts > 0).any(0)].any()


@pytest.mark.parametrize("kind", ["topk", "batch_topk"])
def test_until_the_window_is_full_nobody_can_be_dead_and_no_time_goes_to_reviving(
    make_spec: SpecMaker, source: SyntheticSource, kind: str
) -> None:
    sae = {"kind": kind, "d_sae": 40, "k": 3, "aux_k": 8}
    spec = make_spec(sae=sae, sparsity={"kind": "none"}, training={"dead_window_tokens": 96})
    sparing, thorough = Learner(spec, source.d_in), Learner(spec, source.d_in)
    plain, handed = sparing._pass, []

    def watched(sae: Sae, x: Tensor, dead: Tensor | None) -> Terms:
        handed.append(dead)
        return plain(sae, x, dead)

    sparing._pass = watched
    thorough._pass = lambda sae, x, _: plain(sae, x, thorough.firing.dead)
    for learner in (sparing, thorough):
        with torch.no_grad():
            learner.sae.b_enc[:4] = -10.0  # these latents cannot fire
    for step in range(6):
        results = [learner.step(source.batch(step, 32)) for learner in (sparing, thorough)]
        assert results[0].loss.item() == results[1].loss.item()
    assert [dead is None for dead in handed] == [True] * 3 + [False] * 3
    assert handed[3][:4].all()
    weights = thorough.sae.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in sparing.sae.state_dict().items())


class ReadsOfTheDevice(TorchDispatchMode):
    """Counts operations whose result Python must wait for."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.equal):
            self.count += 1
        return func(*args, **(kwargs or {}))


CONTROLLED = {"kind": "l1", "coefficient": 0.01, "controller": {"target_l0": 3.0}}


@pytest.mark.parametrize(
    ("sae", "sparsity"),
    [
        *KINDS,
        pytest.param({"kind": "prolu_hybrid", "d_sae": 40}, CONTROLLED, id="hybrid controlled"),
        pytest.param({"kind": "jumprelu", "d_sae": 40}, {**CONTROLLED, "kind": "l0"}, id="jumprelu controlled"),
        pytest.param({"kind": "gated", "d_sae": 40}, CONTROLLED, id="gated controlled"),
        pytest.param({"kind": "topk", "d_sae": 40, "k": 3}, {"kind": "none"}, id="topk"),
        pytest.param({"kind": "batch_topk", "d_sae": 40, "k": 3}, {"kind": "none"}, id="batch_topk"),
    ],
)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])  # radam reads its count of steps, which is on the CPU
def test_a_step_reads_nothing_back_from_the_device(
    make_spec: SpecMaker, source: SyntheticSource, optimizer: str, sae: dict[str, Any], sparsity: dict[str, Any]
) -> None:
    training = {"optimizer": {"kind": optimizer}, "gradient_clip_norm": 1.0, "dead_window_tokens": 32}
    learner = Learner(make_spec(sae=sae, sparsity=sparsity, training=training), source.d_in)
    batches = [source.batch(step, 32) for step in range(3)]
    reads = ReadsOfTheDevice()
    with reads:
        results = [learner.step(x) for x in batches]
    assert reads.count == 0
    with reads:
        results[0].loss.item()
    assert reads.count == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_step_of_the_first_bad_loss_is_remembered(
    make_spec: SpecMaker, source: SyntheticSource, bad: float
) -> None:
    learner = Learner(make_spec(), source.d_in)
    for step in range(5):
        x = source.batch(step, 32)
        learner.step(x.fill_(bad) if step == 2 else x)
        if step < 2:
            learner.require_finite()
    with pytest.raises(NonFiniteError, match=r"at step 3$"):
        learner.require_finite()


def test_weights_that_overflow_are_noticed_before_the_loss_shows_it(
    make_spec: SpecMaker, source: SyntheticSource
) -> None:
    learner = Learner(make_spec(), source.d_in)
    learner.step(source.batch(0, 32))
    with torch.no_grad():
        learner.sae.b_enc[3] = float("inf")
    with pytest.raises(NonFiniteError, match=r"weights .* at or before step 1$"):
        learner.require_finite()


def test_a_restored_learner_goes_on_to_the_bit(make_spec: SpecMaker, source: SyntheticSource) -> None:
    spec = make_spec()
    undisturbed, first, second = (Learner(spec, source.d_in) for _ in range(3))
    for step in range(9):
        undisturbed.step(source.batch(step, 32))
    for step in range(4):
        first.step(source.batch(step, 32))
    second.restore(first.checkpoint())
    for step in range(4, 9):
        second.step(source.batch(step, 32))
    assert second.steps_done == 9
    expected = undisturbed.checkpoint()
    for found, wanted in [
        (second.checkpoint().weights, expected.weights),
        (second.checkpoint().training, expected.training),
    ]:
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_checkpoint_of_another_spec_is_refused(make_spec: SpecMaker, source: SyntheticSource) -> None:
    checkpoint = Learner(make_spec(), source.d_in).checkpoint()
    other = Learner(make_spec(sparsity={"coefficient": 0.02}), source.d_in)
    with pytest.raises(CheckpointError, match="resume a run from its own checkpoints only"):
        other.restore(checkpoint)
