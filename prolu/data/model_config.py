"""Read what a language model's configuration says, and hold a spec against it before any weight is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from prolu.data.places import DataError
from prolu.data.quiet import quiet_transformers
from prolu.spec.data import LanguageModelData


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a language model."""

    blocks: int
    """Number of transformer blocks."""
    d_in: int
    """Width of the residual stream."""
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
    """Return the model's sizes. Raises DataError if it lacks the block of `spec`, or is trained for shorter contexts."""
    text = load_config(folder, spec.model).get_text_config()
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
    return ModelShape(blocks=blocks, d_in=int(text.hidden_size), vocabulary=int(text.vocab_size))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
