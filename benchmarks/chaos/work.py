"""What the chaos suite submits: small runs of every kind, each different, each with a checkpoint about once a second.

Some are of two ranks. The sweep is of a lower tier and preemptible, and submitted first, so that what comes after it takes
its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prolu.spec import RunSpec, SweepSpec, validate
from service.domain.expansion import expand

_D_SAE = 256
_BASE: dict[str, Any] = {
    "data": {"kind": "synthetic", "d_in": 32, "n_features": 128, "active_features": 6.0, "eval_samples": 2_048},
    "sparsity": {"kind": "l1", "coefficient": 0.003},
    "training": {
        "steps": 1_200,
        "batch_size": 128,
        "lr_warmup_steps": 50,
        "lr_decay_steps": 150,
        "metrics_every_steps": 50,
        "evaluate_every_steps": 400,
        "bias_snapshot_every_steps": 200,
        "checkpoint_every_steps": 100,
        "dead_window_tokens": 20_000,
    },
    "resources": {"cpus": 1, "memory_gb": 0.5},
}
_RESAMPLING = {"every_steps": 350, "samples": 1_024, "lr_warmup_steps": 50}

# One in so many of those submitted one by one is a gang.
_GANG_EVERY = 6
_GANG_RANKS = 2

# What differs from the base: another training adds to it, another penalty replaces it.
_KINDS: tuple[dict[str, dict[str, Any]], ...] = (
    {"sae": {"kind": "prolu"}},
    {"sae": {"kind": "relu"}, "training": {"resampling": _RESAMPLING}},
    {"sae": {"kind": "prolu", "estimator": {"kind": "relu_like"}}, "training": {"optimizer": {"kind": "muon"}}},
    {"sae": {"kind": "gated"}},
    {"sae": {"kind": "jumprelu"}, "sparsity": {"kind": "l0", "coefficient": 0.003}},
    {"sae": {"kind": "batch_topk", "k": 8}, "sparsity": {"kind": "none"}},
    {"sae": {"kind": "topk", "k": 8}, "sparsity": {"kind": "none"}},
    {"sae": {"kind": "prolu_hybrid"}, "training": {"optimizer": {"kind": "adamw"}}},
)


@dataclass(frozen=True)
class Work:
    """What is submitted one by one, and what as a sweep."""

    singles: list[RunSpec]
    sweep: SweepSpec

    @property
    def runs(self) -> list[RunSpec]:
        """Every run, those of the sweep as the service makes them."""
        return [*self.singles, *(point.spec for point in expand(self.sweep))]


def work_of(count: int) -> Work:
    """`count` different runs, at least 4: a third of them in one sweep of two kinds."""
    in_sweep = max(2, count // 3 // 2 * 2)
    return Work([_single(number) for number in range(count - in_sweep)], _sweep(in_sweep // 2))


def _single(number: int) -> RunSpec:
    kind = _KINDS[number % len(_KINDS)]
    sae = {**kind["sae"], "d_sae": _D_SAE}
    training = {**_BASE["training"], **kind.get("training", {}), "seed": number}
    resources = {**_BASE["resources"], "ranks": _GANG_RANKS if number % _GANG_EVERY == 1 else 1}
    document = {**_BASE, **kind, "sae": sae, "training": training, "resources": resources}
    return validate({**document, "name": f"single {number}"}, RunSpec)


def _sweep(points: int) -> SweepSpec:
    """Two kinds, each with so many coefficients."""
    document = {
        "name": "a sweep",
        "base": {**_BASE, "sae": {"d_sae": _D_SAE}},
        "variants": [{"name": kind, "set": {"sae.kind": kind}} for kind in ("prolu", "relu")],
        "grid": {"sparsity.coefficient": [round(0.001 * (1 + index), 6) for index in range(points)]},
        "seeds": [1_000],
    }
    return validate(document, SweepSpec)
