"""Shares background work between replicas: each piece is claimed for a time, and a claim that runs out is free again.

A claim is a promise of this database, not of the world: who is slower than its lease may find that another has begun.
So what is done under a claim must be harmless when done twice. Times are the claimant's; the clocks of the replicas
agree far better than a lease is long.
"""

from __future__ import annotations

import os
import socket
import uuid
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import ColumnElement, Engine, String, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from server.dialects import insert_new
from server.models import Base

WORKER_CHARACTERS_MAX = 64


class Claimable:
    """Columns of a table whose rows are work to be done: who works on it, and until when nobody else may."""

    claimed_by: Mapped[str | None] = mapped_column(String(WORKER_CHARACTERS_MAX))
    claimed_until: Mapped[datetime | None]


class Duty(Claimable, Base):
    """Work that one replica at a time does for all, such as carrying the series."""

    __tablename__ = "duty"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)


Row = TypeVar("Row", bound=Claimable)


def worker_name(engine: Engine) -> str:
    """A name that no other replica has: host, process number and chance.

    On SQLite, which one process serves, always the same, so that it takes its own work back after a kill.
    """
    if engine.dialect.name == "sqlite":
        return "the centre"
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def claim(
    db: Session,
    table: type[Row],
    worker: str,
    lease_s: float,
    *,
    due: ColumnElement[bool],
    order: InstrumentedAttribute[int],
    limit: int,
) -> list[Row]:
    """Claim at most *limit* rows of *table* that are due and that nobody works on, in the caller's transaction.

    Workers do not wait for each other's rows (FOR UPDATE SKIP LOCKED; SQLite has one writer at a time). The claim
    counts from the commit; done rows are marked by the caller, so that they are not due any more.
    """
    now = datetime.now(UTC)
    free = or_(table.claimed_until.is_(None), table.claimed_until <= now)
    query = select(table).where(due, free).order_by(order).limit(limit).with_for_update(skip_locked=True)
    rows = list(db.scalars(query))
    for row in rows:
        row.claimed_by, row.claimed_until = worker, now + timedelta(seconds=lease_s)
    db.flush()
    return rows


def hold_duty(db: Session, name: str, worker: str, lease_s: float) -> bool:
    """Take a duty, or keep it for another *lease_s*, in the caller's transaction; False while another has it."""
    insert_new(db, Duty, [{"name": name, "claimed_by": None, "claimed_until": None}])
    now = datetime.now(UTC)
    free = or_(Duty.claimed_by == worker, Duty.claimed_until.is_(None), Duty.claimed_until <= now)
    row = db.scalar(select(Duty).where(Duty.name == name, free).with_for_update(skip_locked=True))
    if row is None:
        return False
    row.claimed_by, row.claimed_until = worker, now + timedelta(seconds=lease_s)
    db.flush()
    return True


def leave_duty(db: Session, name: str, worker: str) -> None:
    """Give a duty back before its lease is over; nothing happens if it is not this worker's any more."""
    mine = (Duty.name == name, Duty.claimed_by == worker)
    db.execute(update(Duty).where(*mine).values(claimed_by=None, claimed_until=None))
