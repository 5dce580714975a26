"""The tables of the reports. Rows are only ever added: whatever changes is a new row, and the old one stays legible."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models import Alert, Base, Site, StoredEvent, User

# reports look for the alerts and events of one sensor
Index("ix_alert_source", Alert.box_id, Alert.source_id, Alert.opened_at)
Index("ix_event_source", StoredEvent.box_id, StoredEvent.source_id, StoredEvent.at)


class BatchSource(Base):
    """Which batches speak of which sensor, and of when (milliseconds since 1970 UTC). Derived from the journal."""

    __tablename__ = "batch_source"
    __table_args__ = (Index("ix_batch_source_span", "box_id", "source_id", "lane", "first_ms"),)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"), primary_key=True)
    source_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    box_id: Mapped[str] = mapped_column(String(64))
    lane: Mapped[str] = mapped_column(String(16))
    first_ms: Mapped[int] = mapped_column(BigInteger)
    last_ms: Mapped[int] = mapped_column(BigInteger)


class SensorCard(Base):
    """What people know of a sensor and the box does not: serial, calibration, limits. The newest row counts."""

    __tablename__ = "sensor_card"
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), index=True)
    sensor_id: Mapped[str] = mapped_column(String(64))
    valid_from: Mapped[datetime]
    name: Mapped[str] = mapped_column(String(80))
    place: Mapped[str] = mapped_column(String(80))
    ccp: Mapped[str] = mapped_column(String(40))
    serial: Mapped[str] = mapped_column(String(80))
    calibrated_on: Mapped[date | None] = mapped_column(Date)
    calibration_due_on: Mapped[date | None] = mapped_column(Date)
    offset_c: Mapped[float | None]
    high_c: Mapped[float | None]
    low_c: Mapped[float | None]
    basis: Mapped[str] = mapped_column(String(160))
    reason: Mapped[str] = mapped_column(Text)
    entered_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    entered_at: Mapped[datetime]
    entered_by: Mapped[User] = relationship(lazy="joined")


class SignedReport(Base):
    """A report that somebody signed; ``number`` is the beginning of the digest of its content."""

    __tablename__ = "report"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(16), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), index=True)
    title: Mapped[str] = mapped_column(String(200))
    start: Mapped[datetime]
    end: Mapped[datetime]
    content_sha256: Mapped[str] = mapped_column(String(64))
    batches_sha256: Mapped[str] = mapped_column(String(64))
    site: Mapped[Site] = relationship(lazy="joined")
    entries: Mapped[list[ReportEntry]] = relationship(order_by="ReportEntry.edition")


class ReportEntry(Base):
    """One act of one person on a report: signed, reviewed or corrected. Each makes the next edition."""

    __tablename__ = "report_entry"
    __table_args__ = (UniqueConstraint("report_id", "edition"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"))
    edition: Mapped[int]
    move: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    at: Mapped[datetime]
    remote_addr: Mapped[str] = mapped_column(String(64))
    user: Mapped[User] = relationship(lazy="joined")


class ReportFile(Base):
    """One file of one edition, by the digest of its bytes in the blob store."""

    __tablename__ = "report_file"
    __table_args__ = (UniqueConstraint("report_id", "edition", "format", "language"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"))
    edition: Mapped[int]
    format: Mapped[str] = mapped_column(String(8))
    language: Mapped[str] = mapped_column(String(8))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int]
