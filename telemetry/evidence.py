"""A picture that stands up as evidence: its manifest says what, where and when; the box signs both.

Frame: ``BLE1`` | u32 manifest length | u32 blob length | manifest JSON | Ed25519 signature over all before it | blob;
integers are big-endian. The manifest holds the blob's SHA-256, so the signature covers the picture as well.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from telemetry.batch import Sha256, sha256_hex
from telemetry.messages import Identifier, Message, Name, Text, UtcTime
from telemetry.signing import SIGNATURE_BYTES, PublicKey, Signer

MAGIC = b"BLE1"
MANIFEST_BYTES_MAX = 16 * 1024
BLOB_BYTES_MAX = 16 * 1024 * 1024
_LENGTHS = struct.Struct(">II")
_PREFIX_BYTES = len(MAGIC) + _LENGTHS.size


class EvidenceError(Exception):
    """Bytes that are no evidence of a known box. ``code``: malformed, too_large, unknown_box, signature, digest."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class EvidenceManifest(Message):
    """What the picture shows, without naming a person.

    ``previous_sha256`` is the digest of the signed part of the evidence before it from the same camera: whoever has one
    knows that there was another. It is None for a camera's first, and in evidence from before there were chains.
    ``clock_synced``: whether the box's clock was right by its own knowledge; None where nobody knows.
    """

    evidence_id: Identifier
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1, le=BLOB_BYTES_MAX)]
    media_type: Literal["image/jpeg", "video/mp4"]
    role: Literal["snapshot", "annotated", "clip"]
    incident_id: Identifier
    box_id: Identifier
    camera_id: Identifier
    place: Text
    taken_at: UtcTime
    kind: Identifier
    model_sha256: Sha256
    config_sha256: Sha256
    description: Text = ""
    zone: Name = ""
    clock_synced: bool | None = None
    previous_sha256: Sha256 | None = None


@dataclass(frozen=True)
class SealedEvidence:
    """Opened evidence; ``signed`` are the exact bytes that ``signature`` covers."""

    manifest: EvidenceManifest
    blob: bytes
    signed: bytes
    signature: bytes


def seal_evidence(manifest: EvidenceManifest, blob: bytes, signer: Signer) -> bytes:
    """The exact bytes of an evidence file."""
    if manifest.sha256 != sha256_hex(blob) or manifest.size_bytes != len(blob):
        raise ValueError("the manifest does not describe this blob")
    text = manifest.model_dump_json().encode()
    signed = MAGIC + _LENGTHS.pack(len(text), len(blob)) + text
    return signed + signer.sign(signed) + blob


def open_evidence(data: bytes, key_of: Callable[[str], PublicKey | None]) -> SealedEvidence:
    """Verify and read an evidence file; raises EvidenceError."""
    if len(data) < _PREFIX_BYTES or not data.startswith(MAGIC):
        raise EvidenceError("malformed", "evidence starts with BLE1 and two lengths")
    text_bytes, blob_bytes = _LENGTHS.unpack(data[len(MAGIC) : _PREFIX_BYTES])
    if text_bytes > MANIFEST_BYTES_MAX or blob_bytes > BLOB_BYTES_MAX:
        raise EvidenceError("too_large", f"evidence has at most {BLOB_BYTES_MAX} bytes")
    signed_end = _PREFIX_BYTES + text_bytes
    blob_start = signed_end + SIGNATURE_BYTES
    if len(data) != blob_start + blob_bytes:
        raise EvidenceError("malformed", "the lengths do not add up to the file")
    signed, signature, blob = data[:signed_end], data[signed_end:blob_start], data[blob_start:]
    manifest = verify_manifest(signed, signature, key_of)
    if manifest.size_bytes != len(blob) or manifest.sha256 != sha256_hex(blob):
        raise EvidenceError("digest", "the picture is not the one that the manifest describes")
    return SealedEvidence(manifest, blob, signed, signature)


def verify_manifest(signed: bytes, signature: bytes, key_of: Callable[[str], PublicKey | None]) -> EvidenceManifest:
    """Check a stored manifest on its own; raises EvidenceError."""
    try:
        manifest = EvidenceManifest.model_validate_json(signed[_PREFIX_BYTES:])
    except ValidationError as error:
        raise EvidenceError("malformed", f"manifest: {error.errors()[0]['msg']}") from error
    key = key_of(manifest.box_id)
    if key is None:
        raise EvidenceError("unknown_box", f"no box {manifest.box_id} is enrolled here")
    if not key.verify(signature, signed):
        raise EvidenceError("signature", f"the signature of box {manifest.box_id} does not fit this manifest")
    return manifest
