"""The key of this instance: seals what the record must not show, and signs what the centre itself journals.

One file of 32 random bytes (base64) in the data folder, for its owner alone, made at the first start; replicas of one
centre share it. Two keys are derived from it (HKDF-SHA-256, RFC 5869), so that neither tells the other.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from telemetry.signing import KeyFileError, Signer

FILE_NAME = "instance.key"
KEY_BYTES, NONCE_BYTES = 32, 12


class InstanceKey:
    """Seals (AES-256-GCM) and signs (Ed25519)."""

    def __init__(self, key: bytes) -> None:
        self._seal = AESGCM(_derive(key, b"brightline seal 1"))
        self.signer = Signer(Ed25519PrivateKey.from_private_bytes(_derive(key, b"brightline sign 1")))

    @classmethod
    def load(cls, data_dir: Path) -> InstanceKey:
        """The key in a data folder, made if there is none; raises KeyFileError."""
        path = data_dir / FILE_NAME
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _make(path)
        try:
            if path.stat().st_mode & 0o077:
                raise KeyFileError(f"{path}: others may read the key of the instance; run: chmod 600 {path}")
            key = base64.b64decode(path.read_text("ascii").strip(), validate=True)
        except (OSError, ValueError) as error:
            raise KeyFileError(f"{path}: cannot be read as the key of the instance") from error
        if len(key) != KEY_BYTES:
            raise KeyFileError(f"{path}: the key of the instance has {KEY_BYTES} bytes")
        return cls(key)

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Sealed bytes, which open for the same *purpose* only."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, plain, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes | None:
        """What was sealed; None if it was not sealed by this key for this purpose."""
        try:
            return self._seal.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError):
            return None


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, purpose).derive(key)


def _make(path: Path) -> None:
    """Whole or not at all; of two processes that start together the first one's stays."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(part)
        except FileExistsError:
            return
    finally:
        part.unlink()
