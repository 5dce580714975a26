"""Line protocol as gateways write it, and lines that are no readings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client import Point
from pydantic import TypeAdapter

from server.intake import lines
from server.intake.gateway import payload_of
from server.intake.lines import LinesRefused, Precision, Quantity, TooManyReadings, Value, name_of, read_lines
from server.series.port import to_ms
from telemetry.batch import dump_records
from telemetry.messages import Reading

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def journalled(values: Sequence[Value]) -> list[Reading]:
    """The readings as `verify` finds them: what was written without the model is what it writes."""
    payload = payload_of(values)
    found = TypeAdapter(list[Reading]).validate_json(payload)
    assert json.loads(payload) == json.loads(dump_records("readings", found))
    for reading, (of, when, value) in zip(found, values, strict=True):
        assert Quantity(reading.sensor_id, reading.quantity, reading.unit) == of
        assert (reading.value, reading.quality, reading.observed_at) == (value, "good", when.at)
        assert to_ms(reading.observed_at) == when.at_ms
    return found


def read(text: str, precision: Precision = "ns") -> list[tuple[str, str, float | None, str]]:
    found = journalled(read_lines(text, precision, NOW))
    return [(item.sensor_id, item.quantity, item.value, item.unit) for item in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("temperature,sensor_id=cold-1 value=-18.2", [("cold-1", "temperature", -18.2, "°C")]),
        (
            "fridge,sensor_id=cold-1,room=a temperature=4,humidity=61i,door=t,alarm=FALSE",
            [
                ("cold-1", "temperature", 4.0, "°C"), ("cold-1", "humidity", 61.0, "%"),
                ("cold-1", "door", 1.0, ""), ("cold-1", "alarm", 0.0, ""),
            ],
        ),
        ("power,sensor_id=m,unit=kWh used=12u", [("m", "used", 12.0, "kWh")]),
        ("cpu usage=1e-3", [("cpu", "usage", 0.001, "")]),
        ("cpu usage=+.5", [("cpu", "usage", 0.5, "")]),
        (r"my\ m,sensor_id=a b\ c=1", [("a", name_of("b c"), 1.0, "")]),
        (r"m,sensor_id=a\,b\=c\ d,x=\y value=2", [(name_of("a,b=c d"), "m", 2.0, "")]),
        ("# nothing\n\n  m,sensor_id=a value=1  \r\n", [("a", "m", 1.0, "")]),
        ('m,sensor_id=a,t="q" value=1', [("a", "m", 1.0, "")]),
        ('m,sensor_id=a,unit="\t毫米" b=1e300', [("a", "b", 1e300, '"\t毫米"')]),
    ],
)  # fmt: skip
def test_a_line_gives_its_readings(line: str, expected: list[tuple[str, str, float, str]]) -> None:
    assert read(line) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("temperature", "no field"),
        ("temperature value", "name=value"),
        ("temperature =1", "name=value"),
        (",a=b value=1", "no measurement"),
        ("m,a value=1", "tag is name=value"),
        ("m,a= value=1", "tag is name=value"),
        ("m,a=1,a=2 value=1", "twice"),
        ('m text="open"', "text field"),
        ('m text="a b",value=1 1', "text field"),
        ("m value=nan", "no number"),
        ("m value=inf", "no number"),
        ("m value=1e999", "no number"),
        ("m value=", "no number"),
        ("m value=-1u", "no unsigned"),
        ("m value=9007199254740993i", "no number"),
        ("m value=1 x", "no timestamp"),
        ("m value=1 1 1", "no timestamp"),
        ("m value=1 -1", "1970"),
        ("m value=1 99999999999999999999", "no timestamp"),
        ("m,unit=12345678901234567 value=1", "at most 16"),
    ],
)
def test_a_line_that_is_no_reading_is_named_with_its_reason(line: str, reason: str) -> None:
    with pytest.raises(LinesRefused, match=reason) as refused:
        read_lines(f"m value=1\n{line}\nm value=2", "ns", NOW)
    assert [number for number, _ in refused.value.errors] == [2]


@pytest.mark.parametrize(
    ("precision", "text"),
    [("s", "1767323045"), ("ms", "1767323045000"), ("us", "1767323045000000"), ("ns", "1767323045000000999")],
)
def test_a_timestamp_is_read_in_its_precision(precision: Precision, text: str) -> None:
    assert read_lines(f"m value=1 {text}", precision, NOW + timedelta(1))[0].when.at == NOW
    assert read_lines("m value=1", precision, NOW)[0].when.at == NOW


def test_the_order_of_tags_makes_no_other_sensor_and_another_tag_does() -> None:
    names = [read(f"m,{tags} value=1")[0][0] for tags in ("a=1,b=2", "b=2,a=1", "a=1,b=3", "a=1")]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_no_more_errors_are_told_and_no_more_readings_taken_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LinesRefused) as refused:
        read_lines("x\n" * 1000, "ns", NOW)
    assert len(refused.value.errors) == lines.ERRORS_MAX
    monkeypatch.setattr(lines, "READINGS_MAX", 3)
    with pytest.raises(TooManyReadings):
        read_lines("m a=1,b=2,c=3,d=4", "ns", NOW)


# what the writers below cannot carry: control characters, and a backslash, which their escaping leaves ambiguous
NAME = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\"), min_size=1, max_size=30)


@given(
    NAME.filter(lambda name: not name.startswith("#")),
    st.dictionaries(NAME.filter(lambda name: name not in ("unit", "sensor_id", "time")), NAME, max_size=3),
    NAME.filter(lambda name: name not in ("value", "time")),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53) | st.booleans(),
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),  # noqa: DTZ001 - made aware below
)
def test_what_the_official_client_writes_comes_back(
    measurement: str, tags: dict[str, str], field: str, value: float, at: datetime
) -> None:
    point = Point(measurement).field(field, value).time(at.replace(tzinfo=UTC))
    for key, said in tags.items():
        point.tag(key, said)
    (reading,) = journalled(read_lines(point.to_line_protocol(), "ns", NOW))
    whole = ",".join([measurement, *(f"{key}={tags[key]}" for key in sorted(tags))])
    assert (reading.sensor_id, reading.quantity, reading.value) == (name_of(whole), name_of(field), float(value))
    assert reading.observed_at == at.replace(tzinfo=UTC)


@given(st.text(max_size=200))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    try:
        found = read_lines(text, "ns", NOW)
    except LinesRefused:
        return
    journalled(found)
