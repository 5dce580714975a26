"""The quick way through PUBLISH packets against paho's own: any bytes, cut anywhere, give the same messages."""

from __future__ import annotations

import socket
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from edge.drivers.mqtt_socket import BufferedSocket, ThriftyClient, take_publishes

Packet = tuple[bytes, bytes, int, int]
READS = 12  # of at least one packet each, and no example has more than six


def publish(topic: bytes, payload: bytes, header: int, packet_id: int, *, v5: bool) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic
    body += packet_id.to_bytes(2, "big") if header & 0x06 else b""
    body += (b"\0" if v5 else b"") + payload
    length, size = b"", len(body)
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | 0x80 if size else low])
        if not size:
            return bytes([0x30 | header]) + length + body


def taken_by_client(pieces: list[bytes], *, v5: bool) -> list[Packet]:
    """What a client takes that gets *pieces* one after the other and is asked to read after each."""
    found: list[Packet] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = ThriftyClient(
            lambda *packet: found.append(packet), CallbackAPIVersion.VERSION2, manual_ack=True,
            protocol=MQTTv5 if v5 else MQTTv311,
        )  # fmt: skip

        def on_message(_client: object, _data: object, message: MQTTMessage) -> None:
            header = message.dup << 3 | message.qos << 1 | message.retain
            found.append((message.topic.encode(), bytes(message.payload), header, message.mid))

        client.on_message = on_message
        ours.setblocking(False)
        client._sock = BufferedSocket(ours)  # type: ignore[assignment]
        for piece in pieces:
            theirs.sendall(piece)
            for _ in range(READS):
                if client.loop_read() != 0:
                    return found
        client._sock = None
    return found


packets = st.tuples(
    st.binary(min_size=1, max_size=40).map(lambda text: text.hex().encode()),
    st.one_of(st.binary(max_size=200), st.integers(16_200, 16_500).map(bytes)),
    st.sampled_from([0x0, 0x1, 0x2, 0x3, 0xA, 0xB]),
    st.integers(1, 65_535),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(packets, max_size=6), st.booleans(), st.lists(st.integers(0, 3000), max_size=4))
def test_packets_cut_anywhere_are_taken_once_whole_and_in_order(sent: list[Packet], v5: bool, cuts: list[int]) -> None:
    sent = [(topic, payload, header, name if header & 2 else 0) for topic, payload, header, name in sent]
    stream = b"".join(publish(*packet, v5=v5) for packet in sent)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    found = [(topic, payload, header & 0x0F, name) for topic, payload, header, name in taken_by_client(pieces, v5=v5)]
    assert found == sent


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60).map(lambda rest: b"\x32" + rest), st.booleans())
def test_any_bytes_are_taken_no_further_than_they_go(data: bytes, v5: bool) -> None:
    found: list[Packet] = []
    end = take_publishes(data, lambda *packet: found.append(packet), is_v5=v5)
    assert 0 <= end <= len(data)
    assert (end == 0) == (found == [])
    assert b"".join(publish(topic, body, head & 0x0F, name, v5=v5) for topic, body, head, name in found) == data[:end]


@pytest.mark.parametrize(
    "other", [b"\xd0\x00", b"\x34\x07\x00\x01a\x00\x01\x00x", b"\x32\x08\x00\x01a\x00\x01\x03\x01\x00"]
)
def test_what_is_not_plain_is_left_where_it_begins(other: bytes) -> None:
    """A PINGRESP, QoS 2, and properties."""
    plain = publish(b"a", b"1", 0x2, 7, v5=True)
    found: list[Packet] = []
    assert take_publishes(plain + other + plain, lambda *packet: found.append(packet), is_v5=True) == len(plain)
    assert found == [(b"a", b"1", 0x32, 7)]
