"""Reads InfluxDB line protocol into values. Pure; a line that cannot be a reading is named with its reason.

The grammar is that of InfluxDB 2 (its line protocol reference): ``measurement[,tag=value..] field=value[,..] [time]``.
A tag ``sensor_id`` names the sensor; without it the measurement with all its tags does. The field is the quantity, or
the measurement where the field is called ``value``. Text is no reading and is refused, true and false are 1 and 0.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal, NamedTuple

from server.series.port import to_ms

Precision = Literal["ns", "us", "ms", "s"]
READINGS_MAX = 50_000
ERRORS_MAX = 10
INTEGER_MAX = 2**53  # beyond it a float no longer holds every integer
UNIT_OF = {"temperature": "°C", "humidity": "%"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT_US_MAX = int((datetime(9000, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * 1_000_000
_US_PER: dict[Precision, int] = {"us": 1, "ms": 1_000, "s": 1_000_000}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_UNFIT = re.compile(r"[^A-Za-z0-9_.:-]")
_COMMA, _EQUALS, _SPACE = (re.compile(rf"(?<!\\){sign}") for sign in ",= ")
_TEXT = re.compile(r'(?<!\\)="')
_ESCAPE = re.compile(r"\\([,= ])")
_FLOAT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"-?\d{1,20}[iu]")
_TIME = re.compile(r"-?\d{1,19}")
_TRUTH = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), 1.0),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), 0.0),
}


class LinesRefused(Exception):
    """``errors``: the number of a line (from 1) and what is wrong with it, the first ERRORS_MAX of them."""

    def __init__(self, errors: list[tuple[int, str]]) -> None:
        super().__init__("; ".join(f"line {number}: {reason}" for number, reason in errors))
        self.errors = errors


class TooManyReadings(Exception):
    """One request holds more than READINGS_MAX readings."""


class Quantity(NamedTuple):
    """What is measured: the names are those of a `telemetry.messages.Reading`, and fit it."""

    sensor_id: str
    quantity: str
    unit: str


class Moment(NamedTuple):
    """A time, as it is and as the series counts it (milliseconds since 1970 UTC)."""

    at: datetime
    at_ms: int


class Value(NamedTuple):
    """A reading of good quality. No `Reading`: to make one costs more than to read its line."""

    of: Quantity
    when: Moment
    value: float


class _Series(NamedTuple):
    sensor_id: str
    measurement: str
    unit: str | None
    quantities: dict[str, Quantity]  # by the field as it is written


class _Known(NamedTuple):
    """What stood in earlier lines of the same request."""

    series: dict[str, _Series]
    moments: dict[str, Moment]  # by the time as it is written, "" for none


def read_lines(text: str, precision: Precision, now: datetime) -> list[Value]:
    """The values of all lines; *now* is the time of those without one. Raises LinesRefused or TooManyReadings."""
    values: list[Value] = []
    errors: list[tuple[int, str]] = []
    known = _Known({}, {"": Moment(now, to_ms(now))})
    for number, told in enumerate(text.split("\n"), 1):
        line = told.strip("\r\t ")
        if not line or line.startswith("#"):
            continue
        try:
            _read_line(line, precision, known, values)
        except ValueError as error:
            errors.append((number, str(error)))
            if len(errors) == ERRORS_MAX:
                break
        if len(values) > READINGS_MAX:
            raise TooManyReadings
    if errors:
        raise LinesRefused(errors)
    return values


def _read_line(line: str, precision: Precision, known: _Known, values: list[Value]) -> None:
    head, _, rest = _cut(line, _SPACE)
    if '"' in rest and _TEXT.search(rest):
        raise ValueError("a text field is no reading; leave it out (Telegraf: fieldexclude)")
    series = known.series.get(head)
    if series is None:
        series = known.series[head] = _read_series(head)
    fields, _, told = _cut(rest.lstrip(" "), _SPACE)
    time = told.strip(" ")
    when = known.moments.get(time)
    if when is None:
        when = known.moments[time] = _read_time(time, precision)
    if not fields:
        raise ValueError("there is no field")
    for field in _split(fields, _COMMA):
        key, sign, value = _cut(field, _EQUALS)
        if not key or not sign:
            raise ValueError(f"a field is name=value, not {field[:40]!r}")
        quantity = series.quantities.get(key)
        if quantity is None:
            quantity = series.quantities[key] = _name_quantity(series, _plain(key))
        values.append(Value(quantity, when, _read_value(value)))


def _name_quantity(series: _Series, field: str) -> Quantity:
    name = name_of(series.measurement if field == "value" else field)
    return Quantity(series.sensor_id, name, series.unit if series.unit is not None else UNIT_OF.get(name, ""))


def _read_series(head: str) -> _Series:
    measurement, *pairs = _split(head, _COMMA)
    if not measurement:
        raise ValueError("there is no measurement")
    tags: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = _cut(pair, _EQUALS)
        if not key or not sign or not value:
            raise ValueError(f"a tag is name=value, not {pair[:40]!r}")
        if _plain(key) in tags:
            raise ValueError(f"the tag {_plain(key)[:40]!r} stands there twice")
        tags[_plain(key)] = _plain(value)
    unit = tags.pop("unit", None)
    if unit is not None and len(unit) > 16:
        raise ValueError("a unit has at most 16 characters")
    whole = ",".join([_plain(measurement), *(f"{key}={tags[key]}" for key in sorted(tags))])
    return _Series(name_of(tags.get("sensor_id") or whole), _plain(measurement), unit, {})


def name_of(text: str) -> str:
    """A name as the record has them: the text itself, or made to fit with a digest so that no two become one."""
    if _NAME.fullmatch(text):
        return text
    short = _UNFIT.sub("_", text).lstrip("_.:-")[:46] or "x"
    return f"{short}-{sha256(text.encode()).hexdigest()[:16]}"


def _read_value(text: str) -> float:
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    elif _INTEGER.fullmatch(text):
        number = int(text[:-1])
        if text.endswith("u") and number < 0:
            raise ValueError(f"{text[:40]!r} is no unsigned integer")
        if abs(number) <= INTEGER_MAX:
            return float(number)
    elif text in _TRUTH:
        return _TRUTH[text]
    raise ValueError(f"{text[:40]!r} is no number that a reading can hold")


def _read_time(text: str, precision: Precision) -> Moment:
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no timestamp")
    at_us = int(text) // 1_000 if precision == "ns" else int(text) * _US_PER[precision]
    if not 0 <= at_us < _AT_US_MAX:
        raise ValueError(f"the timestamp {text} in {precision} is not within the years 1970 to 8999")
    at = _EPOCH + timedelta(microseconds=at_us)
    return Moment(at, to_ms(at))


def _cut(text: str, sign: re.Pattern[str]) -> tuple[str, str, str]:
    """As str.partition, at the first sign that is not escaped."""
    if "\\" not in text:
        return text.partition(sign.pattern[-1])
    found = sign.search(text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def _split(text: str, sign: re.Pattern[str]) -> list[str]:
    return sign.split(text) if "\\" in text else text.split(sign.pattern[-1])


def _plain(text: str) -> str:
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text
