"""Compare activations with their compiled selves, in a process without the shape checks of the tests.

`python -m tests.models.compiled_gradients` prints the names of those whose values or gradients differ, if any, after their
backend. Each backend compiles its activations into one graph, with a symbolic batch size, which is run at two sizes.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from prolu.models.gradients import activation_of, jumprelu, prolu_by, step_l0
from prolu.spec.sae import ProluHybridSae, ReluSae
from tests.models.naive_gradients import ESTIMATORS

D_SAE = 6
ACTIVATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": activation_of(ReluSae(d_sae=D_SAE)),
    "relu ste": activation_of(ReluSae(d_sae=D_SAE, gradient="ste")),
    "jumprelu": partial(jumprelu, bandwidth=0.5),
    "step_l0": partial(step_l0, bandwidth=0.5),
    **{name: prolu_by(estimator) for name, estimator in ESTIMATORS.items()},
    **{
        f"hybrid {name}": activation_of(ProluHybridSae(d_sae=D_SAE, estimator=ESTIMATORS[name]))
        for name in ("ste", "interpolated", "gaussian product")
    },
}


def those_that_differ(names: list[str], backend: str) -> list[str]:
    """Return the names whose compiled values or gradients are not those of the plain function; raise if it is not one graph."""

    def all_of_them(m: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        return [ACTIVATIONS[name](m[at], b[at]) for at, name in enumerate(names)]

    torch._dynamo.reset()
    compiled = torch.compile(all_of_them, backend=backend, fullgraph=True)
    generator = torch.Generator().manual_seed(0)
    differ = set()
    for batch in (5, 9):
        m, b = (
            [(torch.randint(-8, 9, shape, generator=generator) / 8).requires_grad_() for _ in names]
            for shape in ((batch, D_SAE), (D_SAE,))
        )
        for each in m:
            torch._dynamo.mark_dynamic(each, 0)
        expected, found = all_of_them(m, b), compiled(m, b)
        g = [torch.randn(acts.shape, generator=generator) for acts in expected]
        expected += torch.autograd.grad(expected, m + b, g, materialize_grads=True)
        found += torch.autograd.grad(found, m + b, g, materialize_grads=True)
        pairs = enumerate(zip(found, expected, strict=True))
        differ |= {names[at % len(names)] for at, pair in pairs if not torch.allclose(*pair, rtol=1e-5, atol=1e-6)}
    return sorted(differ)


if __name__ == "__main__":
    warnings.simplefilter("error")
    # torch's own tracers do what torch warns not to
    warnings.filterwarnings("ignore", ".*should not be instantiated", DeprecationWarning)
    warnings.filterwarnings("ignore", ".*torch.jit.*deprecated", DeprecationWarning)
    # Tracing is the same for both; only this one generates code, which takes a compiler and its time.
    for backend, names in (("aot_eager", list(ACTIVATIONS)), ("inductor", ["ste", "gaussian product"])):
        sys.stdout.writelines(f"{backend} {name}\n" for name in those_that_differ(names, backend))
