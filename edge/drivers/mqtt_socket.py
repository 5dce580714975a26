"""paho's client made thrifty: many packets a read, many acknowledgements a write, no objects that nobody looks at.

As it comes, paho reads each packet with three system calls, makes seven objects of it and sends each PUBACK by itself,
which is two thirds of what a reading costs. This file alone touches paho's private parts (`_create_socket`, `_sock`,
`_in_packet`, `_last_msg_in`, `_msgtime_mutex`, `_protocol`, `_handle_publish`, `_packet_queue`). What always holds: the
bytes on the wire are the same, a packet with anything uncommon in it goes paho's way, and a lost connection is read to
its last message.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import MQTTErrorCode

RECEIVE_BYTES = 65_536
PUBLISH, PUBACK = 0x30, 0x40
SHORTEST_PUBLISH_BYTES = 3
OnPlain = Callable[[bytes, bytes, int, int], None]


class BufferedSocket:
    """A plain or TLS socket that reads ahead; `pending` tells what is here although the socket shows nothing."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._ahead = memoryview(b"")
        self.close = raw.close
        self.fileno = raw.fileno
        self.setblocking = raw.setblocking
        self._pending_raw = getattr(raw, "pending", lambda: 0)

    def send(self, data: bytes) -> int:
        """Send what fits. A lost connection is told by `recv` alone, after all that had arrived: messages may lie there
        that a broker which was killed has acknowledged to the sensor and not saved, and paho would close over them."""
        try:
            return int(self._raw.send(data))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            return len(data)

    def look_ahead(self) -> bytes:
        """All that is here, read from the socket if there was nothing; as `recv`, but it is not taken yet."""
        if not self._ahead:
            self._ahead = memoryview(self._raw.recv(RECEIVE_BYTES))
        return bytes(self._ahead)

    def skip(self, size: int) -> None:
        """Take *size* bytes of what `look_ahead` gave."""
        self._ahead = self._ahead[size:]

    def recv(self, size: int) -> bytes:
        """Up to *size* bytes, empty at the end; raises what the socket raises."""
        if not self._ahead:
            self._ahead = memoryview(self._raw.recv(RECEIVE_BYTES))
        data = self._ahead[:size]
        self._ahead = self._ahead[size:]
        return bytes(data)

    def pending(self) -> int:
        """Bytes that can be read without waiting and that `select` does not see."""
        return len(self._ahead) or int(self._pending_raw())


def take_publishes(data: bytes, take: OnPlain, *, is_v5: bool) -> int:
    """Hand over the plain PUBLISH packets that *data* begins with; gives where the first other one begins.

    Other is all that `ThriftyClient` leaves to paho: another packet, QoS 2, properties, a length of more than two bytes
    (16 KiB; MQTT 5.0, 1.5.5), a packet without its end, and whatever is malformed (3.3).
    """
    start, size = 0, len(data)
    while size - start > SHORTEST_PUBLISH_BYTES and data[start] & 0xF4 == PUBLISH:
        header, length, body = data[start], data[start + 1], start + 2
        if length & 0x80:
            if not 0 < data[body] < 0x80:
                break
            length, body = length & 0x7F | data[body] << 7, body + 1
        end = body + length
        if length < SHORTEST_PUBLISH_BYTES or end > size:
            break
        topic = body + 2
        topic_end = topic + (data[body] << 8 | data[body + 1])
        payload = topic_end + (2 if header & 0x02 else 0) + (1 if is_v5 else 0)
        if topic_end == topic or payload > end or (is_v5 and data[payload - 1]):
            break
        packet_id = data[topic_end] << 8 | data[topic_end + 1] if header & 0x02 else 0
        take(data[topic:topic_end], data[payload:end], header, packet_id)
        start = end
    return start


class ThriftyClient(Client):
    """paho's client; see the module's docstring. *on_plain* takes topic, payload, first byte and packet id (0 without)
    of a PUBLISH of QoS 0 or 1 that has no properties; all others come to ``on_message`` as usual."""

    def __init__(self, on_plain: OnPlain, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._on_plain = on_plain

    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """All the plain PUBLISH packets that are here in one go; if there are none, one packet as paho reads it."""
        sock: Any = self._sock
        if sock is not None and self._in_packet["command"] == 0:  # between two packets
            try:
                taken = take_publishes(sock.look_ahead(), self._on_plain, is_v5=self._protocol == MQTTv5)
            except (BlockingIOError, ssl.SSLWantReadError):
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            except OSError:  # the end: paho tells why
                taken = 0
            if taken:
                sock.skip(taken)
                with self._msgtime_mutex:
                    self._last_msg_in = time.monotonic()
                return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super().loop_read(max_packets)

    def _handle_publish(self) -> MQTTErrorCode:
        header, packet = self._in_packet["command"], self._in_packet["packet"]
        topic_end = 2 + int.from_bytes(packet[:2], "big")
        body = topic_end + (2 if header & 0x06 else 0)  # MQTT 5.0, 3.3.2: topic, packet id, properties, payload
        if self._protocol == MQTTv5:
            body += 1
            plain = len(packet) >= body and packet[body - 1] == 0
        else:
            plain = len(packet) >= body
        if not plain or topic_end == 2 or header & 0x04:
            return super()._handle_publish()
        packet_id = int.from_bytes(packet[topic_end : topic_end + 2], "big") if header & 0x06 else 0
        self._on_plain(bytes(packet[2:topic_end]), bytes(packet[body:]), header, packet_id)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Queue the PUBACKs as one packet; success needs no reason code (MQTT 3.1.1 and 5.0, section 3.4)."""
        packets = b"".join(b"\x40\x02" + packet_id.to_bytes(2, "big") for packet_id in packet_ids)
        if packets:
            self._packet_queue(PUBACK, packets, 0, 0)
