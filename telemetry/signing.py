"""Ed25519 keys (RFC 8032) of boxes: whoever holds the public key can check every byte a box sent.

A private key lives in one file that only its owner can read; it is written nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_BYTES = 64


class KeyFileError(Exception):
    """A key file that is missing, malformed or readable by others; the message says which and what to do."""


@dataclass(frozen=True)
class PublicKey:
    """The public half of a box key."""

    raw: bytes

    @classmethod
    def from_b64(cls, text: str) -> PublicKey:
        """Read 32 raw bytes in base64; raises ValueError."""
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError("the public key is not base64") from error
        if len(raw) != 32:
            raise ValueError(f"an Ed25519 public key has 32 bytes, not {len(raw)}")
        return cls(raw)

    @property
    def b64(self) -> str:
        return base64.b64encode(self.raw).decode()

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether *signature* was made over exactly *data* by this key's owner."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class KeyHistory(PublicKey):
    """A box's key with those before it, the newest first: what any of them signed is its word.

    For what is on record or on the box itself; at the centre's door more is asked of the older ones.
    """

    older: tuple[PublicKey, ...] = ()

    def verify(self, signature: bytes, data: bytes) -> bool:
        return self.position(signature, data) is not None

    def position(self, signature: bytes, data: bytes) -> int | None:
        """How many keys came after the one that signed; None if it was none of them."""
        if PublicKey.verify(self, signature, data):
            return 0
        return next((place for place, key in enumerate(self.older, 1) if key.verify(signature, data)), None)


def read_replaced(key_file: Path) -> tuple[PublicKey, ...]:
    """The public keys before the one in *key_file*; raises KeyFileError."""
    path = replaced_file(key_file)
    try:
        return tuple(PublicKey.from_b64(line) for line in path.read_text("ascii").split())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{path}: cannot be read as public keys, one a line ({error})") from error


def replaced_file(key_file: Path) -> Path:
    """Where the public halves of the keys before the one in *key_file* are kept: one a line, the newest first."""
    return key_file.with_name(f"{key_file.name}.replaced")


class Signer:
    """The private key of a box. ``public_key`` is a `KeyHistory` once there was another key before it."""

    def __init__(self, key: Ed25519PrivateKey, older: tuple[PublicKey, ...] = ()) -> None:
        self._key = key
        raw = key.public_key().public_bytes_raw()
        before = tuple(public for public in older if public.raw != raw)
        self.public_key = KeyHistory(raw, before) if before else PublicKey(raw)

    @classmethod
    def generate(cls) -> Signer:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Signer:
        """Read a key file (32 raw bytes in base64) and what came before that key; raises KeyFileError."""
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"{path}: cannot read the box key ({error}); enrol the box") from error
        if stat.S_IMODE(mode) & 0o077:
            raise KeyFileError(f"{path}: others may read the box key; run: chmod 600 {path}")
        try:
            key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.strip(), validate=True))
        except ValueError as error:
            raise KeyFileError(f"{path}: not an Ed25519 key; enrol the box again") from error
        return cls(key, read_replaced(path))

    def save(self, path: Path) -> None:
        """Write the key for its owner alone, whole or not at all; raises FileExistsError rather than replace a key."""
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # a process that was killed may leave one
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.text)
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(part)  # unlike a rename, it never replaces
        finally:
            part.unlink()

    @property
    def text(self) -> bytes:
        """What a key file holds: a secret."""
        return base64.b64encode(self._key.private_bytes_raw()) + b"\n"

    @property
    def public_key_b64(self) -> str:
        return self.public_key.b64

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)
