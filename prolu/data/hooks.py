"""Where in a transformer block a value is read or replaced: found by the block's structure. Knows no weights and no text.

resid_pre    the residual stream that enters the block
attn_out     what attention adds to it: the output of the attention module, or of the norm that follows it in the block
mlp_out      what the MLP adds to it, likewise
mlp_hidden   the input of the MLP's last matrix (down_proj, c_proj, fc2, dense_4h_to_h)
resid_post   the residual stream that leaves the block
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from prolu.data.places import DataError
from prolu.spec.data import Hook

# The names that the decoders of transformers give to the parts of a block.
_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_MLP = ("mlp", "feed_forward", "ffn")
_LAST_MATRIX = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "fc_out")
# Gemma 2 and 3, OLMo 2: what a part adds goes through a norm of its own first. In other families the first of the two names
# means the norm before the MLP; only these have the second.
_NORM_AFTER_ATTENTION = "post_attention_layernorm"
_NORM_AFTER_MLP = "post_feedforward_layernorm"


@dataclass(frozen=True)
class HookPoint:
    """One side of one module."""

    module: nn.Module
    """The module that takes or gives the value as its first."""
    side: Literal["input", "output"]
    """Which of the two."""

    @contextmanager
    def tapped(self, function: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
        """Give the value to `function` whenever it is passed inside the `with`; what that returns, unless None, replaces it."""
        handle = self._register(function)
        try:
            yield
        finally:
            handle.remove()

    def _register(self, function: Callable[[Tensor], Tensor | None]) -> Any:
        if self.side == "input":

            def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                changed = function(first_input(args, kwargs))
                if changed is None:
                    return None
                return ((changed, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": changed})

            return self.module.register_forward_pre_hook(before, with_kwargs=True)

        def after(_module: nn.Module, _args: Any, output: Any) -> Any:
            changed = function(output[0] if isinstance(output, tuple) else output)
            if changed is None:
                return None
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return self.module.register_forward_hook(after)


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the hidden states that a module of transformers was called with."""
    states: Tensor = args[0] if args else kwargs["hidden_states"]
    return states


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


def find_hook(model: Any, hook: Hook, block: int) -> HookPoint:
    """Return the place of `hook` in a block. Raises DataError, with what the block has, if it is built in an unknown way."""
    module = find_blocks(model)[block]
    match hook:
        case "resid_pre":
            return HookPoint(module, "input")
        case "resid_post":
            return HookPoint(module, "output")
        case "attn_out":
            attention = _child(module, _ATTENTION, hook, block)
            return HookPoint(_norm_after(module, _NORM_AFTER_ATTENTION) or attention, "output")
        case "mlp_out":
            # OPT has the matrices of its MLP in the block itself.
            mlp = _child(module, (*_MLP, *_LAST_MATRIX), hook, block)
            return HookPoint(_norm_after(module, _NORM_AFTER_MLP) or mlp, "output")
        case "mlp_hidden":
            mlp = next((child for name, child in module.named_children() if name in _MLP), module)
            return HookPoint(_child(mlp, _LAST_MATRIX, hook, block), "input")


def hook_width(model: Any, hook: Hook, block: int) -> int:
    """Return the width of the value: that of the MLP's hidden layer for mlp_hidden, that of the residual stream otherwise."""
    if hook != "mlp_hidden":
        return int(model.config.get_text_config().hidden_size)
    matrix: Any = find_hook(model, hook, block).module
    # GPT-2's Conv1D is a Linear with its weight the other way round.
    return int(matrix.in_features if isinstance(matrix, nn.Linear) else matrix.weight.shape[0])


def _child(module: nn.Module, names: tuple[str, ...], hook: Hook, block: int) -> nn.Module:
    children = dict(module.named_children())
    found = [children[name] for name in names if name in children]
    if len(found) != 1:
        raise DataError(
            f"data.hook is {hook}, but in block {block} the {type(module).__name__} has the parts {', '.join(children)}, "
            f"of which {len(found)} are called {' or '.join(names)}; choose resid_pre or resid_post, or another model."
        )
    return found[0]


def _norm_after(block: nn.Module, name: str) -> nn.Module | None:
    children = dict(block.named_children())
    return children.get(name) if _NORM_AFTER_MLP in children else None
