"""How an autoencoder starts, and what it computes."""

import pytest
import torch

from prolu.models import build_sae
from prolu.models.sae import Sae, sae_of
from prolu.spec.sae import ProluSae, ReluSae
from tests.models.family import FAMILY, Member


@pytest.mark.parametrize("member", FAMILY.values(), ids=FAMILY.keys())
def test_a_new_sae_has_unit_rows_a_tied_encoder_and_zero_biases(member: Member) -> None:
    sae = build_sae(member.spec, 5, seed=1)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(sae.d_sae))
    assert torch.equal(sae.W_enc, sae.W_dec.T)
    others = {name: parameter for name, parameter in sae.named_parameters() if not name.startswith("W_")}
    thresholds = others.pop("threshold", torch.tensor(0.5))
    assert not any(bias.any() for bias in others.values())
    assert (thresholds == 0.5).all()
    assert {parameter.dtype for parameter in sae.parameters()} == {torch.float32}


def test_encoder_and_decoder_share_no_memory() -> None:
    sae = build_sae(ReluSae(d_sae=3), 3, seed=0)
    before = sae.W_dec.detach().clone()
    with torch.no_grad():
        sae.W_enc.zero_()
    assert torch.equal(sae.W_dec, before)


def test_free_decoder_rows_start_at_the_norm_that_was_asked_for() -> None:
    sae = build_sae(ReluSae(d_sae=12, decoder_norm="free", decoder_init_norm=0.1), 5, seed=1)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.full((12,), 0.1))


def test_a_seed_decides_the_weights() -> None:
    spec = ProluSae(d_sae=12)
    assert torch.equal(build_sae(spec, 5, seed=1).W_dec, build_sae(spec, 5, seed=1).W_dec)
    assert not torch.equal(build_sae(spec, 5, seed=1).W_dec, build_sae(spec, 5, seed=2).W_dec)


def filled(sae: Sae) -> Sae:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return sae


def test_prolu_encodes_the_projection_without_its_bias_and_gates_by_it() -> None:
    sae = filled(sae_of(ProluSae(d_sae=12), 5))
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(6))
    m = (x - sae.b_dec) @ sae.W_enc
    expected = m * (m > 0) * (m + sae.b_enc > 0)
    torch.testing.assert_close(sae.pre_acts(x), m)
    torch.testing.assert_close(sae.encode(x), expected)
    torch.testing.assert_close(sae(x), expected @ sae.W_dec + sae.b_dec)


def test_relu_encodes_the_projection_plus_its_bias() -> None:
    sae = filled(sae_of(ReluSae(d_sae=12), 5))
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(sae.encode(x), torch.relu((x - sae.b_dec) @ sae.W_enc + sae.b_enc))


def test_a_prolu_sae_equals_the_jumprelu_sae_at_its_effective_thresholds() -> None:
    sae = filled(sae_of(ProluSae(d_sae=12), 5))
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(6))
    h = (x - sae.b_dec) @ sae.W_enc
    threshold = (-sae.b_enc).clamp(min=0)
    assert torch.equal(sae.encode(x), torch.relu(h) * (h > threshold))


def test_every_parameter_gets_the_gradient_of_the_plain_formula() -> None:
    sae = filled(sae_of(ReluSae(d_sae=12), 5)).double()
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    parameters = list(sae.parameters())
    plain = torch.relu((x - sae.b_dec) @ sae.W_enc + sae.b_enc) @ sae.W_dec + sae.b_dec
    found = torch.autograd.grad((sae(x) - x).square().sum(), parameters)
    expected = torch.autograd.grad((plain - x).square().sum(), parameters)
    torch.testing.assert_close(found, expected)
