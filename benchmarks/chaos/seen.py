"""What the database says, read beside the service: for the adversary to choose victims, and for the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from service.store.db import Database
from service.store.models import (
    AttemptRow,
    Base,
    BiasSnapshotRow,
    CheckpointRow,
    DiagnosticsRow,
    MetricPointRow,
    RunRow,
)

# The attempts themselves and what they write, each row with the epoch that wrote it.
_WRITTEN: tuple[type[Base], ...] = (AttemptRow, MetricPointRow, BiasSnapshotRow, DiagnosticsRow, CheckpointRow)


@dataclass(frozen=True)
class Training:
    """An attempt that trains, and how its run was hit before."""

    run_id: UUID
    epoch: int
    actor_name: str
    node: str
    """Its address: a node that comes back has another name and is the same machine to the policy."""
    lost_on: frozenset[str]
    """Addresses of nodes on which attempts of the run were lost: a third one would make the run the suspect."""
    costly: int
    """Attempts that spent the run's budget of retries."""


def address_in(node: str) -> str:
    """The address in a node's name."""
    return node.partition("/")[0]


_COSTLY = frozenset({"host_oom", "storage", "lease_expired"})


class Seen:
    """Reads one database. Every method raises sqlalchemy.exc.OperationalError while that is away."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def close(self) -> None:
        """Close every connection."""
        self._database.dispose()

    def training(self) -> list[Training]:
        """The attempts that have trained a step, by run."""
        with self._database.read() as session:
            rows = session.execute(
                select(RunRow.id, AttemptRow.epoch, AttemptRow.actor_name, AttemptRow.node)
                .join(AttemptRow, (AttemptRow.run_id == RunRow.id) & (AttemptRow.epoch == RunRow.epoch))
                .where(RunRow.state == "running", RunRow.phase == "training", AttemptRow.node.is_not(None))
                .order_by(RunRow.id)
            ).all()
            history = session.execute(
                select(AttemptRow.run_id, AttemptRow.node, AttemptRow.failure_class).where(
                    AttemptRow.run_id.in_([row.id for row in rows]),
                    AttemptRow.failure_class.is_not(None),
                    AttemptRow.failure_class != "preempted",  # which blames nobody
                )
            ).all()
        return [
            Training(
                row.id,
                row.epoch,
                row.actor_name,
                address_in(row.node),
                frozenset(address_in(node) for run_id, node, _ in history if run_id == row.id and node is not None),
                sum(run_id == row.id and failure in _COSTLY for run_id, _, failure in history),
            )
            for row in rows
        ]

    def states(self) -> Counter[str]:
        """How many runs are in each state."""
        with self._database.read() as session:
            counted = session.execute(select(RunRow.state, func.count()).group_by(RunRow.state))
            return Counter({row.state: row[1] for row in counted})

    def succeeded(self, run_id: UUID) -> bool:
        """Whether a run has reached its end."""
        with self._database.read() as session:
            return session.get_one(RunRow, run_id).state == "succeeded"

    def written_by(self, run_id: UUID, epoch: int) -> list[Any]:
        """Everything an attempt wrote, and how it ended, to be compared with itself later."""
        with self._database.read() as session:
            found: list[Any] = []
            for table in _WRITTEN:
                columns = table.__table__.columns
                query = select(*columns).where(columns["run_id"] == run_id, columns["epoch"] == epoch)
                found.append([tuple(row) for row in session.execute(query.order_by(*table.__table__.primary_key))])
            return found

    def rows(self, table: type[Base]) -> Sequence[Any]:
        """Every row of a table."""
        with self._database.read() as session:
            return session.scalars(select(table)).all()
