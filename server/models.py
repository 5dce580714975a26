"""The tables of the record. Times are naive UTC in the database and aware UTC in Python."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes; a naive one is a programming error."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON,
        bytes: LargeBinary,
        int: BigInteger().with_variant(Integer, "sqlite"),  # SQLite's integers have 64 bits, and count up only as such
    }


class Region(Base):
    """A province, city, district or station. ``path`` names all above it and itself, ``/1/4/9/``: a subtree is a range.

    PostgreSQL compares it by bytes (collation C) as SQLite does; other collations pass over the slashes.
    """

    __tablename__ = "region"
    __table_args__ = (UniqueConstraint("parent_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("region.id"))
    level: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(80))
    path: Mapped[str] = mapped_column(
        String(255).with_variant(String(255, collation="C"), "postgresql"), index=True, default=""
    )


class Site(Base):
    """A canteen or cold store; without a region it is seen only by those who see the whole instance."""

    __tablename__ = "site"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    time_zone: Mapped[str] = mapped_column(String(64))
    region_id: Mapped[int | None] = mapped_column(ForeignKey("region.id"), index=True)
    region: Mapped[Region | None] = relationship(lazy="joined")


class User(Base):
    """A person who logs in, bound to a site or a region as their role asks (`server.policy`, `server.scope`)."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    display_name: Mapped[str] = mapped_column(String(80))
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    region_id: Mapped[int | None] = mapped_column(ForeignKey("region.id"))
    disabled: Mapped[bool] = mapped_column(default=False)
    failed_logins: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None]
    region: Mapped[Region | None] = relationship(lazy="joined")

    @property
    def standing(self) -> str:
        """Role and place in a word: a form carries it, so that nobody overwrites what another has just changed."""
        return f"{self.role}/{self.site_id or ''}/{self.region_id or ''}"


class LoginSession(Base):
    """A log-in; only the digest of its token is kept."""

    __tablename__ = "login_session"
    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    csrf_token: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime]
    second_factor: Mapped[bool] = mapped_column(default=False)  # whether it was shown at this log-in
    user: Mapped[User] = relationship(lazy="joined")


class EnrolmentCode(Base):
    """A one-time code for one box; only its digest is kept."""

    __tablename__ = "enrolment_code"
    code_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    box_id: Mapped[str | None] = mapped_column(String(64))  # of the box that is to be enrolled again
    site: Mapped[Site] = relationship()


class Box(Base):
    """An enrolled box and its public key (Ed25519, base64)."""

    __tablename__ = "box"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    public_key: Mapped[str] = mapped_column(String(64))
    enrolled_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]  # from then on nothing is taken of it; what it signed before stays valid
    site: Mapped[Site] = relationship(lazy="joined")


