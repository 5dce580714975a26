"""How far the journal has been carried to each series store, and what a store refused."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from server.models import Base


class SeriesCursor(Base):
    """All batches up to ``batch_id`` are in the store. ``generation`` counts the rebuilds.

    The record's own series has a row only while it is incomplete: since the readings go to another store.
    """

    __tablename__ = "series_cursor"
    store: Mapped[str] = mapped_column(String(255), primary_key=True)
    generation: Mapped[int] = mapped_column(default=0)
    batch_id: Mapped[int] = mapped_column(default=0)


class SeriesProblem(Base):
    """A point that a store refused; without a sensor: a batch that could not be carried, or too many points to name."""

    __tablename__ = "series_problem"
    id: Mapped[int] = mapped_column(primary_key=True)
    store: Mapped[str] = mapped_column(String(255), index=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"))
    sensor_id: Mapped[str | None] = mapped_column(String(64))
    quantity: Mapped[str | None] = mapped_column(String(64))
    observed_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(512))
    at: Mapped[datetime]
