"""Checks evidence files offline: whoever has a file and the box's public key needs nothing else of Brightline.

An independent reading of the format (`telemetry.evidence` writes it): ``BLE1`` | u32 manifest length | u32 blob
length | manifest JSON | Ed25519 signature over all before it | blob, big-endian. The manifest holds the blob's SHA-256
and size, and the SHA-256 of the signed part of the evidence before it, so that a missing one shows.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAGIC = b"BLE1"
LENGTHS = struct.Struct(">II")
SIGNATURE_BYTES = 64
FILE_BYTES_MAX = 64 * 1024 * 1024
SHOWN = ("evidence_id", "incident_id", "kind", "zone", "role", "box_id", "camera_id", "place", "taken_at",
         "frames", "clock_synced", "clock_error_ms", "model_sha256", "config_sha256", "description", "box_shares",
         "tier", "faces", "sha256", "original_sha256", "original_role", "sealed_to")  # fmt: skip


def read_key(text: str) -> Ed25519PublicKey:
    """The key in *text* or in the file that it names: 32 bytes in base64. Raises ValueError."""
    path = Path(text)
    try:
        data = path.read_text("ascii").strip() if path.is_file() else text
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(data, validate=True))
    except (OSError, UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise ValueError("--public-key is neither 32 bytes in base64 nor a file that holds them") from error


def verify_files(paths: Sequence[Path], key: Ed25519PublicKey) -> dict[str, Any]:
    """For each file its problem (empty: genuine) and what it shows; ``missing``: digests that a file follows."""
    rows = [_verify(path, key) for path in paths]
    known = {row["signed_sha256"] for row in rows if not row["problem"]}
    follows = {row["previous_sha256"] for row in rows if not row["problem"] and row["previous_sha256"]}
    return {"genuine": all(not row["problem"] for row in rows), "files": rows, "missing": sorted(follows - known)}


def _verify(path: Path, key: Ed25519PublicKey) -> dict[str, Any]:
    row: dict[str, Any] = {"file": str(path), "problem": "", "signed_sha256": None, "previous_sha256": None}
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ValueError(f"has more than {FILE_BYTES_MAX} bytes")
        manifest, signed = open_file(path.read_bytes(), key)
    except OSError as error:
        return {**row, "problem": f"cannot be read: {error.strerror}"}
    except ValueError as error:
        return {**row, "problem": str(error)}
    return {
        **row,
        "signed_sha256": hashlib.sha256(signed).hexdigest(),
        "previous_sha256": manifest.get("previous_sha256"),
        "shows": {name: manifest.get(name) for name in SHOWN},
    }


@dataclass(frozen=True)
class Parts:
    """The parts of an evidence file; ``signed`` is prefix and manifest, to which ``signature`` belongs."""

    signed: bytes
    signature: bytes
    blob: bytes


def read_file(data: bytes) -> Parts:
    """Take an evidence file apart, unchecked; raises ValueError when it is none."""
    prefix_bytes = len(MAGIC) + LENGTHS.size
    if len(data) < prefix_bytes or not data.startswith(MAGIC):
        raise ValueError("is no evidence file: it does not start with BLE1 and two lengths")
    text_bytes, blob_bytes = LENGTHS.unpack(data[len(MAGIC) : prefix_bytes])
    signed_end = prefix_bytes + text_bytes
    if len(data) != signed_end + SIGNATURE_BYTES + blob_bytes:
        raise ValueError("was cut or extended: its lengths do not add up")
    blob_start = signed_end + SIGNATURE_BYTES
    return Parts(data[:signed_end], data[signed_end:blob_start], data[blob_start:])


def open_file(data: bytes, key: Ed25519PublicKey | None) -> tuple[dict[str, Any], bytes]:
    """The manifest of an evidence file, and its exact signed bytes; raises ValueError with what is wrong.

    Without *key* the signature is not checked, only that the picture is the one that the manifest describes.
    """
    parts = read_file(data)
    signed, blob = parts.signed, parts.blob
    if key is not None:
        try:
            key.verify(parts.signature, signed)
        except InvalidSignature:
            raise ValueError("was not signed by this box, or was altered after it") from None
    manifest = json.loads(signed[len(MAGIC) + LENGTHS.size :])
    if not isinstance(manifest, dict):
        raise ValueError("its manifest is no object")
    if manifest.get("size_bytes") != len(blob) or manifest.get("sha256") != hashlib.sha256(blob).hexdigest():
        raise ValueError("its picture is not the one that its manifest describes")
    return manifest, signed
