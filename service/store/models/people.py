"""Users, their tokens, what they asked and used, what they edit together, and the log of what they changed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Float, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from prolu.client.wire import Role, Scope
from service.store.models.base import Base, Json, Written


class UserRow(Base):
    """A person or program that submits."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    role: Mapped[Role] = mapped_column(String(20))
    # What is theirs of the cluster, against the weights of the other users.
    weight: Mapped[float] = mapped_column(Float(53), default=1.0, server_default=text("1"))
    # Runs that may wait at once, where that differs from what holds for everybody.
    max_queued: Mapped[int | None]
    created_at: Mapped[datetime]
    # Since when their tokens count for nothing.
    disabled_at: Mapped[datetime | None]


class TokenRow(Base):
    """A bearer token, of which only the hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    # The most that it may be used for; never more than the role of its user.
    scope: Mapped[Scope] = mapped_column(String(16))
    created_at: Mapped[datetime]
    # Null for that of the token file, which does not end.
    expires_at: Mapped[datetime | None]
    # To a minute or so.
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class UsageRow(Base):
    """What a user's attempts took of the cluster on one day (UTC): only ever added to, and decayed when it is read."""

    __tablename__ = "usage"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    gpu_seconds: Mapped[float] = mapped_column(Float(53))


class IdempotencyRow(Base):
    """A POST that was answered, by user and Idempotency-Key, so that its repetition gets the same answer."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    response: Mapped[dict[str, Any] | None] = mapped_column(Written)
    created_at: Mapped[datetime]


class SweepEditorRow(Base):
    """A user with whom a sweep is shared: who decides about it and its runs as its owner does."""

    __tablename__ = "sweep_editors"

    sweep_id: Mapped[UUID] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    created_at: Mapped[datetime]


class AuditRow(Base):
    """A change that somebody made, written with it. Refers to nothing, so that it outlives what it tells of."""

    __tablename__ = "audit_entries"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    at: Mapped[datetime]
    # Null for what the service does by itself, as where it makes the first administrator.
    user_id: Mapped[UUID | None]
    token_id: Mapped[UUID | None]
    action: Mapped[str] = mapped_column(String(64))
    target_kind: Mapped[str] = mapped_column(String(16))
    target_id: Mapped[str] = mapped_column(String(200))
    request_id: Mapped[str] = mapped_column(String(128))
    before: Mapped[dict[str, Any] | None] = mapped_column(Json)
    after: Mapped[dict[str, Any] | None] = mapped_column(Json)

    __table_args__ = (
        Index("ix_audit_entries_user_id_id", "user_id", "id"),
        Index("ix_audit_entries_target_id_id", "target_id", "id"),
        Index("ix_audit_entries_action_id", "action", "id"),
    )
