"""Small jobs on checkpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from prolu.client.wire import ChoreKind, ChoreState
from service.store.models.base import Base

_STANDS = text("state <> 'failed'")
_OPEN = text("state IN ('queued', 'running')")


class ChoreRow(Base):
    """What somebody asked to have done with a checkpoint; goes with it. `(id, epoch)` is the fence of who works on it."""

    __tablename__ = "chores"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"), index=True)
    asked_by: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[ChoreKind] = mapped_column(String(16))
    # Empty for kinds that have none: a null would be no duplicate of another null.
    format: Mapped[str] = mapped_column(String(32))
    state: Mapped[ChoreState] = mapped_column(String(16))
    epoch: Mapped[int] = mapped_column(default=0)
    # The dispatcher that has it done; what another one left behind is taken up again.
    holder: Mapped[str | None]
    # Workers that were lost with it, and not before when it is tried again.
    losses: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    message: Mapped[str | None]
    # What came of it; of an export the folder of its files, below the artifact root.
    path: Mapped[str | None]
    outcome: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        # The same is done once: whoever asks again gets what is there, unless it failed.
        Index(
            "uq_chores_standing",
            "checkpoint_id",
            "kind",
            "format",
            unique=True,
            sqlite_where=_STANDS,
            postgresql_where=_STANDS,
        ),
        Index("ix_chores_open", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )
