"""The queue, and the cluster behind it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from prolu.client.wire.base import Request, Wire
from prolu.client.wire.runs import RunState, RunSummary
from prolu.spec.base import Flag
from prolu.spec.text import Label

Cause = Literal[
    "starts", "backfills", "room", "behind", "sweep_limit", "user_limit", "draining", "too_large", "no_nodes"
]


class ScoreRead(Wire):
    """Why a run stands where it stands: higher tiers first, then higher totals."""

    tier: int
    """-1, 0 or 1: low, normal, high."""
    priority: float
    """1000 * priority / 100."""
    fair: float
    """2000 * 2^-(usage share / target share) of its owner, with what the owner's runs before it will be charged."""
    age: float
    """1000 * min(wait / 24 h, 1)."""
    total: float
    """The sum of the three."""


class QueueEntry(Wire):
    """A run that waits or works, in the order of the queue."""

    position: int | None
    """Place among those that wait, from 1; null for a live run."""
    run: RunSummary
    """The run."""
    cause: Cause | None = None
    """Why it waits; null for a live run."""
    reason: str | None = None
    """The same in a sentence."""
    score: ScoreRead | None = None
    """What its place comes from; null for a live run."""
    estimated_start: datetime | None = None
    """When it would start if runs take as long as those of their sweeps took; null where that is not known."""


class AheadRead(Wire):
    """A run that stands before another in the queue."""

    position: int
    """Its place, from 1."""
    run_id: UUID
    """The run."""
    owner: str
    """Who submitted it."""
    score: ScoreRead
    """What its place comes from."""
    reason: str
    """Why it waits itself, or that it starts."""


class ExplainRead(Wire):
    """Why a run is where it is."""

    run_id: UUID
    """The run."""
    state: RunState
    """Where it is in its life."""
    reason: str
    """Why it waits, or what it does, in a sentence."""
    cause: Cause | None = None
    """Why it waits, for programs; null unless it waits in the queue."""
    position: int | None = None
    """Place in the queue, from 1; null unless it waits there."""
    score: ScoreRead | None = None
    """What its place comes from; null unless it waits."""
    ahead_count: int = 0
    """Runs that stand before it."""
    ahead: list[AheadRead] = []
    """The last ten of them, nearest last."""
    share: ShareRead | None = None
    """Where its owner stands."""
    estimated_start: datetime | None = None
    """When it would start if runs take as long as those of their sweeps took; null where that is not known."""
    starts_at_the_latest: datetime | None = None
    """When the room that is held for it is free, if every run keeps to its time limit; null where nothing bounds it."""


class ShareRead(Wire):
    """Where one user stands who has runs that wait or work."""

    user: str
    """The user."""
    weight: float
    """What is theirs of the cluster, against the weights of the other active users."""
    gpu_seconds: float
    """Usage, decayed; a CPU core counts a thirty-second of a GPU, and a live run at least its entry charge."""
    usage_share: float
    """Of the usage of all active users, 0 to 1."""
    target_share: float
    """Of the weights of all active users, 0 to 1."""
    fair: float
    """2^-(usage_share / target_share): 1 for who had nothing, one half for who had exactly theirs."""
    live_runs: int
    """Runs that work."""
    live_gpus: float
    """GPUs that they hold."""
    waiting_runs: int
    """Runs that wait."""


class SharesRead(Wire):
    """The shares of everybody who has runs that wait or work."""

    half_life_days: float
    """After so many days, usage counts half."""
    shares: list[ShareRead]
    """By user."""


class NodeRead(Wire):
    """What one node of the cluster offers."""

    name: str
    """Node id or address."""
    cpus: float
    """CPU cores in all."""
    gpus: float
    """GPUs in all."""
    gpu_type: str | None = None
    """Type of its GPUs, as Ray names it; null where it has none or does not say."""
    memory_gb: float
    """Memory in all, GiB."""
    draining: bool = False
    """Whether it starts nothing more, by an administrator's wish."""
    evicting: bool = False
    """Whether what runs there is sent back to the queue, too."""
    drain_reason: str | None = None
    """What the administrator noted about it."""


NodeName = Label


class DrainRequest(Request):
    """Have a node start nothing more, also after Ray has started anew on it."""

    node: NodeName
    """Its name, as `GET /v1/nodes` gives it."""
    evict: Flag = False
    """Whether what runs there checkpoints and goes back to the queue. Default: it may end in peace."""
    reason: Label | None = None
    """A note for others; none by default."""


class UndrainRequest(Request):
    """Have a node start runs again."""

    node: NodeName
    """Its name, as `GET /v1/nodes` gives it."""


class QueueRead(Wire):
    """The queue and the cluster behind it."""

    live: list[QueueEntry]
    """Runs that an attempt works on."""
    waiting: list[QueueEntry]
    """The next runs in order, at most `limit`."""
    waiting_count: int
    """Runs that wait, in all."""
    nodes: list[NodeRead]
    """The cluster as the dispatcher last saw it; empty before it ran."""
    dispatcher_seen_at: datetime | None
    """Last sign of life of the dispatcher; null before the first."""
