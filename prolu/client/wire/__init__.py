"""What the API says and hears: the server writes it and the client reads it. Both import it from here.

    submitting    what a client sends: a run, a sweep, a wish for one that is there
    runs          a run's life: states, attempts, events
    measured      what a run measures and writes: metrics, bias statistics, diagnostics, checkpoints
    sweeps        a sweep: what it would submit, how far it is
    logs          what workers log
    search        a sweep that searches, and its trials
    querying      a question to all runs, and its answer as a table
    results       a sweep's tables: by run, by group of seeds
    comparing     numbers of many runs against each other
    queue         what trains, what waits, and the cluster
    people        users, tokens, limits, and the log of changes
    system        the service itself
    chores        small jobs on checkpoints: exports, statistics computed again
    keeping       what is kept, and what is said of it: tags, notes, pins, the life of checkpoints
    problems      every error
    base          what messages have in common, and the form of a list

Knows the job language and nothing of HTTP, SQL or torch.
"""

from prolu.client.wire.base import Page
from prolu.client.wire.chores import ChoreKind, ChoreRead, ChoreState, ExportRequest
from prolu.client.wire.comparing import (
    BiasCurve,
    BiasCurvePoint,
    BiasCurvesRead,
    BiasesRequest,
    ComparedBiases,
    ComparedRun,
    CompareRequest,
    ComparisonRead,
    FrontierAxis,
    FrontierFamily,
    FrontierPoint,
    FrontierRead,
    FrontierRequest,
    MetricComparison,
    MetricSeries,
    Seeds,
    SeriesRead,
    SeriesRequest,
    SpecDifference,
    Spread,
)
from prolu.client.wire.keeping import (
    CheckpointPatch,
    DecisionPatch,
    FileState,
    FileVerdict,
    KeepBest,
    KeepReason,
    PrunedRead,
    PruneRead,
    PruneRequest,
    VerifyRead,
)
from prolu.client.wire.logs import FollowedToTheEnd, LogRead, SweepFollowedToTheEnd
from prolu.client.wire.measured import BiasSnapshotRead, CheckpointRead, DiagnosticsRead, MetricRead, SweepMetricRead
from prolu.client.wire.people import (
    AuditRead,
    LimitsRead,
    MeRead,
    Role,
    Scope,
    SharingRequest,
    TargetKind,
    TokenCreate,
    TokenCreated,
    TokenRead,
    UserCreate,
    UserPatch,
    UserRead,
)
from prolu.client.wire.problems import Problem, ProblemItem
from prolu.client.wire.querying import ResultColumn, ResultsPage, ResultsQuery
from prolu.client.wire.queue import (
    AheadRead,
    Cause,
    DrainRequest,
    ExplainRead,
    NodeRead,
    QueueEntry,
    QueueRead,
    ScoreRead,
    ShareRead,
    SharesRead,
    UndrainRequest,
)
from prolu.client.wire.results import ResultRow, SeedEstimate, SeedGroupRead, SparsityLevel, SweepBiasRead
from prolu.client.wire.runs import (
    AttemptOutcome,
    AttemptRead,
    DesiredState,
    EventRead,
    ProgressRead,
    RunRead,
    RunState,
    RunSummary,
    Tier,
)
from prolu.client.wire.search import SearchRead, SearchState, TrialRead, TrialState
from prolu.client.wire.submitting import (
    CloneRequest,
    PlacePatch,
    RetryFailedRequest,
    RetryRequest,
    RunCreate,
    SweepCreate,
    SweepExtend,
)
from prolu.client.wire.sweeps import PointRead, SweepPreview, SweepRead
from prolu.client.wire.system import ReadyRead, VersionRead

__all__ = [
    "AheadRead",
    "AttemptOutcome",
    "AttemptRead",
    "AuditRead",
    "BiasCurve",
    "BiasCurvePoint",
    "BiasCurvesRead",
    "BiasSnapshotRead",
    "BiasesRequest",
    "Cause",
    "CheckpointPatch",
    "CheckpointRead",
    "ChoreKind",
    "ChoreRead",
    "ChoreState",
    "CloneRequest",
    "CompareRequest",
    "ComparedBiases",
    "ComparedRun",
    "ComparisonRead",
    "DecisionPatch",
    "DesiredState",
    "DiagnosticsRead",
    "DrainRequest",
    "EventRead",
    "ExplainRead",
    "ExportRequest",
    "FileState",
    "FileVerdict",
    "FollowedToTheEnd",
    "FrontierAxis",
    "FrontierFamily",
    "FrontierPoint",
    "FrontierRead",
    "FrontierRequest",
    "KeepBest",
    "KeepReason",
    "LimitsRead",
    "LogRead",
    "MeRead",
    "MetricComparison",
    "MetricRead",
    "MetricSeries",
    "NodeRead",
    "Page",
    "PlacePatch",
    "PointRead",
    "Problem",
    "ProblemItem",
    "ProgressRead",
    "PruneRead",
    "PruneRequest",
    "PrunedRead",
    "QueueEntry",
    "QueueRead",
    "ReadyRead",
    "ResultColumn",
    "ResultRow",
    "ResultsPage",
    "ResultsQuery",
    "RetryFailedRequest",
    "RetryRequest",
    "Role",
    "RunCreate",
    "RunRead",
    "RunState",
    "RunSummary",
    "Scope",
    "ScoreRead",
    "SearchRead",
    "SearchState",
    "SeedEstimate",
    "SeedGroupRead",
    "Seeds",
    "SeriesRead",
    "SeriesRequest",
    "ShareRead",
    "SharesRead",
    "SharingRequest",
    "SparsityLevel",
    "SpecDifference",
    "Spread",
    "SweepBiasRead",
    "SweepCreate",
    "SweepExtend",
    "SweepFollowedToTheEnd",
    "SweepMetricRead",
    "SweepPreview",
    "SweepRead",
    "TargetKind",
    "Tier",
    "TokenCreate",
    "TokenCreated",
    "TokenRead",
    "TrialRead",
    "TrialState",
    "UndrainRequest",
    "UserCreate",
    "UserPatch",
    "UserRead",
    "VerifyRead",
    "VersionRead",
]
