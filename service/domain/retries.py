"""Whether an attempt that ended badly is tried again, and when. Pure: history and jitter are passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prolu.spec.report import FailureClass
from service.domain.node_names import address_of

# Nobody's fault: tried again free of charge, the first time at once, up to a cap that ends a run which kills every
# worker. After a bad_checkpoint the next attempt takes an earlier checkpoint, so it does not happen again.
FREE: frozenset[FailureClass] = frozenset({"node_lost", "preempted", "ray_infra", "bad_checkpoint"})
# Did not come up within its start limit: the cluster had no place for it, a node is slow, or the limit is too short. Free
# and capped like the others, but after the long pauses: with a short limit it would spend the cap within minutes.
SLOW: frozenset[FailureClass] = frozenset({"not_started"})
# May pass with time: tried again after a pause, as long as the budget lasts.
COSTLY: frozenset[FailureClass] = frozenset({"host_oom", "storage", "lease_expired"})
# Would only happen again: gpu_oom, nan_loss, user_error, timeout, internal_error.

# Of a bad checkpoint to blame are the files, each a different one; to be preempted is never the run's doing; and machines go
# in clusters where they are rented by the hour. A run that takes its machine down with it is ended by the cap.
_BLAMELESS: frozenset[FailureClass] = frozenset({"bad_checkpoint", "preempted", "node_lost"})

RETRY_BUDGET = 3
FREE_RETRY_CAP = 20
NODES_TO_BLAME_THE_RUN = 3
FIRST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 600.0
FIRST_FREE_PAUSE_SECONDS = 1.0
LONGEST_FREE_PAUSE_SECONDS = 30.0
JITTER = 0.2
# So long a run that did not come up on a node is put on others, if there are any that could hold it.
AVOID_NODE_SECONDS = 900.0


@dataclass(frozen=True)
class Ended:
    """How one attempt ended badly, and on which node, if its worker came up and said so."""

    failure_class: FailureClass
    node: str | None
    step: int = 0
    """The last step that it was heard of."""
    began_at_step: int = 0
    """Of the checkpoint that it went on from."""
    process_died: bool = False
    """Whether the cluster saw its process die, which a worker that is gone with Ray's head does not prove."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of the run, and why."""

    move: Literal["requeue", "back_off", "fail"]
    pause_seconds: float
    reason: str


def decide(history: Sequence[Ended], *, jitter: float) -> Verdict:
    """Judge the last of `history` (oldest first, at least one) in the light of those before it.

    `jitter` in [0, 1) spreads retries that would otherwise come at the same moment.
    """
    last = history[-1].failure_class
    if last not in FREE | SLOW | COSTLY:
        return Verdict("fail", 0.0, f"{last} is not retried: it would happen again")
    nodes = _nodes_to_blame(history)
    if len(nodes) >= NODES_TO_BLAME_THE_RUN and last not in _BLAMELESS:
        return Verdict("fail", 0.0, f"{last} on {len(nodes)} different nodes: the run is the cause, not a node")
    if last in FREE | SLOW:
        spent = sum(ended.failure_class in FREE | SLOW for ended in history)
        if spent > FREE_RETRY_CAP:
            return Verdict("fail", 0.0, f"lost {spent} times without blame; at most {FREE_RETRY_CAP} are retried")
        if last in SLOW:
            pause = pause_seconds(sum(ended.failure_class == last for ended in history) - 1, jitter=jitter)
            return Verdict(
                "back_off", pause, f"{last} costs no retry; loss {spent} without blame, again in {pause:.0f} s"
            )
        if spent == 1:
            return Verdict("requeue", 0.0, f"{last} costs no retry")
        # Free is not at once: twenty losses within the minute that Ray takes to restart would end the run.
        pause = free_pause_seconds(spent - 2, jitter=jitter)
        return Verdict("back_off", pause, f"{last} costs no retry; loss {spent} without blame, again in {pause:.0f} s")
    spent = sum(ended.failure_class in COSTLY for ended in history)
    if spent > RETRY_BUDGET:
        return Verdict("fail", 0.0, f"all {RETRY_BUDGET} retries are used up")
    pause = pause_seconds(spent - 1, jitter=jitter)
    return Verdict("back_off", pause, f"retry {spent} of {RETRY_BUDGET} in {pause:.0f} s")


def _nodes_to_blame(history: Sequence[Ended]) -> set[str]:
    """The machines on which the run ended as it did now, without having got past that place since.

    An attempt that went on from a checkpoint beyond the step of a failure has shown that the run survives that step: what
    happened before says nothing of it. So a run that lives for weeks is not blamed for three nodes that died in different
    weeks, and one that dies at the same place everywhere is. One that leaks, and dies further on each time, is left to the
    budget and the cap.
    """
    last = history[-1]
    alike = [each for each in history if each.failure_class == last.failure_class]
    if last.failure_class == "ray_infra":
        alike = [each for each in alike if each.process_died]
    stuck = [each for each in alike if each.step >= last.began_at_step]
    return {address_of(ended.node) for ended in stuck if ended.node is not None}


def pause_seconds(n: int, *, jitter: float) -> float:
    """15 s * 2^n, spread by +-20 %, at most 10 minutes; n counts the failures of its kind before this one."""
    return _doubling(FIRST_PAUSE_SECONDS, n, LONGEST_PAUSE_SECONDS, jitter)


def free_pause_seconds(n: int, *, jitter: float) -> float:
    """1 s * 2^n, spread by +-20 %, at most half a minute; n counts the free losses between the first and this one."""
    return _doubling(FIRST_FREE_PAUSE_SECONDS, n, LONGEST_FREE_PAUSE_SECONDS, jitter)


def _doubling(first: float, n: int, longest: float, jitter: float) -> float:
    spread = 1 - JITTER + 2 * JITTER * jitter
    return float(min(longest, first * 2.0 ** min(n, 30) * spread))
