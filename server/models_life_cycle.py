"""What belongs to the life of alerts: overdue steps, cards, interviews, dismissals, proof photos and second looks.

Steps, cards, dismissals and photos are only ever added; each unique constraint is what makes "once" true.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models import Alert, Base, Site, User


class OverdueStep(Base):
    """A step of `server.life_cycle.escalation` that was done; ``level_before`` to ``level_after`` is where it went."""

    __tablename__ = "overdue_step"
    __table_args__ = (UniqueConstraint("alert_id", "name", "due_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"))
    name: Mapped[str] = mapped_column(String(16))
    due_at: Mapped[datetime]
    at: Mapped[datetime]
    level_before: Mapped[str] = mapped_column(String(16))
    level_after: Mapped[str] = mapped_column(String(16))


class Card(Base):
    """A yellow or red card of a site; an alert brings each at most once."""

    __tablename__ = "card"
    __table_args__ = (UniqueConstraint("alert_id", "colour"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), index=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"))
    colour: Mapped[str] = mapped_column(String(8))
    due_at: Mapped[datetime]
    at: Mapped[datetime]
    site: Mapped[Site] = relationship()
    alert: Mapped[Alert] = relationship()


class Interview(Base):
    """A site on the interview list (约谈), for one reason; at most one of each reason is open."""

    __tablename__ = "interview"
    __table_args__ = (
        Index(
            "uq_interview_open", "site_id", "reason", unique=True,
            sqlite_where=text("held_at IS NULL"), postgresql_where=text("held_at IS NULL"),
        ),
    )  # fmt: skip
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), index=True)
    reason: Mapped[str] = mapped_column(String(16))
    count: Mapped[int]
    within_d: Mapped[int]
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"))  # the one that made the count full
    listed_at: Mapped[datetime]
    held_at: Mapped[datetime | None]
    held_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    note: Mapped[str] = mapped_column(Text, default="")
    site: Mapped[Site] = relationship()
    held_by: Mapped[User | None] = relationship()


class Dismissal(Base):
    """A false alarm, counted against the model that raised it (its digest; empty when no model did)."""

    __tablename__ = "dismissal"
    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"), index=True)
    model_sha256: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]  # reopened: it was none


class RectificationPhoto(Base):
    """One photo of a rectification: the upload, sealed by its digest, and the copy without metadata that is shown."""

    __tablename__ = "rectification_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    rectification_id: Mapped[int] = mapped_column(ForeignKey("rectification.id"), index=True)
    original_sha256: Mapped[str] = mapped_column(String(64))
    photo_sha256: Mapped[str] = mapped_column(String(64), index=True)
    likeness: Mapped[int | None] = mapped_column(BigInteger)  # perceptual hash as a signed number of 64 bits
    taken_at: Mapped[datetime | None]
    taken_from: Mapped[str] = mapped_column(String(8))  # exif or form
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]


class PhotoBand(Base):
    """An eighth of a photo's perceptual hash: of two that differ in at most 7 bits, one eighth at least is the same."""

    __tablename__ = "photo_band"
    __table_args__ = (Index("ix_photo_band", "band", "value"),)
    photo_id: Mapped[int] = mapped_column(ForeignKey("rectification_photo.id"), primary_key=True)
    band: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int]


class Recheck(Base):
    """The second look after a rectification. ``result`` is violating, compliant or unknown, once it is answered."""

    __tablename__ = "recheck"
    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"), index=True)
    rectification_id: Mapped[int] = mapped_column(ForeignKey("rectification.id"))
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), index=True)
    way: Mapped[str] = mapped_column(String(8))  # box, series or ended
    source_id: Mapped[str] = mapped_column(String(64))
    zone: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(12), index=True)  # asked, answered or unavailable
    result: Mapped[str] = mapped_column(String(12), default="")
    evidence_sha256: Mapped[str] = mapped_column(String(64), default="")
    reason: Mapped[str] = mapped_column(String(200), default="")
    asked_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
