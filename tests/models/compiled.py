"""Compare every kind's objective with its compiled self, in a process without the shape checks of the tests.

`python -m tests.models.compiled` writes {kind: ""}, or what differs, as JSON.
"""

import json
import sys
import warnings

import torch

from prolu.models.objective import objective
from tests.models.family import DEAD, FAMILY, LAMBDA, Member, inputs


def difference(member: Member) -> str:
    """Return how the compiled objective differs in loss or gradients; nothing if it does not, and is one graph."""
    torch._dynamo.reset()
    sae, x = member.build(), inputs()

    def losses_and_gradients(*, compiled: bool) -> list[torch.Tensor]:
        def loss() -> torch.Tensor:
            terms = objective(sae, x, sparsity=member.sparsity, over="mean", dead=DEAD)
            return terms.reconstruction + LAMBDA * terms.penalty + terms.auxiliary

        value = torch.compile(loss, backend="aot_eager", fullgraph=True)() if compiled else loss()
        return [value, *torch.autograd.grad(value, list(sae.parameters()))]

    try:
        torch.testing.assert_close(losses_and_gradients(compiled=True), losses_and_gradients(compiled=False))
    except (AssertionError, RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        return str(error) or repr(error)
    return ""


if __name__ == "__main__":
    warnings.simplefilter("error")
    # torch's own tracer instantiates what torch's own Function warns not to
    warnings.filterwarnings("ignore", ".*should not be instantiated", DeprecationWarning)
    one_of_each = {member.spec.kind: member for member in FAMILY.values()}
    json.dump({kind: difference(member) for kind, member in one_of_each.items()}, sys.stdout)
