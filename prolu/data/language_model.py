"""Run a causal language model as far as one block, and return the residual stream there.

Works for any decoder of transformers whose blocks stand in one ModuleList (Llama, GPT-2, GPT-NeoX, Gemma, Qwen, ...).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from prolu.data.model_config import load_config
from prolu.data.model_files import ModelFiles
from prolu.data.places import DataError
from prolu.data.quiet import quiet_transformers
from prolu.spec.data import Hook


class LanguageModel:
    """A model in float32 on the GPU if this process has one, else on the CPU."""

    def __init__(self, model: nn.Module) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).eval()
        self._blocks = find_blocks(model)

    def residual(
        self, tokens: Int[Tensor, "contexts positions"], *, hook: Hook, block: int
    ) -> Float[Tensor, "contexts positions d_in"]:
        """Return the residual stream before (`resid_pre`) or after (`resid_post`) a block, on the CPU; no later block runs."""
        reached: list[Tensor] = []

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            reached.append(args[0] if args else kwargs["hidden_states"])
            raise _Reached

        def after(_module: nn.Module, _args: Any, output: Any) -> None:
            reached.append(output[0] if isinstance(output, tuple) else output)
            raise _Reached

        module = self._blocks[block]
        if hook == "resid_pre":
            handle = module.register_forward_pre_hook(before, with_kwargs=True)
        else:
            handle = module.register_forward_hook(after)
        try:
            with torch.inference_mode():
                self.model(input_ids=tokens.to(self.device), use_cache=False)
        except _Reached:
            return reached[0].float().cpu()
        finally:
            handle.remove()
        raise RuntimeError(f"the forward pass of {type(self.model).__name__} never ran block {block}")


class _Reached(Exception):
    """Ends the forward pass once the hooked block has been reached."""


def load_model(files: ModelFiles, name: str) -> LanguageModel:
    """Load the weights, from safetensors alone. Raises DataError if they are not those of a causal model, or not readable."""
    config = load_config(files.folder, name)
    try:
        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(
                files.folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, not of the model
        raise DataError(
            f"data.model is {name!r}, which cannot be loaded as a causal language model ({str(error).strip()[:300]}); "
            "name one with float weights in safetensors."
        ) from None
    return LanguageModel(model)


def load_tokenizer(files: ModelFiles, name: str) -> Any:
    """Load the model's tokenizer. Raises DataError if it has none that transformers can read."""
    try:
        with quiet_transformers():
            return AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise DataError(
            f"data.model is {name!r}, whose tokenizer cannot be loaded ({str(error).strip()[:300]}); "
            "name a model that comes with its tokenizer."
        ) from None


def find_blocks(model: Any) -> nn.ModuleList:
    """Return the list of transformer blocks: the outermost ModuleList as long as the configuration says there are blocks."""
    blocks = int(model.config.get_text_config().num_hidden_layers)
    lists = [
        (name.count("."), module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == blocks
    ]
    outermost = min((depth for depth, _ in lists), default=0)
    found = [module for depth, module in lists if depth == outermost]
    if len(found) != 1:
        raise DataError(
            f"data.model is a {type(model).__name__}, in which {len(found)} lists could be its {blocks} blocks; "
            "name a decoder of one stack of blocks."
        )
    return found[0]
