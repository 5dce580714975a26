"""Tables of the boxes' care: what each told of itself, its silence, its commands; since when the centre listens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models import Base


class BoxState(Base):
    """The newest status that a box told: its version, clock, backlog (the fields are `edge.status_report`'s)."""

    __tablename__ = "box_state"
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    told_at: Mapped[datetime]
    data: Mapped[dict[str, Any]]


class BoxSilence(Base):
    """A box that is silent now, and the alert that says so; the row goes when the box speaks again."""

    __tablename__ = "box_silence"
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    incident_id: Mapped[str] = mapped_column(String(64))
    silent_since: Mapped[datetime]


class CentreWatch(Base):
    """One row (id 1): when the centre looked last, and since when it has listened without a break."""

    __tablename__ = "centre_watch"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    looked_at: Mapped[datetime | None]
    listening_since: Mapped[datetime | None]


class BoxCommand(Base):
    """Something asked of a box. ``state``: queued, done, refused, failed (the box's words), or expired."""

    __tablename__ = "box_command"
    __table_args__ = (Index("ix_box_command_waiting", "box_id", "state", "expires_at"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    kind: Mapped[str] = mapped_column(String(16))
    arguments: Mapped[dict[str, Any]]
    actor: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class BoxKey(Base):
    """A public key that a box had until ``replaced_at``: what it signed before stays valid.

    ``last_epoch``: of its outbox when the box itself replaced it, empty without one; None: an enrolment replaced it.
    """

    __tablename__ = "box_key"
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), index=True)
    public_key: Mapped[str] = mapped_column(String(64))
    replaced_at: Mapped[datetime]
    last_epoch: Mapped[str | None] = mapped_column(String(64))
