"""The series store's port: points in, points of one series out in order of time.

A point is known by its series and its time; written again it changes nothing. Of two different points told for the
same instant one is kept whole (which one is the store's choice): both are in the journal. All times are milliseconds
since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

POINTS_PER_WRITE_MAX = 10_000
PIECE_MS = 72 * 3600 * 1000  # the longest time that one question to a store spans (InfluxDB 3 Core's limit)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970 UTC, the nearest to *at*."""
    return round(at.timestamp() * 1000)


class SeriesKey(NamedTuple):
    """One quantity of one sensor of one box."""

    box_id: str
    sensor_id: str
    quantity: str


class Point(NamedTuple):
    """``value`` is None for a reading without one; ``quality`` is good, suspect or bad."""

    box_id: str
    sensor_id: str
    quantity: str
    at_ms: int
    value: float | None
    quality: str

    @property
    def key(self) -> SeriesKey:
        return SeriesKey(self.box_id, self.sensor_id, self.quantity)


class Extent(NamedTuple):
    """How many points a series has, and the first and last time."""

    points: int
    first_ms: int
    last_ms: int


class Refused(NamedTuple):
    """A point that the store will never take, and why."""

    point: Point
    reason: str


class SeriesUnavailable(Exception):
    """The store cannot be reached or cannot work now; the same call may succeed later. Holds no secret."""


class CannotForget(Exception):
    """The store has no way to forget some of its points; its words."""


class SeriesStore(Protocol):
    """Every call may block for its time-outs and raises SeriesUnavailable."""

    @property
    def name(self) -> str:
        """Which store this is, without secrets, at most 255 characters; another name is another store."""

    def write(self, points: Sequence[Point]) -> list[Refused]:
        """Keep at most POINTS_PER_WRITE_MAX points; on return they are stored but for those that are given back."""

    def range(self, key: SeriesKey, start_ms: int, end_ms: int) -> Iterator[Point]:
        """The points from *start_ms* to *end_ms*, both included, in order; read in pieces of bounded size."""

    def latest(self, key: SeriesKey, start_ms: int, end_ms: int) -> Point | None:
        """The newest point from *start_ms* to *end_ms*, both included."""

    def keys(self, box_id: str) -> list[SeriesKey]:
        """Every series of a box that has points, by name."""

    def extents(self, box_id: str | None = None) -> dict[SeriesKey, Extent]:
        """Every series that has points, of all boxes or of one."""

    def forget(self, key: SeriesKey, start_ms: int, end_ms: int) -> None:
        """Forget the points of one series from *start_ms* to *end_ms*, both included; raises CannotForget."""

    def clear(self) -> None:
        """Forget every point."""

    def close(self) -> None:
        """End its connections."""
