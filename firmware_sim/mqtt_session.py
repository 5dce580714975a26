"""A sensor's half of MQTT 3.1.1, read from the OASIS specification: connect, publish at QoS 1, count the PUBACKs.

On purpose not built on an MQTT library: it is to be faster than every consumer that it is to load, and it must know
for each single message whether the broker acknowledged it. Packets in, packets out; one socket, no thread.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterable

CONNECT, CONNACK, PUBLISH_QOS1, DUP, PUBACK = 0x10, 0x20, 0x32, 0x08, 0x40
WILL_QOS1, WILL_RETAIN = 0x0C, 0x20
PACKET_IDS = 65_535
PUBACK_BYTES = 4
RECEIVE_BYTES = 65_536

Will = tuple[str, bytes, bool]  # topic, payload, retained


class BrokerLost(Exception):
    """The broker closed, refused or never answered; connect again and resend what it did not acknowledge."""


def _length(count: int) -> bytes:
    """Remaining length (section 2.2.3): seven bits a byte, lowest first."""
    out = bytearray()
    while True:
        count, low = divmod(count, 128)
        out.append(low | 0x80 if count else low)
        if not count:
            return bytes(out)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def connect_packet(client_id: str, keepalive_s: int = 0, will: Will | None = None) -> bytes:
    """CONNECT with a session that persists (clean session 0); the will is of QoS 1 (section 3.1.2)."""
    flags = 0 if will is None else WILL_QOS1 | (WILL_RETAIN if will[2] else 0)
    body = _text("MQTT") + bytes([4, flags]) + struct.pack(">H", keepalive_s) + _text(client_id)
    if will is not None:
        body += _text(will[0]) + struct.pack(">H", len(will[1])) + will[1]
    return bytes([CONNECT]) + _length(len(body)) + body


def publish_packet(topic: bytes, payload: bytes, packet_id: int, *, again: bool = False, retain: bool = False) -> bytes:
    """PUBLISH at QoS 1; *again* sets the DUP flag, *retain* the RETAIN flag."""
    body = struct.pack(">H", len(topic)) + topic + packet_id.to_bytes(2, "big") + payload
    return bytes([PUBLISH_QOS1 | (DUP if again else 0) | retain]) + _length(len(body)) + body


class MqttSession:
    """One connection to ``127.0.0.1:port``; `send` and `acknowledged` never wait longer than asked."""

    def __init__(self, port: int, client_id: str, timeout_s: float = 10.0, will: Will | None = None) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(connect_packet(client_id, will=will))
            answer = self._socket.recv(4)
        except OSError as error:
            raise BrokerLost(str(error)) from error
        if len(answer) != 4 or answer[0] != CONNACK or answer[3] != 0:
            self._socket.close()
            raise BrokerLost(f"the broker did not accept the connection: {answer!r}")
        self._rest = b""

    def send(self, packets: Iterable[bytes]) -> None:
        """Hand the packets over; raises BrokerLost."""
        try:
            self._socket.sendall(b"".join(packets))
        except OSError as error:
            raise BrokerLost(str(error)) from error

    def acknowledged(self, wait_s: float) -> list[int]:
        """The packet ids that the broker has acknowledged since the last call; waits for the first at most *wait_s*."""
        try:
            if not select.select([self._socket], [], [], wait_s)[0]:
                return []
            data = self._socket.recv(RECEIVE_BYTES)
        except OSError as error:
            raise BrokerLost(str(error)) from error
        if not data:
            raise BrokerLost("the broker closed the connection")
        data = self._rest + data
        whole = len(data) - len(data) % PUBACK_BYTES  # nothing but PUBACKs comes to a client that never subscribes
        self._rest = data[whole:]
        ids = []
        for kind, _, packet_id in struct.iter_unpack(">BBH", data[:whole]):
            if kind != PUBACK:
                raise BrokerLost(f"a packet of type {kind:#x} where a PUBACK was due")
            ids.append(packet_id)
        return ids

    def close(self) -> None:
        self._socket.close()
