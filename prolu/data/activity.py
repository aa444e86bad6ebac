"""Which features of synthetic data are active in which samples: each with its probability, those of one group together.

A feature is active with probability p = active_features / n_features. With correlation rho > 0, each sample tosses a coin S for
each group, 1 with probability p, and a member copies it with probability s = sqrt(rho), else tosses a coin of its own. So

    P(active | S = 1) = s + (1 - s) p,    P(active | S = 0) = (1 - s) p,

independent between members given S. Hence P(active) = p exactly, and two members of one group have the covariance
Var(E[active | S]) = s^2 p (1 - p), that is, the correlation rho exactly; features of different groups are independent.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int
from torch import Tensor

from prolu.spec.data import SyntheticData


def active_pairs(spec: SyntheticData, samples: int, generator: torch.Generator) -> Int[Tensor, " active"]:
    """Return the rising numbers sample * n_features + feature of what is active in `samples` samples.

    Takes memory that grows with what is active, not with samples * n_features.
    """
    probability = spec.active_features / spec.n_features
    if spec.correlation == 0:
        return bernoulli_indices(samples * spec.n_features, probability, generator)
    size = min(spec.group_size, spec.n_features)
    groups = math.ceil(spec.n_features / size)
    copying = math.sqrt(spec.correlation)
    alone = (1 - copying) * probability
    # Numbers sample * groups + group where S = 1, and what is active there.
    shared = bernoulli_indices(samples * groups, probability, generator)
    members = bernoulli_indices(len(shared) * size, copying + alone, generator)
    of, member = shared[members // size], members % size
    feature = (of % groups) * size + member
    together = ((of // groups) * spec.n_features + feature)[feature < spec.n_features]  # the last group may be short
    # What is active where S = 0.
    apart = bernoulli_indices(samples * spec.n_features, alone, generator)
    group_of = (apart // spec.n_features) * groups + (apart % spec.n_features) // size
    apart = apart[~torch.isin(group_of, shared)]
    return torch.cat([together, apart]).sort().values


def bernoulli_indices(trials: int, probability: float, generator: torch.Generator) -> Int[Tensor, " successes"]:
    """Return the rising indices of the successes among independent trials, in memory that grows with the successes alone.

    The gaps between successes are geometric: 1 + floor(log(1 - U) / log(1 - p)).
    """
    if probability == 0:
        return torch.empty(0, dtype=torch.int64)
    expected = trials * probability
    chunk = int(expected + 6 * expected**0.5 + 16)
    found: list[Tensor] = []
    last = torch.tensor(-1)
    log_failure = torch.log1p(torch.tensor(-probability, dtype=torch.float64))
    while last < trials:
        uniform = torch.rand(chunk, generator=generator, dtype=torch.float64)
        gaps = 1 + torch.floor(torch.log1p(-uniform) / log_failure).clamp(max=trials).long()
        found.append(last + gaps.cumsum(0))
        last = found[-1][-1]
    indices = torch.cat(found)
    return indices[indices < trials]
