"""Tiers of the queue by name and by number, and who may ask for which. Knows no SQL and no HTTP."""

from __future__ import annotations

from prolu.client.wire import Tier
from service.domain.errors import Forbidden

LEVELS: dict[Tier, int] = {"low": -1, "normal": 0, "high": 1}
NAMES: dict[int, Tier] = {level: name for name, level in LEVELS.items()}


def allowed(tier: Tier, *, is_admin: bool) -> int:
    """Give the number of a tier. Raises Forbidden where the user may not ask for it."""
    if tier == "high" and not is_admin:
        raise Forbidden("The tier high is for administrators; ask one of them, or take normal with a higher priority.")
    return LEVELS[tier]


def highest(*, is_admin: bool) -> int:
    """Give the number of the highest tier that the user may ask for."""
    return LEVELS["high"] if is_admin else LEVELS["normal"]
