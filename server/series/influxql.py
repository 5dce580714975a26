"""The questions to InfluxDB in InfluxQL; every name in them is encoded and quoted here."""

from __future__ import annotations

from server.series.line_protocol import MEASUREMENT, encode_name
from server.series.port import SeriesKey

TAGS = ("box_id", "sensor_id", "quantity")  # in the order of SeriesKey
# needs no more than the right to write, unlike DROP MEASUREMENT
DELETE_ALL = f'DELETE FROM "{MEASUREMENT}"'  # noqa: S608 - a constant


def literal(text: str) -> str:
    """A text as a string literal."""
    return "'" + text.replace("\\", r"\\").replace("'", r"\'") + "'"


def select_points(key: SeriesKey, start_ms: int, end_ms: int, order: str, rows_max: int) -> str:
    """The points of one series; *order* is ASC or DESC, both times are included."""
    fields = f'SELECT "value", "quality" FROM "{MEASUREMENT}"'  # noqa: S608 - a constant
    return f"{fields} WHERE {_span(key, start_ms, end_ms)} ORDER BY time {order} LIMIT {rows_max}"


def delete_points(key: SeriesKey, start_ms: int, end_ms: int) -> str:
    """Away with the points of one series; both times are included."""
    return f"{DELETE_ALL} WHERE {_span(key, start_ms, end_ms)}"


def _span(key: SeriesKey, start_ms: int, end_ms: int) -> str:
    names = " AND ".join(f'"{tag}" = {literal(encode_name(name))}' for tag, name in zip(TAGS, key, strict=True))
    return f"{names} AND time >= {start_ms}ms AND time <= {end_ms}ms"


def select_extents(box_id: str | None) -> str:
    """Three statements: the count, the first and the last point of every series, of all boxes or of one."""
    condition = "" if box_id is None else f' WHERE "box_id" = {literal(encode_name(box_id))}'
    tags = ", ".join(f'"{tag}"' for tag in TAGS)
    group = f'FROM "{MEASUREMENT}"{condition} GROUP BY {tags}'
    return "; ".join(f'SELECT {what}("quality") {group}' for what in ("count", "first", "last"))
