"""The tables. Rows only: no relationships, so that no query hides behind an attribute.

Times are UTC and aware on both databases. JSON is JSONB on PostgreSQL, but for what a person wrote in an order that
counts (a sweep and its points), since JSONB sorts keys and turns 1e22 into an integer. Identities are UUIDv7, which
rise with time, so that keyset pages need no second column.

    people      users, their tokens, what they asked, used, share and changed
    runs        sweeps, runs, their attempts, and what happened to them
    measured    what runs measure and write
    search      what sweeps that search asked and were told, and who was stopped early
    chores      small jobs on checkpoints that somebody asked for
    cluster     the cluster, and who leads it
    findings    what people look for among runs, copied from the above
    base        what all tables have in common
"""

from service.store.models.base import Base
from service.store.models.chores import ChoreRow
from service.store.models.cluster import DepartedNodeRow, DispatcherRow, DrainRow, NodeRow
from service.store.models.findings import FINDINGS
from service.store.models.measured import BiasSnapshotRow, CheckpointRow, DiagnosticsRow, MetricPointRow
from service.store.models.people import AuditRow, IdempotencyRow, SweepEditorRow, TokenRow, UsageRow, UserRow
from service.store.models.runs import AttemptRow, EventRow, LogChunkRow, RunRow, SweepRow
from service.store.models.search import JudgementRow, SearchRow, TrialRow

__all__ = [
    "FINDINGS",
    "AttemptRow",
    "AuditRow",
    "Base",
    "BiasSnapshotRow",
    "CheckpointRow",
    "ChoreRow",
    "DepartedNodeRow",
    "DiagnosticsRow",
    "DispatcherRow",
    "DrainRow",
    "EventRow",
    "IdempotencyRow",
    "JudgementRow",
    "LogChunkRow",
    "MetricPointRow",
    "NodeRow",
    "RunRow",
    "SearchRow",
    "SweepEditorRow",
    "SweepRow",
    "TokenRow",
    "TrialRow",
    "UsageRow",
    "UserRow",
]
