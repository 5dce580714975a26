"""Tables of the Merkle log. Rows are only ever added, but for `log_pending`, which empties as leaves are added."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.models import Base


class LogPending(Base):
    """A row that was written and has no leaf yet. Triggers add it in the transaction of the row itself."""

    __tablename__ = "log_pending"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    ref: Mapped[str] = mapped_column(String(64))


class LogLeaf(Base):
    """One leaf: of which row it is (``ref`` is its key), and the hash."""

    __tablename__ = "log_leaf"
    __table_args__ = (UniqueConstraint("kind", "ref"),)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    ref: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))


class LogNode(Base):
    """A full subtree of 2^level leaves, level 1 and above; with them a proof reads few rows."""

    __tablename__ = "log_node"
    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32))


class LogHead(Base):
    """A published head: the signed note is what others hold. ``sent_at``: when the webhook took it."""

    __tablename__ = "log_head"
    __table_args__ = (Index("ix_log_head_size", "size"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    note: Mapped[str] = mapped_column(Text)
    sent_at: Mapped[datetime | None]


class LogKeyRow(Base):
    """The public key of a replica that publishes heads; a restored centre has a new one beside the old."""

    __tablename__ = "log_key"
    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    key: Mapped[str] = mapped_column(String(200))
    since: Mapped[datetime]
