"""Read what a language model's configuration says, and hold a spec against it before any weight is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from prolu.data.hooks import find_hook, hook_width
from prolu.data.places import DataError
from prolu.data.quiet import quiet_transformers
from prolu.spec.data import LanguageModelData


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a language model."""

    blocks: int
    """Number of transformer blocks."""
    d_in: int
    """Width of the value at the hook of the spec."""
    vocabulary: int
    """Number of token ids it knows."""


def load_config(folder: Path, model: str) -> Any:
    """Return the transformers configuration in `folder`; attention falls back to torch's own.

    Raises DataError if there is none, or if it is of an architecture whose code is not part of transformers.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"data.model is {model!r}, which transformers cannot read without code from elsewhere ({_first_line(error)}); "
            "name a causal language model that transformers knows."
        ) from None
    # A configuration may name an attention kernel to download; torch's own is taken instead.
    config._attn_implementation = None
    return config


def check_shape(folder: Path, spec: LanguageModelData) -> ModelShape:
    """Return the model's sizes.

    Raises DataError if it lacks the block or the hook of `spec`, or is trained for shorter contexts.
    """
    config = load_config(folder, spec.model)
    text = config.get_text_config()
    blocks = int(text.num_hidden_layers)
    if spec.block >= blocks:
        raise DataError(
            f"data.block is {spec.block}, but {spec.model} has {blocks} blocks (0 to {blocks - 1}); choose one of them."
        )
    longest = getattr(text, "max_position_embeddings", None)
    if longest is not None and spec.context_length > longest:
        raise DataError(
            f"data.context_length is {spec.context_length}, but {spec.model} reads at most {longest} tokens; shorten it."
        )
    return ModelShape(blocks=blocks, d_in=_width(config, spec), vocabulary=int(text.vocab_size))


def _width(config: Any, spec: LanguageModelData) -> int:
    if spec.hook in ("resid_pre", "resid_post"):
        return int(config.get_text_config().hidden_size)
    try:
        # The modules without their weights: what a block is made of is known before any weight is fetched.
        with quiet_transformers(), torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise DataError(
            f"data.model is {spec.model!r}, which is not a causal language model ({_first_line(error)}); name one."
        ) from None
    find_hook(skeleton, spec.hook, spec.block)
    return hook_width(skeleton, spec.hook, spec.block)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
