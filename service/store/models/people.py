"""Users, their tokens, and what they asked and used."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Float, ForeignKey, String, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from service.store.models.base import Base, Written


class UserRow(Base):
    """A person or program that submits."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    # What is theirs of the cluster, against the weights of the other users.
    weight: Mapped[float] = mapped_column(Float(53), default=1.0, server_default=text("1"))
    created_at: Mapped[datetime]


class TokenRow(Base):
    """A bearer token, of which only the hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
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
