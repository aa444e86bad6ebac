"""The pass of training under autocast and compiled: what is rounded, what is not, and that nothing else changes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prolu.data.synthetic import SyntheticSource
from prolu.models import Sae, build_sae
from prolu.models.objective import Terms
from prolu.spec.run import RunSpec
from prolu.training import Learner
from prolu.training.passes import training_pass

SpecMaker = Callable[..., RunSpec]
CPU = torch.device("cpu")

KINDS = [
    pytest.param({"kind": "prolu", "d_sae": 40}, {"kind": "l1", "coefficient": 0.01}, id="prolu"),
    pytest.param({"kind": "prolu_hybrid", "d_sae": 40}, {"kind": "sqrt_l1", "coefficient": 0.01}, id="hybrid"),
    pytest.param({"kind": "jumprelu", "d_sae": 40}, {"kind": "l0", "coefficient": 0.01}, id="jumprelu"),
    pytest.param({"kind": "gated", "d_sae": 40}, {"kind": "l1", "coefficient": 0.01}, id="gated"),
    pytest.param({"kind": "batch_topk", "d_sae": 40, "k": 5}, {"kind": "none"}, id="batch_topk"),
]


def run(spec: RunSpec, x: torch.Tensor) -> tuple[Sae, Terms]:
    sae = build_sae(spec.sae, x.shape[1], seed=0)
    terms = training_pass(spec, CPU)(sae, x, torch.arange(spec.sae.d_sae) % 3 == 0)
    (terms.reconstruction + 0.01 * terms.penalty + terms.auxiliary).backward()
    return sae, terms


@pytest.mark.parametrize(("sae", "sparsity"), KINDS)
def test_bfloat16_rounds_the_products_and_leaves_weights_gradients_and_loss_in_float32(
    make_spec: SpecMaker, source: SyntheticSource, sae: dict[str, Any], sparsity: dict[str, Any]
) -> None:
    x = source.batch(0, 32)
    exact_sae, exact = run(make_spec(sae=sae, sparsity=sparsity), x)
    rounded_sae, rounded = run(make_spec(sae=sae, sparsity=sparsity, training={"precision": "bfloat16"}), x)
    for name in ("reconstruction", "penalty", "auxiliary"):
        value = getattr(rounded, name)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, getattr(exact, name), rtol=0.02, atol=1e-4)
    assert rounded.reconstruction != exact.reconstruction
    assert torch.equal(rounded.x_hat, rounded.x_hat.bfloat16().to(rounded.x_hat.dtype))  # a bfloat16 product
    for one, other in zip(rounded_sae.parameters(), exact_sae.parameters(), strict=True):
        assert one.dtype == one.grad.dtype == torch.float32
        similarity = torch.nn.functional.cosine_similarity(one.grad.flatten(), other.grad.flatten(), dim=0)
        assert similarity > 0.97 or not other.grad.any()


def test_training_in_bfloat16_learns(make_spec: SpecMaker, source: SyntheticSource) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        learner = Learner(make_spec(training={"precision": precision}), source.d_in)
        losses[precision] = [learner.step(source.batch(step, 32)).loss.item() for step in range(30)]
    assert losses["bfloat16"][-1] < 0.8 * losses["bfloat16"][0]
    assert losses["bfloat16"][-1] == pytest.approx(losses["float32"][-1], rel=0.05)


def test_a_process_may_compile_run_after_run_and_none_changes() -> None:
    command = [sys.executable, Path(__file__).with_name("compiling_process.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["same"] * 9
