"""Points as InfluxDB line protocol; the same point always gives the same bytes.

One measurement ``reading`` with the tags box_id, quantity and sensor_id and the fields value (float) and quality
(integer: the OPC DA quality, good 192, uncertain 64, bad 0; its vendor bit 256 says that there is no value). Numbers
only, because VictoriaMetrics keeps nothing else. What the protocol cannot carry in a tag (a backslash before a comma or
at the end, control characters) is percent-encoded as in RFC 3986, so that every name comes back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from server.series.port import Point, SeriesKey

MEASUREMENT = "reading"
QUALITY_CODE = {"good": 192, "suspect": 64, "bad": 0}
QUALITY_OF_CODE = {code: quality for quality, code in QUALITY_CODE.items()}
NO_VALUE = 256
# InfluxDB keeps times as int64 nanoseconds, its last two values are its own: the year 2262. No message is before 1970.
AT_MS_MIN, AT_MS_MAX = 0, 9_223_372_036_853
_ENCODED = re.compile(r"[%\\\x00-\x1f\x7f]")
_ESCAPED = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})


def encode_name(name: str) -> str:
    """A name as the store keeps it; raises ValueError for an empty one, which no tag can hold."""
    if not name:
        raise ValueError("a name of a series is empty")
    return _ENCODED.sub(lambda found: f"%{ord(found[0]):02X}", name)


def decode_name(kept: str) -> str:
    """The name that `encode_name` was given."""
    return unquote(kept, errors="strict")


def lines_of(points: Iterable[Point]) -> list[str]:
    """One line for each point, times in milliseconds."""
    prefixes: dict[tuple[str, ...], str] = {}
    lines = []
    for point in points:
        key = point[:3]
        prefix = prefixes.get(key)
        if prefix is None:
            prefix = prefixes[key] = _prefix(SeriesKey(*key))
        code = QUALITY_CODE[point.quality]
        if point.value is None:
            lines.append(f"{prefix} quality={code | NO_VALUE}i {point.at_ms}")
        else:
            lines.append(f"{prefix} value={point.value!r},quality={code}i {point.at_ms}")
    return lines


def _prefix(key: SeriesKey) -> str:
    box_id, sensor_id, quantity = (encode_name(name).translate(_ESCAPED) for name in key)
    return f"{MEASUREMENT},box_id={box_id},quantity={quantity},sensor_id={sensor_id}"


def read_point(key: SeriesKey, at_ms: int, value: float | None, code: int) -> Point:
    """The point behind a row of the store; raises ValueError for a quality that we never write."""
    quality = QUALITY_OF_CODE.get(code & ~NO_VALUE)
    if quality is None:
        raise ValueError(f"{code} is no quality")
    return Point(*key, at_ms, None if code & NO_VALUE or value is None else float(value), quality)
