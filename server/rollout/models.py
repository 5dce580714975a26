"""Tables of releases and their roll-outs. A release never changes; what happens to it stands in its roll-outs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models import Base, Box


class Release(Base):
    """A configuration or a model for boxes; its bytes lie in the blob store.

    ``region_path``: how far its maker reached. ``sha256`` is of the configuration, or of the model's manifest;
    ``slot``: whose place the model takes on a box.
    """

    __tablename__ = "config_release"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16), default="configuration")
    slot: Mapped[str] = mapped_column(String(64), default="")
    model_sha256: Mapped[str] = mapped_column(String(64), default="")
    region_path: Mapped[str] = mapped_column(String(255))
    made_by: Mapped[str] = mapped_column(String(80))
    made_at: Mapped[datetime]


class Rollout(Base):
    """A release on its way to boxes. ``stage`` is under way, from 0; ``state`` see server.rollout.state.

    ``mode``: ``live``, or ``shadow`` for a model that only looks along.
    """

    __tablename__ = "rollout"
    id: Mapped[int] = mapped_column(primary_key=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("config_release.id"))
    stages: Mapped[list[Any]] = mapped_column(JSON)
    soak_s: Mapped[int]
    mode: Mapped[str] = mapped_column(String(16), default="live")
    state: Mapped[str] = mapped_column(String(16), index=True)
    stage: Mapped[int]
    reason: Mapped[str] = mapped_column(String(500), default="")
    begun_by: Mapped[str] = mapped_column(String(80))
    begun_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    release: Mapped[Release] = relationship(lazy="joined")
    boxes: Mapped[list[RolloutBox]] = relationship(
        lazy="selectin", order_by="RolloutBox.position", back_populates="rollout"
    )


class RolloutBox(Base):
    """A box in a roll-out: in which stage, how far, by which command, and what it had before (none: its own file)."""

    __tablename__ = "rollout_box"
    __table_args__ = (Index("ix_rollout_box_box", "box_id"),)
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollout.id"), primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    position: Mapped[int]
    stage: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    command_id: Mapped[str | None] = mapped_column(String(32), index=True)
    previous_id: Mapped[int | None] = mapped_column(ForeignKey("config_release.id"))
    reason: Mapped[str] = mapped_column(String(500), default="")
    changed_at: Mapped[datetime]
    box: Mapped[Box] = relationship(lazy="joined")
    rollout: Mapped[Rollout] = relationship(back_populates="boxes")
