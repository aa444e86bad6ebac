"""A process of its own that compiles the pass of one run after the other, without the shape checks of the tests.

Writes `same` for each whose losses and gradients are those of the plain pass, before and after its dead_window_tokens are
full. More runs than torch recompiles one function.
"""

import sys

import torch

from prolu.models import build_sae
from prolu.spec import RunSpec
from prolu.training.passes import training_pass

PROLU = {"sae": {"kind": "prolu"}, "sparsity": {"kind": "l1", "coefficient": 0.1}}
TOPK = {"sae": {"kind": "topk", "k": 2, "aux_k": 3}, "sparsity": {"kind": "none"}}


def losses_and_gradients(
    parts: dict[str, dict[str, object]],
    width: int,
    *,
    compile: bool,  # noqa: A002  the spec's name
) -> list[torch.Tensor]:
    spec = RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 8},
            "sae": parts["sae"] | {"d_sae": width},
            "sparsity": parts["sparsity"],
            "training": {"steps": 1, "compile": compile},
        }
    )
    sae = build_sae(spec.sae, 8, seed=0)
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    step = training_pass(spec, torch.device("cpu"), backend="eager")
    found = []
    for dead in (None, torch.arange(width) % 2 == 0):
        terms = step(sae, x, dead)
        loss = terms.reconstruction + 0.1 * terms.penalty + terms.auxiliary
        found += [loss, *torch.autograd.grad(loss, list(sae.parameters()))]
    return found


if __name__ == "__main__":
    for width in range(10, 19):
        parts = PROLU if width % 2 else TOPK
        compiled = losses_and_gradients(parts, width, compile=True)
        torch.testing.assert_close(compiled, losses_and_gradients(parts, width, compile=False))
        sys.stdout.write("same\n")
