"""Whether a live attempt has taken longer than it may. Pure: the times are passed in, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prolu.client.wire import RunState

Limit = Literal["start", "run", "no_progress"]


@dataclass(frozen=True)
class Limits:
    """How long one attempt may take; None where there is no limit."""

    start_seconds: float | None = None
    run_seconds: float | None = None
    no_progress_seconds: float | None = None


@dataclass(frozen=True)
class Overrun:
    """A limit that is passed, and a sentence for the owner of the run."""

    limit: Limit
    sentence: str


def overrun(state: RunState, limits: Limits, *, age_seconds: float, silent_seconds: float) -> Overrun | None:
    """Say which limit an attempt has passed, if any.

    `age_seconds` counts from its claim, `silent_seconds` from its last news, or from its claim before the first.
    """
    if state == "starting":
        most = limits.start_seconds
        if most is not None and age_seconds > most:
            return Overrun(
                "start",
                f"Its worker said nothing within {most:g} s of being started: the cluster had no place for it, or was slower "
                "than limits.start_seconds allows.",
            )
        return None
    if limits.run_seconds is not None and age_seconds > limits.run_seconds:
        return Overrun(
            "run",
            f"The attempt took longer than limits.run_seconds ({limits.run_seconds:g}); retry it with a larger one, "
            "and it goes on from its last checkpoint.",
        )
    most = limits.no_progress_seconds
    if most is not None and silent_seconds > most:
        return Overrun(
            "no_progress", f"It reported nothing new for {silent_seconds:.0f} s, and {most:g} s are allowed."
        )
    return None
