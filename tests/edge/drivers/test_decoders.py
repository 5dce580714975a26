"""Payload decoders: what devices really publish, and anything else; no bytes crash them or make them slow."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.decoders import sparkplug
from edge.drivers.decoders.documents import (
    DECODERS,
    decode_chirpstack,
    decode_plain,
    decode_tasmota,
    decode_zigbee2mqtt,
    default_availability_topic,
    is_offline,
)
from edge.drivers.decoders.payload import (
    PAYLOAD_BYTES_MAX,
    PayloadError,
    find,
    parse_json,
    split_path,
    to_number,
    to_time_s,
)
from edge.drivers.decoders.protobuf import WireError, read_fields, write_varint
from firmware_sim import mqtt_devices
from firmware_sim.sparkplug_node import BOOLEAN, DOUBLE, FLOAT, INT16, INT64, STRING, MetricType, SparkplugEdgeNode

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT_MS = round(AT.timestamp() * 1000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        ({"t": 3.5}, "t", 3.5),
        ({"a": [{"t": "4.5"}]}, "a.0.t", 4.5),
        ({"a.b": {"c": True}}, "a\\.b.c", 1.0),
        ({"door": "open"}, "door", 1.0),
        ({"door": "CLOSED"}, "door", 0.0),
        ({"mains": "absent"}, "mains", 0.0),
        ([-1, -2], "1", -2.0),
    ],
)
def test_a_path_leads_to_a_number(document: object, path: str, value: float) -> None:
    parsed = parse_json(json.dumps(document).encode())
    assert decode_plain(parsed, split_path(path), None, {"absent": 0.0}).value == value


@pytest.mark.parametrize(
    "document", [{"u": 1}, {"t": None}, {"t": {}}, {"t": "warm"}, {"t": "1_0"}, {"t": "x" * 100}, 7]
)
def test_what_is_no_number_is_refused_with_the_reason(document: object) -> None:
    with pytest.raises(PayloadError):
        decode_plain(document, ("t",), None, {})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"t": NaN}',
        b'{"t": Infinity}',
        b"[" * 100_000,
        b"1" * 20_000,
        b" " * (PAYLOAD_BYTES_MAX + 1),
    ],
    ids=["empty", "binary", "cut", "nan", "infinity", "deep", "long number", "too long"],
)
def test_broken_json_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        parse_json(payload)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000_123, 1_700_000_000.123),
        ("2026-01-02T03:04:05+08:00", datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC).timestamp()),
        ("2022-07-18T09:34:15.775023242+00:00", 1658136855.775023),
        ("2026-01-02T03:04:05Z", AT.timestamp()),
        ("2026-01-02T03:04:05", None),
        ("yesterday", None),
        (True, None),
        (10**400, None),
        (None, None),
    ],
)
def test_times_need_a_zone_or_are_epoch_numbers(value: object, seconds: float | None) -> None:
    assert to_time_s(value) == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


def test_zigbee2mqtt_gives_value_and_last_seen_and_skips_partial_states() -> None:
    _, payload = mqtt_devices.zigbee2mqtt_state("fridge", 3.42, last_seen=AT)
    sample = decode_zigbee2mqtt(parse_json(payload), ("temperature",), None, {})
    assert (sample.value, sample.at_s) == (3.42, AT.timestamp())
    _, payload = mqtt_devices.zigbee2mqtt_contact("door", closed=True)
    assert decode_zigbee2mqtt(parse_json(payload), ("temperature",), None, {}) is None
    assert decode_zigbee2mqtt(parse_json(payload), ("contact",), None, {"true": 0, "false": 1}).value == 0


def test_chirpstack_uplinks_are_read_from_the_codecs_object() -> None:
    _, payload = mqtt_devices.chirpstack_uplink("app", "0102030405060708", "id-1", -18.5, AT)
    sample = decode_chirpstack(parse_json(payload), ("TempC_SHT",), None, {})
    assert sample.value == -18.5
    assert sample.at_s == pytest.approx(AT.timestamp(), abs=0.001)
    with pytest.raises(PayloadError, match="codec"):
        decode_chirpstack({"deduplicationId": "x"}, ("t",), None, {})
    with pytest.raises(PayloadError, match="deduplicationId"):
        decode_chirpstack({"object": {"t": 1}}, ("t",), None, {})


def test_tasmota_fahrenheit_becomes_celsius_and_its_time_without_zone_is_not_used() -> None:
    path = ("DS18B20", "Temperature")
    _, payload = mqtt_devices.tasmota_sensor("plug", 21.5)
    assert decode_tasmota(parse_json(payload), path, None, {}).value == 21.5
    _, payload = mqtt_devices.tasmota_sensor("plug", 14.0, unit="F")
    sample = decode_tasmota(parse_json(payload), path, None, {})
    assert (sample.value, sample.at_s) == (-10.0, None)


def test_last_wills_are_understood_in_every_form() -> None:
    assert is_offline(mqtt_devices.zigbee2mqtt_availability("x", online=False)[1], "offline")
    assert not is_offline(mqtt_devices.zigbee2mqtt_availability("x", online=True)[1], "offline")
    assert is_offline(mqtt_devices.tasmota_will("x", online=False)[1], "offline")
    assert not is_offline(b'{"note": "offline"}', "offline")
    assert is_offline(b"dead", "DEAD")
    assert default_availability_topic("tasmota", "tele/plug/SENSOR") == "tele/plug/LWT"
    assert default_availability_topic("zigbee2mqtt", "zigbee2mqtt/fridge") == "zigbee2mqtt/fridge/availability"
    assert default_availability_topic("json", "a/b") is None


@given(st.binary(max_size=200) | JSON.map(lambda item: json.dumps(item).encode()), st.text(max_size=12))
def test_any_json_and_any_path_give_a_sample_nothing_or_a_payload_error(payload: bytes, path: str) -> None:
    for decode in DECODERS.values():
        try:
            sample = decode(parse_json(payload), split_path(path), split_path(path), {})
        except PayloadError:
            continue
        assert sample is None or isinstance(sample.value, float)


@given(JSON, st.lists(st.text(max_size=4), max_size=4))
def test_a_found_value_is_part_of_the_document(document: object, path: list[str]) -> None:
    try:
        value = find(document, path)
    except KeyError:
        return
    assert repr(value) in repr(document)


@given(JSON)
def test_to_number_gives_a_float_or_a_payload_error(value: object) -> None:
    with contextlib.suppress(PayloadError):
        assert isinstance(to_number(value, {}), float)


NODE_TYPES = [MetricType("Temperature", 1, FLOAT), MetricType("Count", 2, INT64)]
DEVICE_TYPES = [
    MetricType("Temperature", 10, DOUBLE),
    MetricType("Trim", 11, INT16),
    MetricType("Door", 12, BOOLEAN),
    MetricType("Note", 13, STRING),
]
WANTED = frozenset({("", "Temperature"), ("", "Count")} | {("dev", item.name) for item in DEVICE_TYPES})


def born() -> tuple[SparkplugEdgeNode, sparkplug.SparkplugNode]:
    device = SparkplugEdgeNode("canteen", "gw", NODE_TYPES, {"dev": DEVICE_TYPES})
    node = sparkplug.SparkplugNode(WANTED)
    take(node, device.birth({"Temperature": 21.5, "Count": -7}, AT_MS))
    take(node, device.device_birth("dev", {"Temperature": 3.25, "Trim": -2, "Door": True, "Note": "x"}, AT_MS))
    return device, node


def take(node: sparkplug.SparkplugNode, message: tuple[str, bytes]) -> dict[tuple[str, str], float | None]:
    place = sparkplug.split_topic(message[0])
    assert place is not None
    found = node.take(place[1], place[2], sparkplug.decode_payload(message[1]))
    return {key: None if metric.value is None else float(metric.value) for key, metric in found.items()}


def test_sparkplug_births_name_values_types_and_signs() -> None:
    device = SparkplugEdgeNode("canteen", "gw", NODE_TYPES, {"dev": DEVICE_TYPES})
    node = sparkplug.SparkplugNode(WANTED)
    assert take(node, device.birth({"Temperature": 21.5, "Count": -7}, AT_MS)) == {
        ("", "Temperature"): 21.5,
        ("", "Count"): -7.0,
    }
    values = {"Temperature": 3.25, "Trim": -2, "Door": True, "Note": "x"}
    found = take(node, device.device_birth("dev", values, AT_MS))
    assert [found["dev", name] for name in ("Temperature", "Trim", "Door", "Note")] == [3.25, -2.0, 1.0, None]
    assert node.in_step


def test_sparkplug_data_by_alias_takes_name_and_type_from_the_birth() -> None:
    device, node = born()
    assert take(node, device.data("dev", {"Trim": -300, "Temperature": -18.5}, AT_MS)) == {
        ("dev", "Trim"): -300.0,
        ("dev", "Temperature"): -18.5,
    }
    assert take(node, device.data("", {"Count": -1}, AT_MS)) == {("", "Count"): -1.0}
    assert take(node, device.data("dev", {"Temperature": None}, AT_MS)) == {("dev", "Temperature"): None}
    assert node.in_step


def test_a_hole_in_the_sequence_is_noticed_until_the_next_birth() -> None:
    device, node = born()
    device.data("dev", {"Trim": 1}, AT_MS)  # lost on the way
    take(node, device.data("dev", {"Trim": 2}, AT_MS))
    assert not node.in_step
    take(node, device.data("dev", {"Trim": 3}, AT_MS))
    assert not node.in_step
    take(node, device.birth({"Temperature": 1.0, "Count": 1}, AT_MS))
    assert node.in_step


def test_the_sequence_runs_over_255_without_a_hole() -> None:
    device, node = born()
    for number in range(300):
        take(node, device.data("", {"Temperature": float(number)}, AT_MS))
        assert node.in_step


def test_a_death_certificate_of_an_older_birth_is_not_believed() -> None:
    device, node = born()
    old = sparkplug.decode_payload(device.death()[1])
    device.birth_seq = 1
    take(node, device.birth({"Temperature": 1.0, "Count": 1}, AT_MS))
    assert not node.dies(old)
    assert node.in_step
    assert node.dies(sparkplug.decode_payload(device.death()[1]))
    assert not node.in_step


def test_what_a_node_knows_survives_saving() -> None:
    device, node = born()
    copy = sparkplug.SparkplugNode(WANTED)
    copy.load(node.save())
    assert take(copy, device.data("dev", {"Trim": -5}, AT_MS)) == {("dev", "Trim"): -5.0}
    assert not copy.in_step


def test_the_rebirth_command_is_the_boolean_metric_of_the_specification() -> None:
    fields = dict(read_fields(sparkplug.encode_rebirth(AT_MS)))
    assert fields[1] == AT_MS
    assert dict(read_fields(fields[2])) == {1: b"Node Control/Rebirth", 4: BOOLEAN, 14: 1}
    assert sparkplug.rebirth_topic("canteen/gw") == "spBv1.0/canteen/NCMD/gw"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_sparkplug_payload_or_a_payload_error(data: bytes) -> None:
    node = sparkplug.SparkplugNode(WANTED)
    try:
        payload = sparkplug.decode_payload(data)
    except PayloadError:
        return
    for kind in ("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
        for metric in node.take(kind, "dev", payload).values():
            assert metric.value is None or isinstance(metric.value, int | float)
    node.load(node.save())


@given(data=st.data())
def test_a_damaged_sparkplug_payload_never_crashes(data: st.DataObject) -> None:
    device, node = born()
    payload = bytearray(device.birth({"Temperature": 21.5, "Count": -7}, AT_MS)[1])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PayloadError):
        node.take("NDATA", "", sparkplug.decode_payload(bytes(payload)))


@given(st.integers(0, 2**64 - 1))
def test_varints_round_trip(value: int) -> None:
    assert list(read_fields(b"\x08" + write_varint(value))) == [(1, value)]


@pytest.mark.parametrize(
    "data", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x00\x01", b"\x08" + b"\xff" * 11, b"\x0d\x00"]
)
def test_impossible_lengths_and_groups_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        list(read_fields(data))


def test_memory_is_bounded_however_many_metrics_a_payload_claims() -> None:
    payload = b"\x12\x00" * (PAYLOAD_BYTES_MAX // 2)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match="metrics"):
            sparkplug.decode_payload(payload)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
