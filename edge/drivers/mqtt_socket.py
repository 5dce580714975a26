"""paho's client made thrifty: many packets a read, many acknowledgements a write, no objects that nobody looks at.

As it comes, paho reads each packet with three system calls, makes seven objects of it and sends each PUBACK by itself,
which is two thirds of what a reading costs. This file alone touches paho's private parts (`_create_socket`,
`_in_packet`, `_handle_publish`, `_packet_queue`). What always holds: the bytes on the wire are the same, a packet
with anything uncommon in it goes paho's way, and a lost connection is read to its last message.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import MQTTErrorCode

RECEIVE_BYTES = 65_536
PUBACK = 0x40


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


class ThriftyClient(Client):
    """paho's client; see the module's docstring. *on_plain* takes topic, payload, first byte and packet id (0 without)
    of a PUBLISH of QoS 0 or 1 that has no properties; all others come to ``on_message`` as usual."""

    def __init__(self, on_plain: Callable[[bytes, bytes, int, int], None], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._on_plain = on_plain

    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())

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
