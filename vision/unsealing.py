"""Keys of a regulator, and opening what a box sealed to them: age (age-encryption.org/v1), X25519.

A sealed file is an evidence file whose picture is encrypted; its manifest names the SHA-256 of the plain original, so
whoever opens it can prove that it is the very picture that the shared copies, signed by the same box, were made from.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vision.evidence_file import FILE_BYTES_MAX, open_file, read_file

KEY_BYTES_MAX = 4096
SUFFIX = {"original": ".jpg", "clip": ".mp4"}


def make_key(path: Path) -> str:
    """Write a new private key for its owner alone; gives the public key. Raises OSError, also for an old file."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    public_key = str(identity.to_public())
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"# public key: {public_key}\n{identity}\n")
        file.flush()
        os.fsync(file.fileno())
    return public_key


def read_identity(path: Path) -> Any:
    """The private key in *path*, as `make_key` or age-keygen writes it. Raises OSError or ValueError."""
    from pyrage import IdentityError, x25519

    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ValueError(f"{path}: others may read the key; run: chmod 600 {path}")
    if status.st_size > KEY_BYTES_MAX:
        raise ValueError(f"{path}: is no age key")
    try:
        lines = [line.strip() for line in path.read_text("ascii").splitlines()]
        (text,) = [line for line in lines if line and not line.startswith("#")]
        return x25519.Identity.from_str(text)
    except (IdentityError, ValueError) as error:
        raise ValueError(f"{path}: is no age key; it is one line AGE-SECRET-KEY-1…") from error


def unseal(file: Path, key_file: Path, folder: Path, box_key: Ed25519PublicKey | None) -> dict[str, Any]:
    """Open *file* into *folder* and say what it is. Without *box_key* the box's signature is not checked.

    Raises ValueError when it is no sealed evidence, was altered, is for another key, or holds something else than its
    manifest says; then nothing is written. Raises OSError.
    """
    from pyrage import DecryptError, decrypt

    if file.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"{file}: has more than {FILE_BYTES_MAX} bytes")
    data = file.read_bytes()
    try:
        manifest, sealed = open_file(data, box_key)[0], read_file(data).blob
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if manifest.get("role") != "sealed":
        raise ValueError(f"{file}: is evidence, but not sealed (its role is {manifest.get('role')})")
    try:
        original = bytes(decrypt(sealed, [read_identity(key_file)]))
    except DecryptError as error:
        recipients = ", ".join(map(str, manifest.get("sealed_to") or ()))
        raise ValueError(f"{file}: this key does not open it; it was sealed to {recipients}") from error
    digest = hashlib.sha256(original).hexdigest()
    if digest != manifest.get("original_sha256"):
        raise ValueError(f"{file}: what was sealed is not the original that its manifest names")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (digest + SUFFIX.get(str(manifest.get("original_role")), ".bin"))
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(original)
    return {
        "file": str(file),
        "original": str(target),
        "signature": "genuine" if box_key else "not checked",
        **manifest,
    }
