"""The series in the record itself, on either database: the default. Ingest writes the points in its own transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import cast

from sqlalchemy import Connection, Select, Table, delete, func, select, tuple_
from sqlalchemy.orm import Session

from server.clock_repair import write_unsynced
from server.dialects import write_rows
from server.models import SeriesPoint
from server.series.points import points_of
from server.series.port import POINTS_PER_WRITE_MAX, Extent, Point, Refused, SeriesKey
from telemetry.messages import Reading

ROWS_PER_PIECE = 10_000
NAME = "record"
_TABLE = cast(Table, SeriesPoint.__table__)  # its columns are those of `Point`, in its order


def insert_points(db: Session | Connection, points: Sequence[Point]) -> None:
    """Write within the caller's transaction; a point that is there already stays as it is."""
    write_rows(db, _TABLE, points)


def insert_readings(db: Session, box_id: str, boot_id: str, readings: Sequence[Reading]) -> None:
    """Write the readings of one batch within the caller's transaction; unsure times so that they can be put right."""
    insert_points(db, points_of(box_id, (reading for reading in readings if reading.clock_synced)))
    unsynced = [reading for reading in readings if not reading.clock_synced]
    if unsynced:
        write_unsynced(db, box_id, boot_id, unsynced)


class RecordSeriesStore:
    """Reads and writes the table ``series_point``."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        begin: Callable[[], AbstractContextManager[Connection]],
    ) -> None:
        """*connect* gives a connection to read with, *begin* one whose transaction writes and commits at its end."""
        self._connect = connect
        self._begin = begin

    @property
    def name(self) -> str:
        return NAME

    def write(self, points: Sequence[Point]) -> list[Refused]:
        if len(points) > POINTS_PER_WRITE_MAX:
            raise ValueError(f"at most {POINTS_PER_WRITE_MAX} points are written at once")
        with self._begin() as connection:
            insert_points(connection, points)
        return []

    def range(self, key: SeriesKey, start_ms: int, end_ms: int) -> Iterator[Point]:
        while True:
            query = _of(key).where(SeriesPoint.observed_at_ms.between(start_ms, end_ms))
            with self._connect() as connection:
                rows = connection.execute(query.order_by(SeriesPoint.observed_at_ms).limit(ROWS_PER_PIECE)).all()
            yield from (_point(key, *row) for row in rows)
            if len(rows) < ROWS_PER_PIECE:
                return
            start_ms = rows[-1][0] + 1

    def latest(self, key: SeriesKey, start_ms: int, end_ms: int) -> Point | None:
        query = _of(key).where(SeriesPoint.observed_at_ms.between(start_ms, end_ms))
        with self._connect() as connection:
            row = connection.execute(query.order_by(SeriesPoint.observed_at_ms.desc()).limit(1)).first()
        return _point(key, *row) if row else None

    def keys(self, box_id: str) -> list[SeriesKey]:
        """Hops from one to the next in the key instead of reading every point."""
        found: list[SeriesKey] = []
        names = (SeriesPoint.sensor_id, SeriesPoint.quantity)
        with self._connect() as connection:
            last = ("", "")
            while True:
                query = select(*names).where(SeriesPoint.box_id == box_id, tuple_(*names) > last)
                row = connection.execute(query.order_by(*names).limit(1)).first()
                if row is None:
                    return found
                last = (row[0], row[1])
                found.append(SeriesKey(box_id, *last))

    def extents(self, box_id: str | None = None) -> dict[SeriesKey, Extent]:
        names = (SeriesPoint.box_id, SeriesPoint.sensor_id, SeriesPoint.quantity)
        at = SeriesPoint.observed_at_ms
        query = select(*names, func.count(), func.min(at), func.max(at)).group_by(*names)
        if box_id is not None:
            query = query.where(SeriesPoint.box_id == box_id)
        with self._connect() as connection:
            rows = connection.execute(query).all()
        return {SeriesKey(*row[:3]): Extent(*row[3:]) for row in rows}

    def forget(self, key: SeriesKey, start_ms: int, end_ms: int) -> None:
        mine = (SeriesPoint.box_id == key.box_id, SeriesPoint.sensor_id == key.sensor_id)
        span = (SeriesPoint.quantity == key.quantity, SeriesPoint.observed_at_ms.between(start_ms, end_ms))
        with self._begin() as connection:
            connection.execute(delete(SeriesPoint).where(*mine, *span))

    def clear(self) -> None:
        with self._begin() as connection:
            connection.execute(delete(SeriesPoint))

    def close(self) -> None:
        """The engine belongs to the caller."""


def _point(key: SeriesKey, at_ms: int, value: float | None, quality: str) -> Point:
    return Point(key.box_id, key.sensor_id, key.quantity, at_ms, value, quality)


def _of(key: SeriesKey) -> Select[int, float | None, str]:
    query = select(SeriesPoint.observed_at_ms, SeriesPoint.value, SeriesPoint.quality)
    return query.where(
        SeriesPoint.box_id == key.box_id,
        SeriesPoint.sensor_id == key.sensor_id,
        SeriesPoint.quantity == key.quantity,
    )
