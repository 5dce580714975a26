"""The tables of the assets: what a site has and which papers it holds. A row is known by its natural key.

Identity numbers stand here masked only (`server.assets.masking`); the full ones are nowhere.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Date, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.models import Base

DRAFT_LIFE = timedelta(hours=1)


class SiteCard(Base):
    """What a site is, and the token of its public page (none until somebody makes it)."""

    __tablename__ = "site_card"
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(24), default="")
    address: Mapped[str] = mapped_column(String(200), default="")
    grade: Mapped[str] = mapped_column(String(1), default="")
    public_token: Mapped[str | None] = mapped_column(String(32), unique=True)


class Contact(Base):
    """Whom to call at a site, by role."""

    __tablename__ = "site_contact"
    __table_args__ = (UniqueConstraint("site_id", "role", "person"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    role: Mapped[str] = mapped_column(String(24))
    person: Mapped[str] = mapped_column(String(40))
    phone: Mapped[str] = mapped_column(String(32), default="")


class Certificate(Base):
    """A licence of the site, or the health certificate of one of its people."""

    __tablename__ = "certificate"
    __table_args__ = (UniqueConstraint("site_id", "kind", "number"), Index("ix_certificate_expires_on", "expires_on"))
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    kind: Mapped[str] = mapped_column(String(16))
    number: Mapped[str] = mapped_column(String(64))
    holder: Mapped[str] = mapped_column(String(80))
    identity: Mapped[str] = mapped_column(String(18), default="")
    issued_on: Mapped[date | None] = mapped_column(Date)
    expires_on: Mapped[date] = mapped_column(Date)


class ColdRoom(Base):
    """A cold room with the number under which it is filed with the authority (备案)."""

    __tablename__ = "cold_room"
    __table_args__ = (UniqueConstraint("site_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    name: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(16), default="")
    filing_number: Mapped[str] = mapped_column(String(64), default="")


class AssetSensor(Base):
    """A sensor as the site owns it; ``box_id`` and ``source_id`` say as which sensor a box reports it."""

    __tablename__ = "asset_sensor"
    __table_args__ = (UniqueConstraint("site_id", "serial"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    serial: Mapped[str] = mapped_column(String(80))
    name: Mapped[str] = mapped_column(String(80), default="")
    cold_room: Mapped[str] = mapped_column(String(80), default="")
    box_id: Mapped[str] = mapped_column(String(64), default="")
    source_id: Mapped[str] = mapped_column(String(64), default="")
    calibrated_on: Mapped[date | None] = mapped_column(Date)
    calibration_due_on: Mapped[date | None] = mapped_column(Date)
    certificate_number: Mapped[str] = mapped_column(String(64), default="")
    certificate_expires_on: Mapped[date | None] = mapped_column(Date)


class AssetCamera(Base):
    """A camera and what it looks at; ``zones`` are names, in order."""

    __tablename__ = "asset_camera"
    __table_args__ = (UniqueConstraint("site_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    name: Mapped[str] = mapped_column(String(80))
    place: Mapped[str] = mapped_column(String(80), default="")
    box_id: Mapped[str] = mapped_column(String(64), default="")
    source_id: Mapped[str] = mapped_column(String(64), default="")
    zones: Mapped[str] = mapped_column(String(400), default="")


class AssetVersion(Base):
    """That an asset was written, with the digest of what it said from then on; removed, with none. Only added to.

    ``sheet`` is the table's name, ``asset_id`` the key in it (of a site's card: the site's). Each is a leaf of the log.
    """

    __tablename__ = "asset_version"
    __table_args__ = (Index("ix_asset_version_asset", "sheet", "asset_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    sheet: Mapped[str] = mapped_column(String(16))
    asset_id: Mapped[int]
    at: Mapped[datetime]
    sha256: Mapped[str] = mapped_column(String(64))


class AssetDraft(Base):
    """A file that was looked through and not taken yet: its rows, masked as they would be kept."""

    __tablename__ = "asset_draft"
    token: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    made_at: Mapped[datetime] = mapped_column(index=True)
    digest: Mapped[str] = mapped_column(String(64))
    rows: Mapped[dict[str, Any]]
