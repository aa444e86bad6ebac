"""A process of its own that compiles the pass of one run after the other, without the shape checks of the tests.

Writes `same` for each whose loss and gradients are those of the plain pass. More runs than torch recompiles one function.
"""

import sys

import torch

from prolu.models import build_sae
from prolu.spec import RunSpec
from prolu.training.passes import training_pass


def loss_and_gradients(width: int, *, compile: bool) -> list[torch.Tensor]:  # noqa: A002  the spec's name
    spec = RunSpec.model_validate(
        {
            "data": {"kind": "synthetic", "d_in": 8},
            "sae": {"kind": "prolu", "d_sae": width},
            "sparsity": {"kind": "l1", "coefficient": 0.1},
            "training": {"steps": 1, "compile": compile},
        }
    )
    sae = build_sae(spec.sae, 8, seed=0)
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    terms = training_pass(spec, torch.device("cpu"), backend="eager")(sae, x, torch.zeros(width, dtype=torch.bool))
    loss = terms.reconstruction + 0.1 * terms.penalty + terms.auxiliary
    return [loss, *torch.autograd.grad(loss, list(sae.parameters()))]


if __name__ == "__main__":
    for width in range(10, 19):
        torch.testing.assert_close(loss_and_gradients(width, compile=True), loss_and_gradients(width, compile=False))
        sys.stdout.write("same\n")
