"""The gradient of each nonlinearity, true or synthetic: which function a spec names, and what each promises.

`g` is the gradient that reaches acts, T(z) = 1[z > 0], `gate = T(m) * T(m + b)`; gradients for b are summed over the batch.

| estimator               | gradient for m                                            | gradient for b                      |
| ----------------------- | --------------------------------------------------------- | ----------------------------------- |
| relu, `exact`           | `g * T(m + b)`                                            | `g * T(m + b)`                      |
| relu, `ste`             | `g * T(m + b) * (1 + (m + b))`                            | `g * T(m + b) * (1 + (m + b))`      |
| `relu_like`             | `g * gate`                                                | `g * gate`                          |
| `ste`                   | `g * gate * (1 + m)`                                      | `g * gate * m`                      |
| `ste_bias_only`         | `g * gate`                                                | `g * gate * m`                      |
| `ste_input_only`        | `g * gate * (1 + m)`                                      | `g * gate`                          |
| `interpolated`          | `lerp(g * gate, w_gate * g * gate + g * gate * m, w_m)`   | `lerp(g * gate, g * gate * m, w_b)` |
| `surrogate`, `gate`     | `g * (T(m) T(m + b) + relu(m) k(m + b))`                  | `g * relu(m) k(m + b)`              |
| `surrogate`, `product`  | `g * (T(m) T(m + b) + m k(m) T(m + b) + m T(m) k(m + b))` | `g * m T(m) k(m + b)`               |

All but the surrogates whose kernel reaches below zero are exactly zero where a latent did not fire, and need only acts (and b)
for the backward pass: `is_zero_off_gate` says which. In precision below float32 the gradient for b is summed in float32.
The formulas are those of `prolu.models.gradients_on_gate`, `gradients_surrogate`, `gradients_hybrid`, `gradients_jumprelu`.
"""

from __future__ import annotations

from typing import Literal

from prolu.models import gradients_on_gate as on_gate
from prolu.models.gradients_function import Activation, GradientRule
from prolu.models.gradients_hybrid import HybridRule
from prolu.models.gradients_jumprelu import jumprelu, step_l0
from prolu.models.gradients_surrogate import surrogate
from prolu.models.nonlinearity import prolu, prolu_hybrid, relu
from prolu.spec.estimators import Estimator, Interpolated, ReluLike, Ste, SteBiasOnly, SteInputOnly, Surrogate
from prolu.spec.sae import ProluHybridSae, ProluSae, ReluSae

__all__ = ["Activation", "activation_of", "is_zero_off_gate", "jumprelu", "prolu_by", "step_l0"]


def activation_of(spec: ReluSae | ProluSae | ProluHybridSae) -> Activation:
    """Return the differentiable function (m, b) -> acts that `spec` names."""
    match spec:
        case ReluSae(gradient=gradient):
            return Activation(relu, _relu_rule_of(gradient))
        case ProluSae(estimator=estimator):
            return prolu_by(estimator)
        case ProluHybridSae(estimator=estimator):
            return Activation(prolu_hybrid, HybridRule(_rule_of(estimator)))


def prolu_by(estimator: Estimator) -> Activation:
    """Return ProLU with the gradient that `estimator` names."""
    return Activation(prolu, _rule_of(estimator))


def is_zero_off_gate(estimator: Estimator) -> bool:
    """Whether the gradient of a latent that did not fire is exactly zero, so that a sparse backward pass is exact.

    True of all but `surrogate` with a kernel that is not zero for every z <= 0.
    """
    return _rule_of(estimator).is_zero_off_gate


def _relu_rule_of(gradient: Literal["exact", "ste"]) -> GradientRule:
    match gradient:
        case "exact":
            return on_gate.relu_exact()
        case "ste":
            return on_gate.relu_ste()


def _rule_of(estimator: Estimator) -> GradientRule:
    match estimator:
        case ReluLike():
            return on_gate.relu_like()
        case Ste():
            return on_gate.ste()
        case SteBiasOnly():
            return on_gate.ste_bias_only()
        case SteInputOnly():
            return on_gate.ste_input_only()
        case Interpolated(w_m=w_m, w_b=w_b, w_gate=w_gate):
            return on_gate.interpolated(w_m=w_m, w_b=w_b, w_gate=w_gate)
        case Surrogate(kernel=kernel, form=form):
            return surrogate(kernel, form)
