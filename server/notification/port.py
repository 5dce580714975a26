"""The port of everything that carries a message to a person, and the words for what can go wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

Reason = Literal["unreachable", "refused", "gone", "bad_address", "not_set_up", "forbidden_address"]


@dataclass(frozen=True)
class Message:
    """What is sent. ``thread`` is the same for all messages on one fault; ``link`` may be only a path."""

    idempotency_key: str
    thread: str
    subject: str
    body: str
    link: str = ""
    urgent: bool = False


@dataclass(frozen=True)
class Recipient:
    """Where it goes. The address is a secret and is not shown when this object is."""

    kind: str
    address: str = field(repr=False)


class Undelivered(Exception):
    """It did not arrive. ``final``: trying again is useless. No text from outside is in it: that may hold secrets."""

    def __init__(self, reason: Reason, *, final: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.retry_after_s = retry_after_s


class Notifier(Protocol):
    """Carries messages of some kinds. Both methods may be called from any thread."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of recipients that it serves here."""
        ...

    def check(self, given: str, kind: str) -> tuple[str, str]:
        """The address as it is kept, and what may be shown of it; raises ValueError without the address in it."""
        ...

    def send(self, message: Message, recipient: Recipient) -> None:
        """Hand it over, within a bounded time; returns when the other side has taken it. Raises Undelivered."""
        ...
