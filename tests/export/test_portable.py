"""What every library agrees on: ProLU as a threshold, and scales of the data in the weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prolu.export.portable import Portable, portable, with_rms_in_the_acts, with_rms_in_the_weights
from tests.export.cases import DECODERS, KINDS, RMS, make_case

Floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_prolu_is_a_threshold_of_its_negated_bias_and_a_positive_bias_is_none() -> None:
    sae = make_case("prolu-none-unit").sae
    b = torch.tensor([-2.0, -0.25, -0.0, 0.0, 3.0]).repeat(8)
    with torch.no_grad():
        sae.b_enc.copy_(b)
    tensors = portable(sae).tensors
    assert tensors["threshold"].tolist() == [2.0, 0.25, 0.0, 0.0, 0.0] * 8
    assert not torch.signbit(tensors["threshold"]).any()
    assert tensors["b_enc"].eq(0).all()


def test_the_hybrid_keeps_its_positive_biases_as_shifts() -> None:
    sae = make_case("prolu_hybrid-none-unit").sae
    with torch.no_grad():
        sae.b_enc.copy_(torch.tensor([-2.0, 0.0, 3.0, -1.0]).repeat(10))
    tensors = portable(sae).tensors
    assert tensors["threshold"].tolist() == [2.0, 0.0, 0.0, 1.0] * 10
    assert tensors["b_enc"].tolist() == [0.0, 0.0, 3.0, 0.0] * 10


@given(m=Floats, b=Floats)
def test_in_floating_point_too_a_sum_is_positive_iff_m_is_above_the_negated_bias(m: float, b: float) -> None:
    m32, b32 = torch.tensor(m), torch.tensor(b)
    threshold = 0 - b32.clamp(max=0)
    assert bool((m32 > 0) & (m32 + b32 > 0)) == bool((m32 > 0) & (m32 > threshold))


@pytest.mark.parametrize("name", [f"{kind}-dataset_rms-{decoder}" for kind in KINDS for decoder in DECODERS])
def test_a_scale_in_the_weights_leaves_the_acts_and_one_in_the_acts_leaves_the_weights(name: str) -> None:
    case = make_case(name)
    scaled = portable(case.sae)
    acts, x_hat = _infer(scaled, case.x / RMS)
    torch.testing.assert_close(acts, case.sae.encode(case.x / RMS).detach(), rtol=1e-5, atol=1e-5)
    for fold, factor, kept in (
        (with_rms_in_the_weights, 1.0, ("b_enc", "b_gate", "b_mag", "r_mag", "threshold")),
        (with_rms_in_the_acts, RMS, ("W_enc", "W_dec", "r_mag")),
    ):
        folded = fold(scaled, RMS)
        raw_acts, raw_x_hat = _infer(folded, case.x)
        torch.testing.assert_close(raw_acts, acts * factor, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(raw_x_hat, x_hat * RMS, rtol=1e-4, atol=1e-4)
        for own in set(kept) & scaled.tensors.keys():
            assert torch.equal(folded.tensors[own], scaled.tensors[own]), own


def test_what_is_exported_is_a_copy() -> None:
    sae = make_case("gated-none-unit").sae
    taken = portable(sae)
    before = taken.tensors["b_gate"].clone()
    with torch.no_grad():
        sae.b_gate.add_(1)
    assert torch.equal(taken.tensors["b_gate"], before)


def _infer(given: Portable, x: Tensor) -> tuple[Tensor, Tensor]:
    """Naive inference, from the formulas of the module's docstring."""
    t = given.tensors
    m = (x - t["b_dec"]) @ t["W_enc"]
    match given.encoder:
        case "relu":
            acts = torch.relu(m + t["b_enc"])
        case "jumprelu" | "batch_topk":
            z = m + t["b_enc"]
            acts = torch.relu(z) * (z > t["threshold"])
        case "gated":
            acts = torch.relu(torch.exp(t["r_mag"]) * m + t["b_mag"]) * (m + t["b_gate"] > 0)
        case "topk":
            acts = torch.relu(m + t["b_enc"])
            kth = acts.topk(given.k or 0, dim=1).values[:, -1:]
            acts = acts * (acts >= kth)
    return acts, acts @ t["W_dec"] + t["b_dec"]
