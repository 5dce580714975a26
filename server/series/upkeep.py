"""`brightline-server series`: derive everything again from the journal, and say how far a store is."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, delete, func, inspect, select, update
from sqlalchemy.orm import Session

from server.database import writing
from server.models import SeriesPoint, StoredBatch
from server.models_uplink import UnsyncedPoint
from server.series import record
from server.series.carrier import Carrier
from server.series.journal import read_portions
from server.series.models import SeriesCursor, SeriesProblem
from server.series.points import readings_of
from server.series.port import SeriesStore
from server.series.stores import Settings, ready

PROBLEMS_SHOWN_MAX = 100


@dataclass(frozen=True)
class SeriesStatus:
    """``carried_to`` is None for the record's own series when it is complete. ``problems`` are the newest 100."""

    store: str
    carried_to: int | None
    batches: int
    batches_behind: int
    readings_behind: int
    refused: int
    problems: list[str]


def has_cursors(db: Session) -> bool:
    """Whether this record was ever opened by a centre that knows of other series stores; an old one is only read."""
    return inspect(db.connection()).has_table(SeriesCursor.__tablename__)


def carried_to(db: Session, store_name: str) -> int | None:
    """The batch up to which a store is complete; None: it is always complete (the record's own)."""
    cursor = db.get(SeriesCursor, store_name) if has_cursors(db) else None
    if cursor is None:
        return None if store_name == record.NAME else 0
    return cursor.batch_id


def status_of(db: Session, store_name: str) -> SeriesStatus:
    """How far a store is behind the journal; asks the record only."""
    position = carried_to(db, store_name)
    readings = select(func.count(), func.coalesce(func.sum(StoredBatch.count), 0)).where(StoredBatch.lane == "readings")
    total, _ = db.execute(readings).one()
    behind, in_them = (0, 0) if position is None else db.execute(readings.where(StoredBatch.id > position)).one()
    mine = select(SeriesProblem).where(SeriesProblem.store == store_name)
    refused = db.scalar(select(func.count()).select_from(mine.subquery())) or 0
    rows = db.scalars(mine.order_by(SeriesProblem.id.desc()).limit(PROBLEMS_SHOWN_MAX))
    problems = [f"batch {row.batch_id}: {_name(row)}: {row.reason}" for row in rows]
    return SeriesStatus(store_name, position, total, behind, int(in_them), refused, problems)


def _name(problem: SeriesProblem) -> str:
    if problem.sensor_id is None:
        return "the batch"
    return f"{problem.sensor_id} {problem.quantity} at {problem.observed_at_ms}"


def rebuild(engine: Engine, settings: Settings, store: SeriesStore) -> list[str]:
    """Empty the store and derive every point again; gives what could not be derived or was refused, at most 100 lines.

    Raises SeriesUnavailable or SQLAlchemyError; it may be run again.
    A centre may be serving meanwhile: the record's own series changes in one transaction (boxes wait and send
    again); another store is empty at first and fills up.
    """
    if settings.in_record:
        return _rebuild_in_record(engine)
    ready(engine, settings, store)
    store.clear()  # before the cursor: what a running carrier wrote until now will be carried again
    with Session(writing(engine)) as db, db.begin():
        values = {"batch_id": 0, "generation": SeriesCursor.generation + 1}
        db.execute(update(SeriesCursor).where(SeriesCursor.store == store.name).values(values))
        db.execute(delete(SeriesProblem).where(SeriesProblem.store == store.name))
    carrier = Carrier(engine, store)
    while carrier.carry():
        pass
    with Session(engine) as db, db.begin():
        return status_of(db, store.name).problems


def _rebuild_in_record(engine: Engine) -> list[str]:
    problems: list[str] = []
    with Session(writing(engine)) as db, db.begin():
        db.execute(delete(SeriesPoint))
        db.execute(delete(UnsyncedPoint))  # filled again beside the points, for corrections still to come
        db.execute(delete(SeriesCursor).where(SeriesCursor.store == record.NAME))
        for portion in read_portions(db):
            for batch in portion.batches:
                record.insert_readings(db, batch.header.box_id, batch.header.boot_id, readings_of(batch))
            problems += [f"batch {batch_id}: {reason}" for batch_id, reason in portion.unreadable.items()]
    return problems[:PROBLEMS_SHOWN_MAX]
