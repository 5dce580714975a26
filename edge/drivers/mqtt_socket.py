"""paho's client with fewer system calls: many packets a read, many acknowledgements a write.

As it comes, paho reads each packet with three calls and sends each PUBACK by itself, which is half of what a reading
costs. This file alone touches paho's private parts (`_create_socket`, `_packet_queue`). What always holds is that the
bytes on the wire are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paho.mqtt.client import Client

RECEIVE_BYTES = 65_536
PUBACK = 0x40


class BufferedSocket:
    """A plain or TLS socket that reads ahead; `pending` tells what is here although the socket shows nothing."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._ahead = memoryview(b"")
        self.send = raw.send
        self.close = raw.close
        self.fileno = raw.fileno
        self.setblocking = raw.setblocking
        self._pending_raw = getattr(raw, "pending", lambda: 0)

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
    """paho's client; see the module's docstring."""

    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Queue the PUBACKs as one packet; success needs no reason code (MQTT 3.1.1 and 5.0, section 3.4)."""
        packets = b"".join(b"\x40\x02" + packet_id.to_bytes(2, "big") for packet_id in packet_ids)
        if packets:
            self._packet_queue(PUBACK, packets, 0, 0)
