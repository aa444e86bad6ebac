"""The least memory that training a run can take, so that what cannot fit is refused before it waits in the queue.

A lower bound: only tensors that surely exist at the same moment count, none of Python, of torch itself, of the language
model or of a buffer of activations. What passes may still run out of memory; what is refused could not have fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

from prolu.spec import Mistake, MuonSpec, RunSpec, SyntheticData

GIB = 2**30
_FLOAT32 = 4
_BFLOAT16 = 2
# Vectors of d_sae entries that train, by kind; one, b_enc, for the others.
_VECTORS = {"jumprelu": 2, "gated": 3}


@dataclass(frozen=True)
class LeastMemory:
    """Bytes that training takes at least, in parts."""

    weights: int
    """Parameters: 2 d_in d_sae + d_in + one or more vectors of d_sae, in float32."""
    gradients: int
    """As many bytes as weights."""
    moments: int
    """Of the optimizer: two for each weight, for Muon one for each entry of the two matrices."""
    activations: int
    """The acts of one batch, (batch_size, d_sae); what else a backward pass keeps depends on kind and compiler."""

    @property
    def total(self) -> int:
        """All of them are there at once when the optimizer takes its step."""
        return self.weights + self.gradients + self.moments + self.activations


def least_memory(spec: RunSpec) -> LeastMemory:
    """Give the lower bound. Where only the data knows d_in (all but synthetic), d_in counts as 1.

    On a GPU everything but the weights, which are made on the CPU, lies in the GPU's own memory, which no spec asks for.
    """
    d_in = spec.data.d_in if isinstance(spec.data, SyntheticData) else 1
    d_sae = spec.sae.d_sae
    matrices = 2 * d_in * d_sae
    vectors = d_in + _VECTORS.get(spec.sae.kind, 1) * d_sae
    weights = _FLOAT32 * (matrices + vectors)
    if spec.resources.gpus > 0:
        return LeastMemory(weights, 0, 0, 0)
    per_matrix_entry = 1 if isinstance(spec.training.optimizer, MuonSpec) else 2
    moments = _FLOAT32 * (per_matrix_entry * matrices + 2 * vectors)
    width = _BFLOAT16 if spec.training.precision == "bfloat16" else _FLOAT32
    return LeastMemory(weights, weights, moments, width * spec.training.batch_size * d_sae)


def check_memory(spec: RunSpec) -> list[Mistake]:
    """Refuse a run that asks for less memory than its tensors alone take."""
    least = least_memory(spec)
    if least.total <= spec.resources.memory_gb * GIB:
        return []
    sentence = (
        f"resources.memory_gb is {spec.resources.memory_gb:g}, but training takes at least {least.total / GIB:.2f} GiB "
        f"(weights, gradients and moments {(least.total - least.activations) / GIB:.2f}, activations of batch_size "
        f"{spec.training.batch_size} by d_sae {spec.sae.d_sae} {least.activations / GIB:.2f}); "
        "ask for more, or lower sae.d_sae or training.batch_size."
    )
    return [Mistake(("resources", "memory_gb"), sentence)]
