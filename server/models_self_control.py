"""The tables of self-control: records with their signed editions, retained samples and what became of them.

A record's row is a draft until somebody signs it; then it stands still. Editions, samples and removals are only added
to; the database refuses anything else (triggers of migration 0010).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models import Base, Site, User


class SelfControlRecord(Base):
    """A daily, weekly or monthly record of a site. ``form`` is what people wrote, ``seen`` what the boxes saw."""

    __tablename__ = "self_control_record"
    __table_args__ = (UniqueConstraint("site_id", "kind", "first_day"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    kind: Mapped[str] = mapped_column(String(8))
    first_day: Mapped[date] = mapped_column(Date, index=True)
    opened_at: Mapped[datetime]
    opened_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    form: Mapped[dict[str, Any]]
    seen: Mapped[dict[str, Any]]
    edition: Mapped[int] = mapped_column(default=0)  # 0: a draft
    zero_risk: Mapped[bool] = mapped_column(default=False)
    signed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=0)
    site: Mapped[Site] = relationship(lazy="joined")
    __mapper_args__ = {"version_id_col": version}


class SelfControlEdition(Base):
    """One act on a record, signed or corrected, with the whole document in its canonical bytes and their SHA-256."""

    __tablename__ = "self_control_edition"
    __table_args__ = (UniqueConstraint("record_id", "edition"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    record_id: Mapped[int] = mapped_column(ForeignKey("self_control_record.id"))
    edition: Mapped[int]
    move: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    at: Mapped[datetime]
    remote_addr: Mapped[str] = mapped_column(String(64))
    document: Mapped[bytes]
    sha256: Mapped[str] = mapped_column(String(64))


class SelfControlReminder(Base):
    """That a site was told once that a record is due soon or missing."""

    __tablename__ = "self_control_reminder"
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    first_day: Mapped[date] = mapped_column(Date, primary_key=True)
    stage: Mapped[str] = mapped_column(String(8), primary_key=True)
    at: Mapped[datetime]


class RetainedSample(Base):
    """A sample of a dish put aside (留样): what, how much, when, by whom, and in which refrigerator."""

    __tablename__ = "retained_sample"
    __table_args__ = (Index("ix_retained_sample_site_taken", "site_id", "taken_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    meal: Mapped[str] = mapped_column(String(16))
    dish: Mapped[str] = mapped_column(String(80))
    weight_g: Mapped[float]
    taken_at: Mapped[datetime]
    taken_by: Mapped[str] = mapped_column(String(80))
    box_id: Mapped[str | None] = mapped_column(ForeignKey("box.id"))
    sensor_id: Mapped[str] = mapped_column(String(64))
    entered_at: Mapped[datetime]
    entered_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    site: Mapped[Site] = relationship(lazy="joined")
    entered_by: Mapped[User] = relationship(lazy="joined")
    removal: Mapped[SampleRemoval | None] = relationship(lazy="joined")


class SampleRemoval(Base):
    """How a sample ended: ``removed`` from the refrigerator, or ``void``: entered by mistake, with the reason."""

    __tablename__ = "sample_removal"
    sample_id: Mapped[int] = mapped_column(ForeignKey("retained_sample.id"), primary_key=True, autoincrement=False)
    how: Mapped[str] = mapped_column(String(8))
    at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    entered_at: Mapped[datetime]
    user: Mapped[User] = relationship(lazy="joined")
