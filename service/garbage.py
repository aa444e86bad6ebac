"""How often a long-lived process of ours looks for garbage."""

from __future__ import annotations

import gc

_THRESHOLD = 50_000


def collect_rarely() -> None:
    """Keep what is there for good, and look for cycles seldom: requests and plans leave few behind.

    To look as often as Python does by default takes a tenth of the time of a submission, and a quarter of that of a long plan.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD, 20, 50)
