"""Which messages are on disk although the broker may not know it yet, so that its repeats are not recorded twice.

The digests are committed with the readings, in slots, so that a commit writes only the newest ones. A repeat is told
by the DUP flag and the digest of packet id, topic and payload: a resent message keeps its id (MQTT 5.0, 4.4).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
        numbers = range(count // SLOT_DIGESTS + 2)
        self._slots = [saved.get(f"{prefix}{number}", "").split() for number in numbers]
        newest = int(saved.get(f"{prefix}newest", "0"))
        self._newest = newest if newest < len(self._slots) else 0
        self._known = {item for slot in self._slots for item in slot}
        self._before: tuple[int, dict[int, list[str]]] = (self._newest, {})

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def add(self, names: Collection[str]) -> dict[str, str | None]:
        """Remember *names*; gives the states to commit with the readings they stand for."""
        state: dict[str, str | None] = {}
        self._before = (self._newest, {self._newest: list(self._slots[self._newest])})
        for name in names:
            if len(self._slots[self._newest]) >= SLOT_DIGESTS:
                state |= self._slot_state(self._newest)
                self._newest = (self._newest + 1) % len(self._slots)
                self._before[1].setdefault(self._newest, list(self._slots[self._newest]))
                self._known.difference_update(self._slots[self._newest])
                self._slots[self._newest] = []
                state[f"{self._prefix}newest"] = str(self._newest)
            self._slots[self._newest].append(name)
            self._known.add(name)
        return state | self._slot_state(self._newest) if names else state

    def undo(self) -> dict[str, str | None]:
        """Forget the last `add`: its readings were not kept after all; gives the states to commit."""
        self._newest, slots = self._before
        state: dict[str, str | None] = {f"{self._prefix}newest": str(self._newest)}
        for number, slot in slots.items():
            self._slots[number] = slot
            state |= self._slot_state(number)
        self._known = {item for slot in self._slots for item in slot}
        return state

    def _slot_state(self, number: int) -> dict[str, str | None]:
        return {f"{self._prefix}{number}": " ".join(self._slots[number])}
