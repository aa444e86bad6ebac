"""Directions of descent against hand-worked cases, naive references and the limits that they are smoothed from."""

import pytest
import torch
from torch import Tensor

from prolu.analysis.descent import descents, smoothed_l0
from prolu.models import build_sae
from prolu.models.sae import Sae
from prolu.spec.sae import ProluHybridSae, ProluSae

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def autoencoder(kind: str = "prolu") -> Sae:
    """A small one in float64 with biases of both signs and a decoder that is no transpose."""
    sae = build_sae(ProluSae(d_sae=7) if kind == "prolu" else ProluHybridSae(d_sae=7), 5, seed=1).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return sae


def direction(sae: Sae, objective: str, bandwidth: float | None, *, over: str = "sum") -> dict[str, Tensor]:
    bandwidths = [0.1] if bandwidth is None else [bandwidth]
    found = descents(sae, X, bandwidths=bandwidths, over="mean" if over == "mean" else "sum")
    return next(dict(one.gradients) for one in found if (one.objective, one.bandwidth) == (objective, bandwidth))


def errors(sae: Sae, acts: Tensor) -> Tensor:
    """Squared error of each token."""
    return (sae.decode(acts) - X).square().sum(dim=1)


@pytest.mark.parametrize("kind", ["prolu", "prolu_hybrid"])
def test_smoothed_l0_tends_to_the_number_of_active_latents(kind: str) -> None:
    sae = autoencoder(kind)
    l0 = (sae.encode(X) > 0).double().sum(dim=1).mean()
    shift = sae.gate_bias if kind == "prolu_hybrid" else sae.gate_bias.clamp(max=0)
    z = sae.pre_acts(X) + shift
    assert smoothed_l0(z, 1e-9).item() == pytest.approx(l0.item(), abs=1e-9)
    assert smoothed_l0(z, 1.0).item() != pytest.approx(l0.item(), abs=1e-2)


def test_smoothed_l0_is_the_l0_to_be_expected_under_logistic_noise() -> None:
    z = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    uniform = torch.rand(200_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noisy = z + 0.25 * torch.logit(uniform)
    assert smoothed_l0(z, 0.25).item() == pytest.approx((noisy > 0).double().sum(dim=1).mean().item(), abs=5e-3)


def test_the_gradient_of_smoothed_l0_is_that_of_its_formula() -> None:
    sae, eps = autoencoder(), 0.2
    m, b = sae.pre_acts(X).detach(), sae.gate_bias.detach()
    s = torch.sigmoid((m + b.clamp(max=0)) / eps)
    density = s * (1 - s) / eps / len(X)
    found = direction(sae, "l0", eps)
    assert torch.allclose(found["b_enc"], density.sum(dim=0) * (b < 0))
    assert torch.allclose(found["W_enc"], (X - sae.b_dec).T @ density)
    assert torch.allclose(found["b_dec"], -(sae.W_enc @ density.sum(dim=0)))
    assert "W_dec" not in found


@pytest.mark.parametrize("kind", ["prolu", "prolu_hybrid"])
@pytest.mark.parametrize("over", ["mean", "sum"])
def test_exact_reconstruction_is_what_finite_differences_say_where_no_gate_moves(kind: str, over: str) -> None:
    sae, step = autoencoder(kind), 1e-7
    scale = X.numel() if over == "mean" else len(X)
    for name, gradient in direction(sae, "reconstruction", None, over=over).items():
        parameter = sae.get_parameter(name)
        with torch.no_grad():
            parameter[(0,) * parameter.dim()] += step
            above = errors(sae, sae.encode(X)).sum() / scale
            parameter[(0,) * parameter.dim()] -= 2 * step
            below = errors(sae, sae.encode(X)).sum() / scale
            parameter[(0,) * parameter.dim()] += step
        slope = ((above - below) / (2 * step)).item()
        assert slope == pytest.approx(gradient.flatten()[0].item(), abs=1e-6), name


def test_the_reconstruction_of_a_gating_bias_is_the_error_to_be_expected_under_noise_on_its_gate() -> None:
    sae, eps = autoencoder(), 0.2
    m, b, acts = sae.pre_acts(X).detach(), sae.gate_bias.detach(), sae.encode(X).detach()
    expected = torch.zeros_like(b)
    for latent in range(len(b)):
        opened, shut = acts.clone(), acts.clone()
        opened[:, latent], shut[:, latent] = m[:, latent].relu(), 0
        jump = (errors(sae, opened) - errors(sae, shut)).detach()
        s = torch.sigmoid((m[:, latent] + b[latent]) / eps)
        expected[latent] = (s * (1 - s) / eps * jump).mean() if b[latent] < 0 else 0
    assert (b < 0).any()
    assert (b > 0).any()
    assert torch.allclose(direction(sae, "reconstruction", eps)["b_enc"], expected)


def test_the_bias_of_a_shifting_latent_of_a_hybrid_has_its_exact_gradient() -> None:
    sae = autoencoder("prolu_hybrid")
    acts = sae.encode(X).detach().requires_grad_()
    errors(sae, acts).mean().backward()
    assert acts.grad is not None
    shifting = sae.gate_bias > 0
    exact = (acts.grad * (acts > 0)).sum(dim=0)
    found = direction(sae, "reconstruction", 0.2)["b_enc"]
    assert torch.allclose(found[shifting], exact[shifting])
    assert not torch.allclose(found[~shifting], exact[~shifting])


def test_exact_l1_leaves_the_gating_biases_and_the_decoder_alone() -> None:
    sae = autoencoder()
    gates = (sae.encode(X) > 0).double() / len(X)
    found = direction(sae, "l1", None)
    assert torch.allclose(found["W_enc"], (X - sae.b_dec).T @ gates)
    assert not found["b_enc"].any()
    assert "W_dec" not in found


def test_the_autoencoder_keeps_its_own_gradients() -> None:
    sae = autoencoder()
    direction(sae, "l0", 0.1)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in sae.parameters())
