"""Fair share: how much of the cluster each user has had of late, beside how much is theirs.

    charge          what a run takes, per second: ranks * (gpus + CPU_WEIGHT * cpus), in GPU-seconds
    usage           sum of charges, where a second of `age` counts 2^-(age / half_life)
    usage_share     usage / usage of all active users
    target_share    weight / weights of all active users
    fair            2^-(usage_share / target_share): 1 for who had nothing, 1/2 for who had exactly theirs

Active is who waits or runs: the share of a colleague on holiday is divided among those who work, and comes back with them.
The formula is that of Slurm's multifactor plugin (https://slurm.schedmd.com/priority_multifactor.html, classic fair share).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# A cluster without GPUs is shared as well, and a GPU is not held up by the few cores that feed it.
CPU_WEIGHT = 1 / 32


def charge_per_second(*, cpus: float, gpus: float, ranks: int = 1) -> float:
    """Give what a run takes of the cluster, all its ranks together, in GPU-seconds per second."""
    return ranks * (gpus + CPU_WEIGHT * cpus)


def decayed(usage: float, *, seconds: float, half_life_seconds: float) -> float:
    """Give what a usage counts for `seconds` later: usage * 2^-(seconds / half_life)."""
    return float(usage * 2.0 ** -(seconds / half_life_seconds))


def decayed_charge(per_second: float, *, began: float, ended: float, half_life_seconds: float) -> float:
    """Give what a run that lasted counts now; `began` >= `ended` >= 0 are seconds ago.

    The integral of per_second * 2^-(age / h) over the ages from `ended` to `began`:
    per_second * h / ln 2 * (2^-(ended / h) - 2^-(began / h)).
    """
    h = half_life_seconds
    return float(per_second * h / _LN2 * (2.0 ** -(ended / h) - 2.0 ** -(began / h)))


_LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Share:
    """Where one active user stands."""

    user: str
    usage: float
    """Decayed GPU-seconds, entry charges included."""
    usage_share: float
    """Of the usage of all active users, 0 to 1; 0 while nobody has used anything."""
    target_share: float
    """Of the weights of all active users, above 0 to 1."""
    fair: float
    """2^-(usage_share / target_share)."""


def shares(usage: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, Share]:
    """Give the share of each user in `weights`, who are the active ones; weights are above 0, missing usage is 0."""
    total_usage = sum(usage.get(user, 0.0) for user in weights)
    total_weight = sum(weights.values())
    found = {}
    for user, weight in weights.items():
        mine = usage.get(user, 0.0)
        usage_share = mine / total_usage if total_usage > 0 else 0.0
        target_share = weight / total_weight
        found[user] = Share(user, mine, usage_share, target_share, fair(usage_share, target_share))
    return found


def fair(usage_share: float, target_share: float) -> float:
    """2^-(usage_share / target_share), in (0, 1]; target_share is above 0."""
    return float(2.0 ** -(usage_share / target_share))
