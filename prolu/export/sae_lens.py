"""SAELens' layout, version 6: `cfg.json` and `sae_weights.safetensors`, for `SAE.load_from_disk(folder)`.

    relu                       standard
    prolu, prolu_hybrid        jumprelu, threshold max(0, -b)
    jumprelu                   jumprelu
    gated, topk                the same
    batch_topk, matryoshka     jumprelu with the learned threshold, as SAELens itself saves them

SAELens' jumprelu is relu(z) * 1[z > threshold], and its topk picks before the relu, which gives the same acts. Activations
normalised per token are its `constant_norm_rescale`; a scale of the whole data is folded into the weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch

from prolu.export.exportable import Exportable
from prolu.export.hook_names import where_from
from prolu.export.portable import Portable, with_rms_in_the_weights
from prolu.export.report import ExportReport

CFG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
# The layout's version: for anything older, or none, SAELens' loader converts what it reads.
LAYOUT_VERSION = "6.0.0"

_ARCHITECTURES = {"relu": "standard", "batch_topk": "jumprelu"}


def write_sae_lens(given: Exportable, folder: Path) -> ExportReport:
    """Write both files into `folder`, which exists, and say what they are."""
    inference, notes = _folded(given)
    architecture = _ARCHITECTURES.get(inference.encoder, inference.encoder)
    tensors = dict(inference.tensors)
    if architecture == "jumprelu":
        tensors["threshold"] = tensors["threshold"].expand(inference.d_sae).contiguous()
    safetensors.torch.save_file(tensors, folder / WEIGHTS)
    cfg = _cfg(given, inference, architecture)
    (folder / CFG).write_text(json.dumps(cfg, indent=2) + "\n", encoding="utf-8")
    return ExportReport(
        format="sae_lens",
        architecture=architecture,
        files=[CFG, WEIGHTS],
        positive_biases=given.positive_biases,
        notes=notes,
    )


def _folded(given: Exportable) -> tuple[Portable, list[str]]:
    """Return the inference as SAELens should have it, and what was done to it."""
    inference, notes = given.inference, given.notes()
    if given.rms is not None:
        inference = with_rms_in_the_weights(inference, given.rms)
        notes.append(f"It reads raw activations; the scale of the data, {given.rms:.6g}, is folded into the weights.")
    if given.config.spec.data.normalisation == "per_token":
        notes.append("It reads raw activations and scales each to norm sqrt(d_in) itself; a row of zeros becomes NaN.")
    return inference, notes


def _cfg(given: Exportable, inference: Portable, architecture: str) -> dict[str, Any]:
    per_token = given.config.spec.data.normalisation == "per_token"
    of_topk = {"k": inference.k, "rescale_acts_by_decoder_norm": False} if architecture == "topk" else {}
    return {
        "architecture": architecture,
        "d_in": inference.d_in,
        "d_sae": inference.d_sae,
        **of_topk,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "constant_norm_rescale" if per_token else "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": LAYOUT_VERSION,
            "sae_lens_training_version": None,
            **where_from(given.config.spec.data),
            "prolu": given.provenance(),
        },
    }
