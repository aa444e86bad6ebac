"""Run a language model's forward pass from the middle: the blocks before the hook return what is known instead of computing.

Hooks still see every block, so a value can be replaced at the hook whether or not its block computes. Attention masks, positions
and whatever else the model prepares for its blocks are prepared as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prolu.data.hooks import HookPoint, first_input
from prolu.data.language_model import LanguageModel
from prolu.data.places import DataError

Replace = Callable[[Tensor], Tensor]


# A pass that was taken up computes the same sums from the same bits.
_TOLERANCE = 1e-4


class ResumableModel:
    """A language model whose clean forward passes are recorded at two places, and can be taken up from either.

    Raises DataError if the model's blocks hand on more than the residual stream, so that a pass that is taken up ends elsewhere.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.device = model.device
        self._model = model
        self._known = model.block + 1 if model.hook == "resid_post" else model.block
        self._head = HookPoint(model.model.get_output_embeddings(), "input")
        self._lengths: list[int | None] = []
        self._try()

    def clean(
        self, tokens: Int[Tensor, "contexts positions"]
    ) -> tuple[
        Float[Tensor, "contexts positions vocabulary"],
        Float[Tensor, "contexts positions d_model"] | None,
        Float[Tensor, "contexts positions d_model"],
    ]:
        """Return the logits, the residual stream where the hook's part begins, and the input of the head.

        There is no residual where nothing comes before the hook: at the first block. All are on the model's device.
        """
        seen: dict[str, Tensor] = {}
        with ExitStack() as stack:
            if self._known:
                point = HookPoint(self._model.blocks[self._known - 1], "output")
                stack.enter_context(point.tapped(lambda value: seen.update(residual=value)))
            stack.enter_context(self._head.tapped(lambda value: seen.update(head=value)))
            logits = self._logits(tokens)
        return logits, seen.get("residual"), seen["head"]

    def resumed(
        self,
        tokens: Int[Tensor, "contexts positions"],
        residual: Float[Tensor, "contexts positions d_model"] | None,
        replace: Replace | None = None,
    ) -> Float[Tensor, "contexts positions vocabulary"]:
        """Return the logits of a pass that begins at `residual`, as `clean` gave it, with `replace` of the value at the hook."""
        with ExitStack() as stack:
            if residual is not None:
                stack.enter_context(passed_through(self._model.blocks[: self._known], self._lengths, residual))
            if replace is not None:
                stack.enter_context(self._model.point.tapped(replace))
            return self._logits(tokens)

    def predicted(
        self, tokens: Int[Tensor, "contexts positions"], head: Float[Tensor, "contexts positions d_model"]
    ) -> Float[Tensor, "contexts positions vocabulary"]:
        """Return the logits that follow from the input of the head, as `clean` gave it."""
        with passed_through(self._model.blocks, self._lengths, None), self._head.tapped(lambda _: head):
            return self._logits(tokens)

    def _logits(self, tokens: Int[Tensor, "contexts positions"]) -> Float[Tensor, "contexts positions vocabulary"]:
        logits: Tensor = self._model.model(input_ids=tokens, use_cache=False).logits
        return logits

    def _try(self) -> None:
        """Hold passes that are taken up against a clean one, on eight tokens."""
        tokens = torch.arange(8, device=self.device).unsqueeze(0)
        with ExitStack() as stack, torch.no_grad():
            for block in self._model.blocks:
                handle = block.register_forward_hook(
                    lambda _block, _args, output: self._lengths.append(_length(output))
                )
                stack.callback(handle.remove)
            self._logits(tokens)
        with torch.no_grad():
            logits, residual, head = self.clean(tokens)
            for again in (self.resumed(tokens, residual), self.predicted(tokens, head)):
                if not (again - logits).abs().max() <= _TOLERANCE * logits.abs().max():
                    raise DataError(
                        f"data.ce_tokens asks for cross-entropy, but the blocks of a {type(self._model.model).__name__} hand on "
                        "more than the residual stream, and nothing can be spliced into it; set data.ce_tokens to 0."
                    )


@contextmanager
def passed_through(blocks: Sequence[nn.Module], lengths: Sequence[int | None], value: Tensor | None) -> Iterator[None]:
    """Within the block, each of `blocks` returns its input and computes nothing; the last one returns `value`, unless None.

    `lengths` says which blocks return tuples, and how long; all but the first of a tuple is then None.
    """
    last = len(blocks) - 1
    try:
        for number, (block, length) in enumerate(zip(blocks, lengths, strict=False)):
            # An attribute of the instance comes before the class's forward; everything else about the block stays.
            block.__dict__["forward"] = _returning(value if number == last else None, length)
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


def _returning(value: Tensor | None, length: int | None) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        states = first_input(args, kwargs) if value is None else value
        return states if length is None else (states, *[None] * (length - 1))

    return forward


def _length(output: Any) -> int | None:
    return len(output) if isinstance(output, tuple) else None
