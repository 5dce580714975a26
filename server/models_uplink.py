"""Tables of the uplink: how far each lane is complete, and which records were told under a wrong clock."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models import Base

__all__ = ["Base", "ClockCorrection", "LanePosition", "UnsyncedBatch", "UnsyncedEvent", "UnsyncedPoint"]


class LanePosition(Base):
    """Up to ``complete_to`` every batch of a lane is here or was told by the box as lost."""

    __tablename__ = "lane_position"
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    epoch: Mapped[str] = mapped_column(String(64), primary_key=True)
    lane: Mapped[str] = mapped_column(String(16), primary_key=True)
    complete_to: Mapped[int] = mapped_column(BigInteger, default=0)


class ClockCorrection(Base):
    """What to add to the times that a box told in one boot before its clock was right."""

    __tablename__ = "clock_correction"
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    boot_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    offset_ms: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[str] = mapped_column(String(64))


class UnsyncedBatch(Base):
    """A batch with times that its box told under a wrong clock and whose correction had not come with it.

    ``offset_ms`` is set once the correction came, while another series store still holds its points as told.
    """

    __tablename__ = "unsynced_batch"
    __table_args__ = (Index("ix_unsynced_batch_boot", "box_id", "boot_id"),)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"), primary_key=True, autoincrement=False)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    boot_id: Mapped[str] = mapped_column(String(64))
    offset_ms: Mapped[int | None] = mapped_column(BigInteger)


class UnsyncedPoint(Base):
    """A point as the box told it under a wrong clock. ``shown``: the series holds it at ``told_ms`` for now."""

    __tablename__ = "unsynced_point"
    __table_args__ = (Index("ix_unsynced_point_boot", "box_id", "boot_id", "sensor_id", "quantity"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    boot_id: Mapped[str] = mapped_column(String(64))
    sensor_id: Mapped[str] = mapped_column(String(64))
    quantity: Mapped[str] = mapped_column(String(64))
    told_ms: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[float | None]
    quality: Mapped[str] = mapped_column(String(8))
    shown: Mapped[bool]


class UnsyncedEvent(Base):
    """The time of an event as the box told it under a wrong clock."""

    __tablename__ = "unsynced_event"
    __table_args__ = (Index("ix_unsynced_event_boot", "box_id", "boot_id"),)
    event_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    boot_id: Mapped[str] = mapped_column(String(64))
    told_at: Mapped[datetime]
