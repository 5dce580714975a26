"""Signed tree heads as checkpoints (C2SP tlog-checkpoint in a C2SP signed-note), so that witnesses can hold them.

The text that is signed: origin, size, root in base64, and the time as an extension line. A key in text, as the Go
checksum database writes them: ``name+hash+base64(0x01 ‖ key)``.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from telemetry.signing import PublicKey, Signer

ED25519 = b"\x01"
NOTE_CHARACTERS_MAX = 4096
ROOT_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9./_-]{1,120}")
_SIGNATURE = re.compile("— ([^ ]+) ([A-Za-z0-9+/=]+)")


class CheckpointWrong(Exception):
    """A text that is no checkpoint, or none that a known key signed."""


@dataclass(frozen=True)
class LogKey:
    """The public key of a log, by which its heads are known. The name is that of the log: its origin."""

    name: str
    key: PublicKey

    @classmethod
    def of(cls, key: PublicKey) -> LogKey:
        return cls(f"brightline/{sha256(key.raw).hexdigest()[:16]}", key)

    @classmethod
    def read(cls, text: str) -> LogKey:
        """From its text; raises ValueError."""
        name, _, rest = text.strip().partition("+")
        told, _, encoded = rest.partition("+")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raw = b""
        if not _NAME.fullmatch(name) or raw[:1] != ED25519 or len(raw) != 33:
            raise ValueError("a key of a log is name+hash+base64")
        key = cls(name, PublicKey(raw[1:]))
        if key.hash.hex() != told:
            raise ValueError("the hash in the key of the log is not its own")
        return key

    @property
    def hash(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + ED25519 + self.key.raw).digest()[:4]

    @property
    def text(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(ED25519 + self.key.raw).decode()}"


@dataclass(frozen=True)
class TreeHead:
    """How many leaves the log had at a moment, and the root over them."""

    origin: str
    size: int
    root: bytes
    at: datetime

    @property
    def body(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\n{self.at.astimezone(UTC).isoformat(timespec='seconds')}\n"

    def sign(self, signer: Signer) -> str:
        """The signed note."""
        key = LogKey.of(signer.public_key)
        signature = base64.b64encode(key.hash + signer.sign(self.body.encode())).decode()
        return f"{self.body}\n— {key.name} {signature}\n"


def open_checkpoint(note: str, keys: list[LogKey]) -> TreeHead:
    """The head that a note holds, if one of *keys* signed it; raises CheckpointWrong."""
    head, signatures = _parts(note)
    for line in signatures.splitlines():
        found = _SIGNATURE.fullmatch(line)
        if found is None:
            raise CheckpointWrong("has a line that is no signature")
        try:
            raw = base64.b64decode(found[2], validate=True)
        except binascii.Error:
            continue
        for key in keys:
            if key.name == found[1] and raw[:4] == key.hash and key.key.verify(raw[4:], head.body.encode()):
                return head
    raise CheckpointWrong("is not signed by a known key of the log")


def read_unverified(note: str) -> TreeHead:
    """What a note of this record says, to show it; whoever must rely on it asks `open_checkpoint`."""
    return _parts(note)[0]


def _parts(note: str) -> tuple[TreeHead, str]:
    body, divided, signatures = note.partition("\n\n")
    if not divided or len(note) > NOTE_CHARACTERS_MAX:
        raise CheckpointWrong("is no signed note")
    return _read_body(body + "\n"), signatures


def _read_body(body: str) -> TreeHead:
    try:
        origin, size, root, at = body.splitlines()
        head = TreeHead(origin, int(size), base64.b64decode(root, validate=True), datetime.fromisoformat(at))
    except (ValueError, binascii.Error) as error:
        raise CheckpointWrong("is no head of a log") from error
    if head.at.tzinfo is None or head.size < 0 or len(head.root) != ROOT_BYTES or head.body != body:
        raise CheckpointWrong("is no head of a log")  # what was signed is exactly what was read
    return head