class StoredBatch(Base):
    """The journal: the exact bytes of every batch taken. All else can be derived from it."""

    __tablename__ = "batch"
    __table_args__ = (UniqueConstraint("box_id", "epoch", "lane", "seq"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    epoch: Mapped[str] = mapped_column(String(64))
    lane: Mapped[str] = mapped_column(String(16))
    seq: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    previous_sha256: Mapped[str] = mapped_column(String(64))
    count: Mapped[int]
    raw: Mapped[bytes]
    received_at: Mapped[datetime]


class StoredEvent(Base):
    """An event once, however often it arrives. Its id and that of its incident are its box's: another's are its own."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_box_type_at", "box_id", "type", "at"),)  # a day of one kind, of one box
    event_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    incident_id: Mapped[str] = mapped_column(String(64), index=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    type: Mapped[str] = mapped_column(String(32))
    source_id: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]]


class SeriesPoint(Base):
    """One point of a series: once per sensor, quantity and time (milliseconds since 1970 UTC)."""

    __tablename__ = "series_point"
    __table_args__ = {"sqlite_with_rowid": False}
    box_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    sensor_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    quantity: Mapped[str] = mapped_column(String(64), primary_key=True)
    observed_at_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    value: Mapped[float | None]
    quality: Mapped[str] = mapped_column(String(8))


class Alert(Base):
    """What somebody has to see to; one per incident of a box, or of the centre itself."""

    __tablename__ = "alert"
    __table_args__ = (
        Index("ix_alert_site_id_id", "site_id", "id"),
        Index("ix_alert_site_state_id", "site_id", "state", "id"),
        Index("ix_alert_state_id", "state", "id"),
        Index("ix_alert_kind_id", "kind", "id"),
        Index("ix_alert_kind_state_id", "kind", "state", "id"),
        Index("ix_alert_tier_id", "tier", "id"),
        Index("ix_alert_tier_state_id", "tier", "state", "id"),
        Index("ix_alert_site_source", "site_id", "source_id", "kind", "opened_at"),
        UniqueConstraint("incident_id", "box_id", name="uq_alert_incident"),
        # to a unique constraint no NULL is like another one
        Index(
            "ix_alert_own_incident", "incident_id", unique=True, sqlite_where=text("box_id IS NULL"),
            postgresql_where=text("box_id IS NULL"),
        ),
    )  # fmt: skip
    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[str] = mapped_column(String(64))
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    box_id: Mapped[str | None] = mapped_column(ForeignKey("box.id"))  # None: the centre raised it by itself
    kind: Mapped[str] = mapped_column(String(40))
    tier: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    source_id: Mapped[str] = mapped_column(String(64))
    source_name: Mapped[str] = mapped_column(String(80))
    place: Mapped[str] = mapped_column(String(80))
    opened_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]  # when the box saw it end; the alert itself is closed by a reviewer
    deadline_at: Mapped[datetime]
    level: Mapped[str] = mapped_column(String(16), default="district")  # of the regulators who see to it
    acknowledge_by_at: Mapped[datetime | None]
    confirm_by_at: Mapped[datetime | None]  # a person has to say that it is true; None: needless
    confirmed_at: Mapped[datetime | None]
    review_by_at: Mapped[datetime | None]  # of what was submitted last
    repeat_of_id: Mapped[int | None] = mapped_column(ForeignKey("alert.id"))
    repeats: Mapped[int] = mapped_column(default=0)  # how often it has come again, this time included
    next_step_at: Mapped[datetime | None] = mapped_column(index=True)  # when the clockwork looks at it
    data: Mapped[dict[str, Any]]
    version: Mapped[int] = mapped_column(default=0)
    site: Mapped[Site] = relationship()
    __mapper_args__ = {"version_id_col": version}


class Evidence(Base):
    """What a box signed of a picture: the manifest, the signature, and where the blob is (by its digest).

    Boxes, and incidents of one box, may have the same picture, a black one: each has its own row, all one blob.
    ``key`` is the SHA-256 of the signed manifest; in rows from before revision 0025 it is that of the picture.
    """

    __tablename__ = "evidence"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    incident_id: Mapped[str] = mapped_column(String(64), index=True)
    role: Mapped[str] = mapped_column(String(16))
    size_bytes: Mapped[int]
    signed_manifest: Mapped[bytes]
    signature: Mapped[bytes]
    received_at: Mapped[datetime]


class Rectification(Base):
    """A claim that the fault is repaired, with its photos (`server.models_life_cycle`), and the reviewer's decision.

    五定: ``note`` is the matter, ``person`` the one in charge, ``scene`` what the photos show; each photo has its time.
    """

    __tablename__ = "rectification"
    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"), index=True)
    note: Mapped[str] = mapped_column(Text)
    person: Mapped[str] = mapped_column(String(80), default="")
    place: Mapped[str] = mapped_column(String(80), default="")
    scene: Mapped[str] = mapped_column(String(200), default="")
    submitted_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    submitted_at: Mapped[datetime]
    accepted: Mapped[bool | None]
    decided_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    decided_at: Mapped[datetime | None]
    decision_note: Mapped[str | None] = mapped_column(Text)
    submitted_by: Mapped[User] = relationship(foreign_keys=[submitted_by_id])
    decided_by: Mapped[User | None] = relationship(foreign_keys=[decided_by_id])


class AlertMove(Base):
    """Every change of an alert: who, when, from where, old and new state. Rows are only ever added."""

    __tablename__ = "alert_move"
    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"), index=True)
    at: Mapped[datetime]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    move: Mapped[str] = mapped_column(String(16))
    old_state: Mapped[str | None] = mapped_column(String(16))
    new_state: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text, default="")
    remote_addr: Mapped[str] = mapped_column(String(64), default="")
    user: Mapped[User | None] = relationship()
