"""Reading what SAELens saved, and refusing what ours do not do. The real package's files are tried in test_peers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from prolu.export import SaeLensError, load_sae_lens, write_exports
from tests.export.cases import Case, make_case


@pytest.fixture
def case() -> Case:
    return make_case("gated-per_token-unit")


@pytest.fixture
def folder(case: Case, tmp_path: Path) -> Path:
    """Our own export of a gated autoencoder."""
    write_exports(case.sae, case.config, tmp_path, ["sae_lens"])
    return tmp_path / "sae_lens"


def change(folder: Path, **changes: Any) -> None:
    cfg = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(cfg | changes))


def test_our_own_export_comes_back_as_it_was(case: Case, folder: Path) -> None:
    imported = load_sae_lens(folder)
    assert imported.normalisation == "per_token"
    assert imported.metadata["prolu"]["step"] == 5
    assert imported.sae.state_dict().keys() == case.sae.state_dict().keys()
    for name, tensor in case.sae.state_dict().items():
        assert torch.equal(imported.sae.state_dict()[name], tensor), name


def test_a_decoder_that_is_not_subtracted_from_the_input_is_taken_into_the_biases(case: Case, folder: Path) -> None:
    change(folder, apply_b_dec_to_input=False)
    sae = load_sae_lens(folder).sae
    m = case.x @ case.sae.W_enc
    opened = m + case.sae.b_gate > 0
    expected = torch.relu(torch.exp(case.sae.r_mag) * m + case.sae.b_mag) * opened
    torch.testing.assert_close(sae.encode(case.x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "temporal"}, "architecture 'temporal'; read are standard, jumprelu, gated and topk"),
        ({"normalize_activations": "expected_average_only_in"}, "understood are none and constant_norm_rescale"),
        ({"reshape_activations": "hook_z"}, "only flat activations"),
        ({"metadata": {"sae_lens_version": "5.9.1"}}, "version 5.9.1.*load it with SAELens 6"),
        ({"metadata": {}}, "version none"),
        ({"d_in": "twelve"}, "cannot be read as SAELens' config"),
        ({"d_in": 13}, r"holds W_dec \(40, 12\) where cfg.json asks for \(40, 13\); they are not of one autoencoder"),
        ({"d_in": 0}, "d_in: Input should be greater than or equal to 1, and it is 0. Take another copy"),
        ({"d_in": -4}, "d_in: Input should be greater than or equal to 1, and it is -4"),
        ({"d_sae": -4}, "d_sae: Input should be greater than or equal to 1, and it is -4"),
        ({"d_in": 2**62}, "d_in: Input should be less than or equal to 1048576"),
        ({"d_in": 2**20, "d_sae": 2**22}, r"holds W_dec \(40, 12\) where cfg.json asks for \(4194304, 1048576\)"),
        ({"architecture": "standard"}, "holds b_enc nothing"),
        ({"architecture": "topk", "k": 41}, "describes no autoencoder"),
    ],
)
def test_what_ours_do_not_do_is_refused_in_a_sentence(folder: Path, changes: dict[str, Any], sentence: str) -> None:
    change(folder, **changes)
    with pytest.raises(SaeLensError, match=sentence):
        load_sae_lens(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(folder: Path, value: float) -> None:
    path = folder / "sae_weights.safetensors"
    weights = load_file(path)
    weights["W_enc"][3, 1] = value
    save_file(weights, path)
    with pytest.raises(SaeLensError, match=r"sae_weights\.safetensors holds W_enc with NaN or infinite numbers"):
        load_sae_lens(folder)


def test_damaged_and_missing_files_are_refused_by_name(folder: Path) -> None:
    (folder / "sae_weights.safetensors").write_bytes(b"short")
    with pytest.raises(SaeLensError, match="not a whole safetensors file"):
        load_sae_lens(folder)
    (folder / "sae_weights.safetensors").unlink()
    with pytest.raises(SaeLensError, match=r"sae_weights\.safetensors does not exist"):
        load_sae_lens(folder)
    (folder / "cfg.json").write_text("{")
    with pytest.raises(SaeLensError, match="cannot be read as SAELens' config"):
        load_sae_lens(folder)
    with pytest.raises(SaeLensError, match=r"cfg\.json does not exist"):
        load_sae_lens(folder / "elsewhere")
