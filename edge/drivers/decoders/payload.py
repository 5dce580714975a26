"""JSON payloads: parsed within bounds, a value found by its path and turned into a number. Pure.

What always holds: any bytes give a value or a PayloadError, in bounded time and memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import from_json

PAYLOAD_BYTES_MAX = 256 * 1024
TEXT_CHARS_MAX = 64
SECONDS_MAX = 1e11  # epoch times above are milliseconds: 1e11 s is the year 5138
# Words that devices use for two states; a sensor's own `values` come first
WORDS = {"true": 1.0, "on": 1.0, "open": 1.0, "false": 0.0, "off": 0.0, "closed": 0.0, "close": 0.0}


class PayloadError(Exception):
    """The payload is not what the sensor's configuration says."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number from a payload; ``at_s`` is the device's own time (seconds since 1970), None if it gave none."""

    value: float
    at_s: float | None = None


def parse_json(payload: bytes) -> object:
    """The document; raises PayloadError."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadError(f"more than {PAYLOAD_BYTES_MAX} bytes")
    try:
        return from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise PayloadError("not JSON") from error


def split_path(path: str) -> tuple[str, ...]:
    """The steps of a path such as ``probes.0.t``; a point inside a key is written ``\\.``."""
    steps = path.replace("\\.", "\0").split(".")
    return tuple(step.replace("\0", ".") for step in steps)


def find(document: object, path: Sequence[str]) -> object:
    """The value at *path*; raises KeyError when there is nothing."""
    for step in path:
        if isinstance(document, dict):
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and len(step) < 6 and int(step) < len(document):
            document = document[int(step)]
        else:
            raise KeyError(step)
    return document


def to_number(value: object, words: Mapping[str, float]) -> float:
    """A number from what devices write: 3.5, "3.5", true, "ON"; *words* are the sensor's own. Raises PayloadError."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError as error:
            raise PayloadError("a number too large") from error
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise PayloadError("the field holds no number")
    if value in words:
        return words[value]
    known = WORDS.get(value.strip().lower())
    if known is not None:
        return known
    try:
        return float(value.replace("_", "x"))  # float() would take 1_0 for 10
    except ValueError as error:
        raise PayloadError("the field holds no number") from error


def to_time_s(value: object) -> float | None:
    """Seconds since 1970 from an ISO 8601 text with a zone, or from a number of seconds or milliseconds; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number / 1000 if number > SECONDS_MAX else number
    if isinstance(value, str) and len(value) <= TEXT_CHARS_MAX:
        try:
            at = datetime.fromisoformat(value)
            return None if at.tzinfo is None else at.astimezone(UTC).timestamp()
        except (ValueError, OverflowError):
            return None
    return None
