"""One autoencoder of each kind, with each normalisation and decoder, and inputs that tell them apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from prolu.models.normalisation import Normaliser
from prolu.models.sae import Sae, build_sae
from prolu.models.saved import CheckpointConfig
from prolu.spec.run import RunSpec

D_IN, D_SAE, ROWS, RMS = 12, 40, 48, 3.7

KINDS: dict[str, dict[str, Any]] = {
    "relu": {},
    "prolu": {},
    "prolu_hybrid": {},
    "jumprelu": {},
    "gated": {},
    "topk": {"k": 6},
    "batch_topk": {"k": 6},
    "matryoshka_batch_topk": {"k": 6, "prefixes": [8, 24, 40]},
}
NORMALISATIONS = ("none", "per_token", "dataset_rms")
DECODERS = ("unit", "free")
CASES = ["-".join(parts) for parts in product(KINDS, NORMALISATIONS, DECODERS)]

# Kinds with a gate that an input can lie on exactly.
GATED_KINDS = [kind for kind in KINDS if kind != "topk"]


@dataclass(frozen=True)
class Case:
    """A trained autoencoder, so to say, and raw activations."""

    sae: Sae
    """With biases of both signs, thresholds, and decoder rows of many norms if they are free."""
    config: CheckpointConfig
    """The run that it comes from."""
    x: Tensor
    """Raw activations (rows, d_in), none of them so near a gate that rounding could open it."""

    @property
    def normaliser(self) -> Normaliser:
        """What the run does to its activations."""
        return Normaliser(self.config.spec.data.normalisation, self.config.input_rms)


def make_case(name: str) -> Case:
    """Return the case `kind-normalisation-decoder`."""
    kind, normalisation, decoder = name.split("-")
    sae_part = {"kind": kind, "d_sae": D_SAE, "decoder_norm": decoder, **KINDS[kind]}
    config = make_config(sae_part, normalisation)
    generator = torch.Generator().manual_seed(CASES.index(name))
    sae = build_sae(config.spec.sae, D_IN, seed=3)
    with torch.no_grad():
        for own in ("b_enc", "b_dec", "b_gate", "b_mag", "r_mag"):
            if hasattr(sae, own):
                getattr(sae, own).normal_(0, 0.4, generator=generator)
        if "threshold" in sae.state_dict():
            sae.threshold.uniform_(0.2, 0.9, generator=generator)
        if decoder == "free":
            sae.W_dec.mul_(torch.rand(D_SAE, 1, generator=generator) * 3 + 0.2)
    raw = torch.randn(2 * ROWS, D_IN, generator=generator) * 4
    normaliser = Normaliser(config.spec.data.normalisation, config.input_rms)
    clear = _clear_of_gates(sae, normaliser.normalise(raw))
    return Case(sae, config, raw[clear][:ROWS])


def make_config(sae: dict[str, Any], normalisation: str = "none", **data: Any) -> CheckpointConfig:
    """Return the config of a run with this autoencoder."""
    top_k = "k" in sae
    document = {
        "data": {"kind": "synthetic", "d_in": D_IN, "normalisation": normalisation, **data},
        "sae": sae,
        "sparsity": {"kind": "none"} if top_k else {"kind": "l1_decoder_norm", "coefficient": 0.01},
        "training": {"steps": 5},
    }
    spec = RunSpec.model_validate(document)
    return CheckpointConfig(
        spec=spec, d_in=D_IN, step=5, tokens=20480, input_rms=RMS if normalisation == "dataset_rms" else None
    )


def boundary_case(kind: str) -> Case:
    """Return an autoencoder with W_enc = 1 and b_dec = 0, so that m = x exactly, and inputs on, above and below each gate."""
    config = make_config({"kind": kind, "d_sae": D_IN, **KINDS[kind], **_narrow(kind)})
    sae = build_sae(config.spec.sae, D_IN, seed=3)
    b = torch.tensor([-2.5, -1.0, -0.1, -1e-3, -1e-38, -1e-40, -0.0, 0.0, 1e-40, 1e-3, 0.1, 2.5])
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(D_IN))
        if "threshold" in sae.state_dict():
            sae.b_enc.zero_()
            sae.threshold.copy_(-b.clamp(max=0) if sae.threshold.ndim else torch.tensor(0.1))
        elif kind == "gated":
            sae.b_gate.copy_(b)
            sae.b_mag.fill_(1.0)  # so that the gate alone decides
        else:
            sae.b_enc.copy_(b)
    edge = -sae.gate_bias.detach()
    away = torch.tensor(torch.inf)
    x = torch.stack(
        [edge, edge.nextafter(away), edge.nextafter(-away), torch.zeros(D_IN), torch.zeros(D_IN).nextafter(away), -edge]
    )
    return Case(sae, config, x)


def _narrow(kind: str) -> dict[str, Any]:
    return {"prefixes": [4, 12]} if kind == "matryoshka_batch_topk" else {}


@torch.no_grad()
def _clear_of_gates(sae: Sae, x: Tensor) -> Tensor:
    """Return which rows have the same gates when everything is a little larger or smaller, by much more than rounding."""
    nudges = [1 - 1e-4, 1.0, 1 + 1e-4]
    gates = [sae.encode(x * nudge + shift) > 0 for nudge in nudges for shift in (-1e-4, 0.0, 1e-4)]
    return torch.stack([gate == gates[0] for gate in gates]).all(dim=2).all(dim=0)
