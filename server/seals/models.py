"""The table of seals. Rows are only ever added; each is a leaf of the Merkle log."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.models import Base


class RowSeal(Base):
    """What a row said from ``at`` on: the digest of its columns; of a row that was taken out, an empty one.

    ``ref`` is the row's key as a JSON array. ``found``: a migration found the row so, and nothing tells of before.
    ``broken``: before the program wrote the row, it was not what its newest seal said.
    """

    __tablename__ = "row_seal"
    __table_args__ = (Index("ix_row_seal_ref", "table_name", "ref", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    table_name: Mapped[str] = mapped_column(String(40))
    ref: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    sha256: Mapped[str] = mapped_column(String(64))
    found: Mapped[bool]
    broken: Mapped[bool]
