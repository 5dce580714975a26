"""What `verify` has seen of the journal, on disk: a record of any size is checked in bounded memory.

A SQLite file in the folder for temporary files, gone at the end; TMPDIR names another one when that is too small.
"""

from __future__ import annotations

import sqlite3
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from server.series.port import Point, SeriesKey

CACHE_KIB = 32 * 1024
_TABLES = """
CREATE TABLE series (id INTEGER PRIMARY KEY, box_id TEXT, sensor_id TEXT, quantity TEXT,
  UNIQUE (box_id, sensor_id, quantity));
CREATE TABLE point (series INTEGER, at_ms INTEGER, value BLOB, quality TEXT, carried INTEGER,
  PRIMARY KEY (series, at_ms, value, quality)) WITHOUT ROWID;
CREATE TABLE refused (series INTEGER, at_ms INTEGER, PRIMARY KEY (series, at_ms)) WITHOUT ROWID;
CREATE TABLE alien (series INTEGER, at_ms INTEGER, value BLOB, quality TEXT,
  PRIMARY KEY (series, at_ms, value, quality)) WITHOUT ROWID;
CREATE TABLE event (box_id TEXT, id TEXT, digest TEXT, met INTEGER DEFAULT 0, PRIMARY KEY (box_id, id)) WITHOUT ROWID;
CREATE TABLE incident (box_id TEXT, id TEXT, met INTEGER DEFAULT 0, PRIMARY KEY (box_id, id)) WITHOUT ROWID;
CREATE TABLE picture (box_id TEXT, id TEXT, met INTEGER DEFAULT 0, PRIMARY KEY (box_id, id)) WITHOUT ROWID;
"""


class Scratch:
    """One connection, used by one thread."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}", "locking_mode=EXCLUSIVE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")  # one transaction to the end: nothing here outlives the process
        self._series: dict[SeriesKey, int] = {}

    def close(self) -> None:
        self._db.close()

    def _number(self, key: SeriesKey) -> int:
        number = self._series.get(key)
        if number is None:
            query = "INSERT INTO series (box_id, sensor_id, quantity) VALUES (?, ?, ?) RETURNING id"
            number = self._series[key] = int(self._db.execute(query, key).fetchone()[0])
        return number

    def _rows(self, points: Iterable[Point]) -> list[tuple[int, int, bytes, str]]:
        return [(self._number(point.key), point.at_ms, _packed(point.value), point.quality) for point in points]

    def add_points(self, points: Iterable[Point], *, carried: bool) -> None:
        """Points of the journal; those that are not *carried* need not be in the series yet."""
        clash = "DO NOTHING" if carried else "DO UPDATE SET carried = 0"
        query = f"INSERT INTO point VALUES (?, ?, ?, ?, {int(carried)}) ON CONFLICT {clash}"  # noqa: S608 - constants
        self._db.executemany(query, self._rows(points))

    def add_refused(self, names: Iterable[tuple[str, str, str, int]]) -> None:
        """Box, sensor, quantity and time of points that the store does not take."""
        rows = [(self._number(SeriesKey(*name[:3])), name[3]) for name in names]
        self._db.executemany("INSERT INTO refused VALUES (?, ?) ON CONFLICT DO NOTHING", rows)

    def keys(self) -> list[SeriesKey]:
        """Every series of the journal."""
        return list(self._series)

    def moments(self, key: SeriesKey) -> Iterator[tuple[int, set[tuple[bytes, str]], bool]]:
        """In order of time: what the journal says of a moment, and whether the series must have it by now."""
        query = (
            "SELECT at_ms, value, quality, carried, EXISTS (SELECT 1 FROM refused WHERE refused.series = point.series "
            "AND refused.at_ms = point.at_ms) FROM point WHERE series = ? ORDER BY at_ms"
        )
        rows = self._db.execute(query, (self._number(key),))
        for at_ms, group in groupby(rows, key=lambda row: row[0]):
            told = list(group)
            yield at_ms, {(row[1], row[2]) for row in told}, all(row[3] and not row[4] for row in told)

    def is_refused(self, key: SeriesKey, at_ms: int) -> bool:
        query = "SELECT 1 FROM refused WHERE series = ? AND at_ms = ?"
        return self._db.execute(query, (self._number(key), at_ms)).fetchone() is not None

    def add_aliens(self, points: Iterable[Point]) -> None:
        """Points of the series that the journal does not have."""
        self._db.executemany("INSERT INTO alien VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", self._rows(points))

    def drop_aliens(self, points: Iterable[Point]) -> None:
        query = "DELETE FROM alien WHERE series = ? AND at_ms = ? AND value = ? AND quality = ?"
        self._db.executemany(query, self._rows(points))

    def count_aliens(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM alien").fetchone()[0])

    def aliens(self, limit: int) -> Iterator[tuple[str, int, float | None]]:
        """Sensor, time and value of the first ones, by series and time."""
        query = (
            "SELECT sensor_id, at_ms, value FROM alien JOIN series ON series.id = alien.series "
            "ORDER BY box_id, sensor_id, quantity, at_ms LIMIT ?"
        )
        for sensor_id, at_ms, value in self._db.execute(query, (limit,)):
            yield sensor_id, at_ms, struct.unpack(">d", value)[0] if value else None

    def add_event(self, box_id: str, event_id: str, digest: str) -> None:
        """The first one of a box's id counts."""
        query = "INSERT INTO event (box_id, id, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        self._db.execute(query, (box_id, event_id, digest))

    def event(self, box_id: str, event_id: str) -> str | None:
        """What the journal's event says, met by asking for it; None for one that it does not have."""
        query = "UPDATE event SET met = 1 WHERE box_id = ? AND id = ? RETURNING digest"
        row = self._db.execute(query, (box_id, event_id)).fetchone()
        return None if row is None else str(row[0])

    def add_incident(self, box_id: str, incident_id: str) -> None:
        query = "INSERT INTO incident (box_id, id) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._db.execute(query, (box_id, incident_id))

    def meet_incident(self, box_id: str, incident_id: str) -> bool:
        """Whether the box told of it; it counts as met from now on."""
        query = "UPDATE incident SET met = 1 WHERE box_id = ? AND id = ? RETURNING 1"
        return self._db.execute(query, (box_id, incident_id)).fetchone() is not None

    def add_pictures(self, box_id: str, digests: Iterable[str]) -> None:
        query = "INSERT INTO picture (box_id, id) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._db.executemany(query, [(box_id, item) for item in digests])

    def meet_picture(self, box_id: str, digest: str) -> None:
        self._db.execute("UPDATE picture SET met = 1 WHERE box_id = ? AND id = ?", (box_id, digest))

    def not_met(self, table: str) -> Iterator[str]:
        """The ids of ``event``, ``incident`` or ``picture`` that nothing in the record answers to, in order."""
        assert table in ("event", "incident", "picture")
        query = f"SELECT id FROM {table} WHERE NOT met ORDER BY id"  # noqa: S608 - one of three
        return (row[0] for row in self._db.execute(query))


def packed(point: Point) -> tuple[bytes, str]:
    """Value and quality, as `Scratch.moments` gives them."""
    return _packed(point.value), point.quality


def _packed(value: float | None) -> bytes:
    return b"" if value is None else struct.pack(">d", value + 0.0)  # -0.0 is 0.0


@contextmanager
def scratch() -> Iterator[Scratch]:
    """An empty one, in a folder that only this user can read; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="brightline-verify-") as folder:
        made = Scratch(Path(folder) / "seen.sqlite")
        try:
            yield made
        finally:
            made.close()
