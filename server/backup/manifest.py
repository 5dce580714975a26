"""What a backup consists of: one signed list of files and blobs, each by its SHA-256. No secret is in it.

``manifest.json`` is written last and signed by the centre's key (``manifest.sig``: the key in text, and the signature).
Files carry the beginning of their digest in their name, so a backup that is cut short leaves the one before it whole.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.merkle.checkpoint import LogKey
from telemetry.signing import Signer

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
MANIFEST_BYTES_MAX = 1024 * 1024
CHUNK_BYTES = 1024 * 1024
CONTEXT = b"brightline backup\n"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# a plain name: nothing that a backup says leads out of its folder
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}$")]


class BackupDamaged(ValueError):
    """A backup that is not what was signed; the message names the file."""


class BackupFile(BaseModel):
    """A file in the backup's folder; ``name`` is what it is called in the data folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Name
    name: Name
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class Manifest(BaseModel):
    """``blob_list`` has a line ``sha256 size`` for every blob; ``lost`` are those that were missing at the time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["brightline-backup-1"] = "brightline-backup-1"
    at: datetime
    database: Literal["sqlite", "postgresql"]
    record: BackupFile
    blob_list: BackupFile
    files: list[BackupFile]
    lost: list[Sha256]


def write_manifest(folder: Path, manifest: Manifest, signer: Signer) -> None:
    """Make *manifest* the one that counts."""
    raw = manifest.model_dump_json(indent=1).encode()
    signature = base64.b64encode(signer.sign(CONTEXT + raw)).decode()
    write_whole(folder / SIGNATURE, f"{LogKey.of(signer.public_key).text}\n{signature}\n".encode())
    write_whole(folder / MANIFEST, raw)


def read_manifest(folder: Path, trusted: list[LogKey] | None) -> tuple[Manifest, LogKey]:
    """The manifest, if its signature holds, and whose it is; raises BackupDamaged. None trusts any key."""
    try:
        if (folder / MANIFEST).stat().st_size > MANIFEST_BYTES_MAX:
            raise BackupDamaged(f"{MANIFEST} has more than {MANIFEST_BYTES_MAX} bytes")
        raw = (folder / MANIFEST).read_bytes()
        told, _, rest = (folder / SIGNATURE).read_text("ascii").partition("\n")
        key, signature = LogKey.read(told), base64.b64decode(rest.strip(), validate=True)
    except (FileNotFoundError, UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise BackupDamaged(f"{folder} holds no backup that was finished ({error})") from None
    if trusted is not None and key not in trusted:
        raise BackupDamaged(f"{MANIFEST} was signed by {key.name}, which is not among the public keys")
    if not key.key.verify(signature, CONTEXT + raw):
        raise BackupDamaged(f"{MANIFEST} is not the one that was signed")
    try:
        return Manifest.model_validate_json(raw), key
    except ValidationError:
        raise BackupDamaged(f"{MANIFEST} is of another version") from None


def check_file(folder: Path, file: BackupFile) -> Path:
    """The path of a file whose content is as it was signed; raises BackupDamaged."""
    path = folder / file.file
    try:
        sha256, size_bytes = digest_of_file(path)
    except FileNotFoundError:
        raise BackupDamaged(f"{file.file} is missing") from None
    if (sha256, size_bytes) != (file.sha256, file.size_bytes):
        raise BackupDamaged(f"{file.file} was changed")
    return path


def digest_of_file(path: Path) -> tuple[str, int]:
    """SHA-256 in hex and size; reads in pieces."""
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return digest.hexdigest(), size_bytes


def read_blob_list(path: Path) -> Iterator[tuple[str, int]]:
    """Digest and size of every blob; the list was checked already."""
    with path.open(encoding="ascii") as lines:
        for line in lines:
            sha256, size_bytes = line.split()
            yield sha256, int(size_bytes)


def write_whole(path: Path, data: bytes) -> None:
    """A file that is there whole or not at all, for its owner alone, synced."""
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
