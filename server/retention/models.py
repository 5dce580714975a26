"""Tables of the retention: holds that no purge breaks, and a tombstone for all that was purged. Never deleted from."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models import Base, Site


class LegalHold(Base):
    """Nothing of the alert, or of the whole site where none is named, is purged before ``until`` or its release.

    ``placed_within``: how far whoever placed it reaches, as a region's path; ``/`` the whole instance, empty the site.
    """

    __tablename__ = "legal_hold"
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), index=True)
    alert_id: Mapped[int | None] = mapped_column(ForeignKey("alert.id"), index=True)
    reason: Mapped[str] = mapped_column(Text)
    placed_by: Mapped[str] = mapped_column(String(80))
    placed_within: Mapped[str] = mapped_column(String(255))
    placed_at: Mapped[datetime]
    until: Mapped[datetime | None]
    released_by: Mapped[str | None] = mapped_column(String(80))
    released_at: Mapped[datetime | None]
    release_reason: Mapped[str | None] = mapped_column(Text)
    site: Mapped[Site] = relationship()


class Tombstone(Base):
    """What was purged (``picture``: a blob; ``readings``: the bytes of a batch), by which rule; signed by the centre.

    ``key`` is the name of the log's key that signed. The row is a leaf of the Merkle log as well, and its withdrawal
    another one: from then on it speaks of nothing.
    """

    __tablename__ = "tombstone"
    __table_args__ = (
        Index(
            "uq_tombstone_counting", "kind", "ref", unique=True,
            sqlite_where=text("withdrawn_at IS NULL"), postgresql_where=text("withdrawn_at IS NULL"),
        ),
    )  # fmt: skip
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    ref: Mapped[str] = mapped_column(String(64))
    rule: Mapped[str] = mapped_column(String(80))
    size_bytes: Mapped[int]
    at: Mapped[datetime]
    key: Mapped[str] = mapped_column(String(120))
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))
    done_at: Mapped[datetime | None]  # when the bytes were gone
    withdrawn_at: Mapped[datetime | None]  # a hold or a new row that needs the bytes was faster, or they came again
