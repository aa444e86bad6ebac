"""dictionary_learning's layout: `ae.pt` (tensors only) and `config.json`, for `utils.load_dictionary(folder, device)`.

    relu                            AutoEncoder, or JumpReluAutoEncoder
    prolu, prolu_hybrid, jumprelu   JumpReluAutoEncoder
    gated                           GatedAutoEncoder
    topk                            AutoEncoderTopK
    batch_topk                      BatchTopKSAE
    matryoshka_batch_topk           MatryoshkaBatchTopKSAE

Two habits of its loaders are met here. A loaded JumpReluAutoEncoder does not subtract b_dec from its input, so b_enc carries it:
x @ W_enc + (b_enc - b_dec @ W_enc). A loaded AutoEncoder divides its decoder rows by their norms, so with rows of zeros a relu
is exported as JumpReluAutoEncoder with threshold 0. It has no normalisation of its inputs: a scale of the data is folded as
its `scale_biases` does, one per token cannot be.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prolu.export.exportable import Exportable
from prolu.export.hook_names import hook_name, model_name
from prolu.export.portable import Portable, with_rms_in_the_acts
from prolu.export.report import ExportReport
from prolu.spec.data import LanguageModelData

CONFIG = "config.json"
WEIGHTS = "ae.pt"


def write_dictionary_learning(given: Exportable, folder: Path) -> ExportReport:
    """Write both files into `folder`, which exists, and say what they are."""
    inference, notes = _folded(given)
    name, tensors = _as_class(inference)
    content = io.BytesIO()  # torch.save to a file reports a full disk as RuntimeError
    torch.save({key: tensor.contiguous() for key, tensor in tensors.items()}, content)
    (folder / WEIGHTS).write_bytes(content.getbuffer())
    config = _config(given, inference, name)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return ExportReport(
        format="dictionary_learning",
        architecture=name,
        files=[CONFIG, WEIGHTS],
        positive_biases=given.positive_biases,
        notes=notes,
    )


def _folded(given: Exportable) -> tuple[Portable, list[str]]:
    """Return the inference as dictionary_learning should have it, and what was done to it."""
    inference, notes = given.inference, given.notes()
    if given.rms is not None:
        inference = with_rms_in_the_acts(inference, given.rms)
        notes.append(f"It reads raw activations; acts are larger by the scale of the data, {given.rms:.6g}.")
    if given.config.spec.data.normalisation == "per_token":
        notes.append(
            "It reads activations scaled to norm sqrt(d_in), since the library has no such step: scale each x by "
            "sqrt(d_in) / ||x|| before, and x_hat back after."
        )
    return inference, notes


def _as_class(inference: Portable) -> tuple[str, dict[str, Tensor]]:
    """Return the class's name and its state."""
    t = inference.tensors
    match inference.encoder:
        case "relu" if t["W_dec"].any(dim=1).all():
            return "AutoEncoder", {
                "bias": t["b_dec"],
                "encoder.weight": t["W_enc"].T,
                "encoder.bias": t["b_enc"],
                "decoder.weight": t["W_dec"].T,
            }
        case "relu" | "jumprelu":
            return "JumpReluAutoEncoder", {
                "W_enc": t["W_enc"],
                "b_enc": (t["b_enc"].double() - t["b_dec"].double() @ t["W_enc"].double()).float(),
                "W_dec": t["W_dec"],
                "b_dec": t["b_dec"],
                "threshold": t.get("threshold", torch.zeros_like(t["b_enc"])),
            }
        case "gated":
            return "GatedAutoEncoder", {
                "decoder_bias": t["b_dec"],
                "encoder.weight": t["W_enc"].T,
                "r_mag": t["r_mag"],
                "gate_bias": t["b_gate"],
                "mag_bias": t["b_mag"],
                "decoder.weight": t["W_dec"].T,
            }
        case "topk" | "batch_topk":
            k = torch.tensor(inference.k, dtype=torch.int32)
            if inference.groups:
                own = {name: t[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")}
                return "MatryoshkaBatchTopKSAE", own | {"k": k, "group_sizes": torch.tensor(inference.groups)}
            return "AutoEncoderTopK" if inference.encoder == "topk" else "BatchTopKSAE", {
                "b_dec": t["b_dec"],
                "encoder.weight": t["W_enc"].T,
                "encoder.bias": t["b_enc"],
                "decoder.weight": t["W_dec"].T,
                "k": k,
                # The library's own sign that no threshold was learned.
                "threshold": t.get("threshold", torch.tensor(-1.0)),
            }


def _config(given: Exportable, inference: Portable, name: str) -> dict[str, Any]:
    data = given.config.spec.data
    trainer: dict[str, Any] = {
        "dict_class": name,
        "activation_dim": inference.d_in,
        "dict_size": inference.d_sae,
    }
    if inference.k is not None:
        trainer["k"] = inference.k
    buffer: dict[str, Any] = {"d_submodule": inference.d_in, "io": "out"}
    if isinstance(data, LanguageModelData):
        trainer |= {"layer": data.block, "lm_name": model_name(data), "submodule_name": hook_name(data)}
        buffer["ctx_len"] = data.context_length
    return {"trainer": trainer, "buffer": buffer, "prolu": given.provenance() | {"normalisation": data.normalisation}}
