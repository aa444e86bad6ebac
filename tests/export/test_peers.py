"""The exports against the real SAELens and dictionary_learning: the same gates, the same acts, the same reconstructions."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from prolu.export import SaeLensError, load_sae_lens
from prolu.models.normalisation import Normaliser
from tests.export.cases import CASES, GATED_KINDS, RMS, Case
from tests.export.conftest import Tried

pytestmark = pytest.mark.peers

FOLDED = ("relu", "prolu", "prolu_hybrid", "jumprelu", "gated")
CLASSES = {
    "relu": ("StandardSAE", "AutoEncoder"),
    "prolu": ("JumpReLUSAE", "JumpReluAutoEncoder"),
    "prolu_hybrid": ("JumpReLUSAE", "JumpReluAutoEncoder"),
    "jumprelu": ("JumpReLUSAE", "JumpReluAutoEncoder"),
    "gated": ("GatedSAE", "GatedAutoEncoder"),
    "topk": ("TopKSAE", "AutoEncoderTopK"),
    "batch_topk": ("JumpReLUSAE", "BatchTopKSAE"),
    "matryoshka_batch_topk": ("JumpReLUSAE", "MatryoshkaBatchTopKSAE"),
}


@pytest.mark.parametrize("name", CASES)
def test_sae_lens_reads_what_we_wrote_as_we_mean_it(tried: Tried, name: str) -> None:
    case = tried.cases[name]
    theirs, about = _answer(tried, name, "sae_lens")
    acts, x_hat = _ours(case)
    _assert_same(theirs["acts"], acts * _decoder_norms(case))
    torch.testing.assert_close(theirs["x_hat"], x_hat, rtol=1e-5, atol=1e-5 * x_hat.abs().max().item())
    assert about["class"] == CLASSES[case.config.spec.sae.kind][0]
    assert about["normalize"] == ("constant_norm_rescale" if "per_token" in name else "none")
    assert about["metadata"]["prolu"]["run_digest"] == case.config.spec.digest()


@pytest.mark.parametrize("name", CASES)
def test_dictionary_learning_reads_what_we_wrote_as_we_mean_it(tried: Tried, name: str) -> None:
    case = tried.cases[name]
    theirs, about = _answer(tried, name, "dictionary_learning")
    acts, x_hat = _ours(case, raw=case.config.spec.data.normalisation != "per_token")
    scale = RMS if case.config.spec.data.normalisation == "dataset_rms" else 1.0
    _assert_same(theirs["acts"], acts * _decoder_norms(case) * scale)
    torch.testing.assert_close(theirs["x_hat"], x_hat, rtol=1e-5, atol=1e-5 * x_hat.abs().max().item())
    assert about["class"] == CLASSES[case.config.spec.sae.kind][1]
    assert about["config"]["trainer"]["activation_dim"] == case.config.d_in


@pytest.mark.parametrize("library", ["sae_lens", "dictionary_learning"])
@pytest.mark.parametrize("kind", GATED_KINDS)
def test_inputs_on_and_beside_a_gate_pass_it_alike(tried: Tried, kind: str, library: str) -> None:
    case = tried.cases[f"boundary-{kind}"]
    theirs, _ = _answer(tried, f"boundary-{kind}", library)
    with torch.no_grad():
        ours = case.sae.encode(case.x)
    assert torch.equal(theirs["acts"], ours)
    bias = case.sae.gate_bias.detach()
    expected = [[_opens(m, b, kind) for m, b in zip(row, bias.tolist(), strict=True)] for row in case.x.tolist()]
    assert (ours > 0).tolist() == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("standard", "relu"),
        ("jumprelu", "jumprelu"),
        ("gated", "gated"),
        ("topk", "topk"),
        ("topk-rescaled", "topk"),
        ("batchtopk", "jumprelu"),
        ("standard-b_dec-kept", "relu"),
        ("gated-b_dec-kept", "gated"),
        ("jumprelu-rescaled", "jumprelu"),
    ],
)
def test_what_sae_lens_saved_is_read_as_it_means_it(tried: Tried, name: str, kind: str) -> None:
    imported = load_sae_lens(tried.made / name)
    theirs = safetensors.torch.load_file(tried.made / name / "out.safetensors")
    normaliser = Normaliser(imported.normalisation)
    with torch.no_grad():
        acts = imported.sae.encode(normaliser.normalise(theirs["x"]))
        x_hat = normaliser.denormalise(imported.sae.decode(acts), normaliser.scales(theirs["x"]))
    assert imported.sae.spec.kind == kind
    assert (acts > 0).any()
    _assert_same(theirs["acts"], acts)
    torch.testing.assert_close(x_hat, theirs["x_hat"], rtol=1e-5, atol=1e-5 * x_hat.abs().max().item())


def test_a_normalisation_of_sae_lens_that_we_lack_is_refused_by_name(tried: Tried) -> None:
    with pytest.raises(SaeLensError, match=r"layer_norm.*understood are none and constant_norm_rescale"):
        load_sae_lens(tried.made / "layer-norm")


def _answer(tried: Tried, name: str, library: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    folder = tried.exports / name
    tensors = safetensors.torch.load_file(folder / f"{library}-out.safetensors")
    return tensors, json.loads((folder / f"{library}-out.json").read_text())


@torch.no_grad()
def _ours(case: Case, *, raw: bool = True) -> tuple[Tensor, Tensor]:
    """Return our acts, and our x_hat for raw activations or in the space of training."""
    acts = case.sae.encode(case.normaliser.normalise(case.x))
    x_hat = case.sae.decode(acts)
    return acts, case.normaliser.denormalise(x_hat, case.normaliser.scales(case.x)) if raw else x_hat


def _decoder_norms(case: Case) -> Tensor | float:
    """What acts are scaled by where decoder rows were."""
    if case.config.spec.sae.kind not in FOLDED or case.config.spec.sae.decoder_norm == "unit":
        return 1.0
    return case.sae.W_dec.detach().norm(dim=1)


def _assert_same(theirs: Tensor, ours: Tensor) -> None:
    """Gates identical, acts to 1e-5."""
    assert torch.equal(theirs > 0, ours > 0)
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5 * ours.max().item())


def _opens(m: float, b: float, kind: str) -> bool:
    """Decide in exact arithmetic whether the gate is open; the magnitudes of the gated case are positive where it is."""
    open_by_bias = Fraction(m) + Fraction(b) > 0
    if kind in ("relu", "prolu_hybrid"):
        return open_by_bias
    return open_by_bias and (Fraction(m) > 0 or (kind == "gated" and m > -1))
