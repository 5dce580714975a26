"""Which messages are on disk although the broker may not know it yet, so that its repeats are not recorded twice.

The digests are committed with the readings, in slots, so that a commit writes only the newest ones. A repeat is told
by the DUP flag and the digest of packet id, topic and payload: a resent message keeps its id (MQTT 5.0, 4.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from edge.drivers.mqtt_inbox import Message

SLOT_DIGESTS = 256
DIGEST_BYTES = 8


def digest(message: Message) -> str:
    """16 hexadecimal digits."""
    content = message.mid.to_bytes(2) + message.topic.encode() + b"\0" + message.payload
    return blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


class TakenMessages:
    """The newest *count* committed messages of one session, give or take a slot."""

    def __init__(self, prefix: str, count: int, saved: Mapping[str, str]) -> None:
        self._prefix = prefix
        self._slots = [
            saved.get(f"{prefix}{number}", "").split() for number in range(count // SLOT_DIGESTS + 2)
        ]  # fmt: skip
        newest = int(saved.get(f"{prefix}newest", "0"))
        self._newest = newest if newest < len(self._slots) else 0
        self._known = {item for slot in self._slots for item in slot}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def add(self, names: Iterable[str]) -> dict[str, str | None]:
        """Remember *names*; gives the states to commit with the readings they stand for."""
        state: dict[str, str | None] = {}
        for name in names:
            if len(self._slots[self._newest]) >= SLOT_DIGESTS:
                state |= self._slot_state()
                self._newest = (self._newest + 1) % len(self._slots)
                self._known.difference_update(self._slots[self._newest])
                self._slots[self._newest] = []
                state[f"{self._prefix}newest"] = str(self._newest)
            self._slots[self._newest].append(name)
            self._known.add(name)
        return state | self._slot_state()

    def _slot_state(self) -> dict[str, str | None]:
        return {f"{self._prefix}{self._newest}": " ".join(self._slots[self._newest])}
