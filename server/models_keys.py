"""What the record knows of the key files that all replicas share: fingerprints, never the keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from server.models import Base


class KeyPrint(Base):
    """The fingerprint of a key file, and the machine whose copy was the first."""

    __tablename__ = "key_print"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    host: Mapped[str] = mapped_column(String(255))
    noted_at: Mapped[datetime]
