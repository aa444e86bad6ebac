"""Run a causal language model as far as one hook of one block, and return what is there.

Works for any decoder of transformers whose blocks stand in one ModuleList (Llama, GPT-2, GPT-NeoX, OPT, Gemma, Qwen, ...).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from prolu.data.hooks import find_blocks, find_hook
from prolu.data.model_config import load_config
from prolu.data.model_files import ModelFiles
from prolu.data.places import DataError
from prolu.data.quiet import quiet_transformers
from prolu.spec.data import Hook, LanguageModelData

# Rounding makes a sum of three float32 differ by 1e-7 of the largest; a factor or a norm that was missed, by far more.
_ADDEND_TOLERANCE = 1e-3
# Likewise what a later token changes by rounding alone, of the largest logit.
_CAUSAL_TOLERANCE = 1e-4
# Weights that an error names; a checkpoint of another architecture lacks hundreds.
_NAMED = 5
# Text that every tokenizer makes something of, be it unknown words.
_PROBE = "hello world"


class LanguageModel:
    """A model in float32 on the GPU if this process has one, else on the CPU, with the hook that is of interest."""

    def __init__(self, model: nn.Module, *, hook: Hook, block: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = model.to(self.device).eval()
        self.blocks = list(find_blocks(model))
        self.block = block
        self.hook = hook
        self.point = find_hook(model, hook, block)

    def activations(self, tokens: Int[Tensor, "contexts positions"]) -> Float[Tensor, "contexts positions d_in"]:
        """Return the value at the hook, on the CPU; nothing that comes after it in the model runs.

        A position depends on those before it alone, so what stands at unused positions on the right does not matter.
        """
        reached: list[Tensor] = []

        def stop(value: Tensor) -> None:
            reached.append(value)
            raise _Reached

        try:
            with self.point.tapped(stop), torch.inference_mode():
                self.model(input_ids=tokens.to(self.device), use_cache=False)
        except _Reached:
            # OPT's MLP sees (contexts * positions, width).
            return reached[0].float().cpu().reshape(*tokens.shape, -1)
        raise RuntimeError(
            f"the forward pass of {type(self.model).__name__} never reached {self.hook} of block {self.block}"
        )


class _Reached(Exception):
    """Ends the forward pass once the value at the hook is there."""


def load_model(files: ModelFiles, spec: LanguageModelData) -> LanguageModel:
    """Load the weights, from safetensors alone.

    Raises DataError if they are not those of a causal model, not readable or not complete, or if the model's blocks are not sums
    of the parts that `attn_out` and `mlp_out` mean.
    """
    config = load_config(files.folder, spec.model)
    try:
        with quiet_transformers():
            weights, loading = AutoModelForCausalLM.from_pretrained(
                files.folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are told rather than printed
                trust_remote_code=False,
                local_files_only=True,
            )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the model
        raise DataError(
            f"data.model is {spec.model!r}, which cannot be loaded as a causal language model ({str(error).strip()[:300]}); "
            "name one with float weights in safetensors."
        ) from None
    _require_complete(loading, spec.model)
    model = LanguageModel(weights, hook=spec.hook, block=spec.block)
    check_causal(model, spec.model)
    if spec.hook in ("attn_out", "mlp_out"):
        check_addends(model)
    return model


def _require_complete(loading: dict[str, Any], name: str) -> None:
    """Raise DataError if transformers drew weights at random because the checkpoint has none that fit.

    Tied weights that a checkpoint leaves out are not among the missing; weights that the model has no use for do no harm.
    """
    missing = sorted(loading["missing_keys"])
    mismatched = sorted(loading["mismatched_keys"])
    faults = []
    if missing:
        faults.append(f"lacks {_listed(missing)}")
    if mismatched:
        shapes = [f"{key} of shape {list(got)} instead of {list(want)}" for key, got, want in mismatched]
        faults.append(f"has {_listed(shapes)}")
    if faults:
        raise DataError(
            f"data.model is {name!r}, whose checkpoint {' and '.join(faults)}; name one with all the weights of its config.json."
        )


def _listed(items: list[str]) -> str:
    more = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def check_causal(model: LanguageModel, name: str) -> None:
    """Raise DataError if the last of eight tokens changes the logits at those before it, as in an encoder it does."""
    tokens = torch.arange(8, device=model.device).repeat(2, 1)
    tokens[1, -1] += 1
    with quiet_transformers(), torch.inference_mode():
        logits = model.model(input_ids=tokens, use_cache=False).logits[:, :-1]
    if (logits[0] - logits[1]).abs().max() > _CAUSAL_TOLERANCE * logits.abs().max():
        raise DataError(
            f"data.model is {name!r}, a {type(model.model).__name__} in which a token changes the activations before it; "
            "name a decoder, which sees only what came before."
        )


def check_addends(model: LanguageModel) -> None:
    """Raise DataError unless resid_post = resid_pre + attn_out + mlp_out in the hooked block, on eight tokens.

    Some families scale what a part adds, add it inside the part or normalise the sum; there the names would promise too much.
    """
    seen: dict[str, Tensor] = {}
    tokens = torch.arange(8, device=model.device).unsqueeze(0)
    with ExitStack() as stack, torch.inference_mode():
        for hook in ("resid_pre", "attn_out", "mlp_out", "resid_post"):
            point = find_hook(model.model, hook, model.block)
            stack.enter_context(point.tapped(lambda value, hook=hook: seen.update({hook: value})))  # type: ignore[misc]  # a default binds the loop variable
        model.model(input_ids=tokens, use_cache=False)
    after = seen["resid_post"]
    added = seen["attn_out"].reshape(after.shape) + seen["mlp_out"].reshape(after.shape)
    error = (after - seen["resid_pre"] - added).abs().max()
    if not error <= _ADDEND_TOLERANCE * after.abs().max():
        raise DataError(
            f"data.hook is {model.hook}, but block {model.block} of this {type(model.model).__name__} is not the sum of its "
            f"input, its attention and its MLP (they differ by {error:.3g}); choose resid_pre or resid_post."
        )


def load_tokenizer(files: ModelFiles, name: str) -> Any:
    """Load the model's tokenizer. Raises DataError if it has none that transformers can read, or one that knows no words.

    Without the files of a tokenizer, transformers makes an empty one for some architectures.
    """
    try:
        with quiet_transformers():
            tokenizer: Any = AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise DataError(
            f"data.model is {name!r}, whose tokenizer cannot be loaded ({str(error).strip()[:300]}); "
            "name a model that comes with its tokenizer."
        ) from None
    words = set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)
    if not words or not tokenizer(_PROBE, add_special_tokens=False)["input_ids"]:
        raise DataError(
            f"data.model is {name!r}, whose tokenizer has no words; name a model that comes with its tokenizer."
        )
    return tokenizer
