"""The cluster, and who leads it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, text
from sqlalchemy.orm import Mapped, mapped_column

from service.store.models.base import Base


class NodeRow(Base):
    """A node of the cluster, as the dispatcher last saw it."""

    __tablename__ = "nodes"

    name: Mapped[str] = mapped_column(primary_key=True)
    cpus: Mapped[float] = mapped_column(Float(53))
    gpus: Mapped[float] = mapped_column(Float(53))
    gpu_type: Mapped[str | None]
    memory_gb: Mapped[float] = mapped_column(Float(53))


class DepartedNodeRow(Base):
    """A node that has gone, and may be back: what it offered, and when it was missed."""

    __tablename__ = "departed_nodes"

    name: Mapped[str] = mapped_column(primary_key=True)
    cpus: Mapped[float] = mapped_column(Float(53))
    gpus: Mapped[float] = mapped_column(Float(53))
    gpu_type: Mapped[str | None]
    memory_gb: Mapped[float] = mapped_column(Float(53))
    gone_at: Mapped[datetime]


class DrainRow(Base):
    """A node on which nothing more starts, by an administrator's wish."""

    __tablename__ = "drains"

    # The address of the node; or its name, where others are at that address.
    node: Mapped[str] = mapped_column(primary_key=True)
    # Whether what runs there is asked to checkpoint and go back to the queue.
    evict: Mapped[bool]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]


class DispatcherRow(Base):
    """Who leads the dispatchers, until when, in which term, and the leader's last sign of life: one row."""

    __tablename__ = "dispatcher"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[str | None]
    term: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    lease_until: Mapped[datetime | None]
    seen_at: Mapped[datetime]
