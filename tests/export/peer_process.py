"""Runs in the peers' environment, as `python peer_process.py FOLDER`: load every export there with the real libraries.

FOLDER/exports/{case}/{format}/...           written by prolu; inputs.safetensors beside the formats holds x
FOLDER/exports/{case}/{format}-out.safetensors   acts and x_hat, written here
FOLDER/exports/{case}/{format}-out.json          what the library made of it, written here
FOLDER/made/{name}/                          a checkpoint made and saved by SAELens, with x, acts, x_hat in out.safetensors
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from dictionary_learning.utils import load_dictionary
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
)
from safetensors.torch import load_file, save_file

D_IN, D_SAE = 12, 40


@torch.no_grad()
def try_exports(folder: Path) -> None:
    for case in sorted(folder.iterdir()):
        inputs = load_file(case / "inputs.safetensors")
        sae = SAE.load_from_disk(case / "sae_lens")
        about = {
            "class": type(sae).__name__,
            "metadata": sae.cfg.metadata.to_dict(),
            "normalize": sae.cfg.normalize_activations,
        }
        _write(case / "sae_lens-out", sae, inputs["raw"], about)
        dictionary, config = load_dictionary(str(case / "dictionary_learning"), "cpu")
        about = {"class": type(dictionary).__name__, "config": config}
        _write(case / "dictionary_learning-out", dictionary, inputs["for_dictionary_learning"], about)


def _write(out: Path, sae: Any, x: torch.Tensor, about: dict[str, Any]) -> None:
    acts = sae.encode(x)
    save_file({"acts": acts.contiguous(), "x_hat": sae.decode(acts).contiguous()}, out.with_suffix(".safetensors"))
    out.with_suffix(".json").write_text(json.dumps(about))


@torch.no_grad()
def make_checkpoints(folder: Path) -> None:
    for seed, (name, sae) in enumerate(_made_by_sae_lens()):
        generator = torch.Generator().manual_seed(seed)
        for parameter in sae.parameters():
            parameter.normal_(0, 0.4, generator=generator)
        if name == "batchtopk":
            sae.topk_threshold.fill_(0.7)
            sae.save_inference_model(folder / name)
            sae = SAE.load_from_disk(folder / name)
        else:
            sae.save_model(folder / name)
        x = torch.randn(16, D_IN, generator=generator) * 3
        acts = sae.encode(x)
        out = {"x": x, "acts": acts.float(), "x_hat": sae.decode(acts).float()}
        save_file(out, folder / name / "out.safetensors")


def _made_by_sae_lens() -> Iterator[tuple[str, Any]]:
    size = {"d_in": D_IN, "d_sae": D_SAE}
    yield "standard", StandardSAE(StandardSAEConfig(**size))
    yield "jumprelu", JumpReLUSAE(JumpReLUSAEConfig(**size))
    yield "gated", GatedSAE(GatedSAEConfig(**size))
    yield "topk", TopKSAE(TopKSAEConfig(**size, k=5))
    yield "topk-rescaled", TopKSAE(TopKSAEConfig(**size, k=5, rescale_acts_by_decoder_norm=True))
    yield "batchtopk", BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**size, k=5))
    yield "standard-b_dec-kept", StandardSAE(StandardSAEConfig(**size, apply_b_dec_to_input=False))
    yield "gated-b_dec-kept", GatedSAE(GatedSAEConfig(**size, apply_b_dec_to_input=False))
    yield "jumprelu-rescaled", JumpReLUSAE(JumpReLUSAEConfig(**size, normalize_activations="constant_norm_rescale"))
    yield "layer-norm", StandardSAE(StandardSAEConfig(**size, normalize_activations="layer_norm"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    try_exports(root / "exports")
    make_checkpoints(root / "made")
