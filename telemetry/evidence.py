"""A picture that stands up as evidence: its manifest says what, where and when; the box signs both.

Frame: ``BLE1`` | u32 manifest length | u32 blob length | manifest JSON | Ed25519 signature over all before it | blob;
integers are big-endian. The manifest holds the blob's SHA-256, so the signature covers the picture as well.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from telemetry.batch import Sha256, sha256_hex
from telemetry.messages import Identifier, Message, Name, Text, UtcTime
from telemetry.signing import SIGNATURE_BYTES, PublicKey, Signer

MAGIC = b"BLE1"
MANIFEST_BYTES_MAX = 16 * 1024
BLOB_BYTES_MAX = 16 * 1024 * 1024
RECIPIENTS_MAX = 16
MediaType = Literal["image/jpeg", "video/mp4", "application/age-encryption"]
Role = Literal["snapshot", "annotated", "film", "sealed", "original", "clip"]
Share = Annotated[float, Field(ge=0, le=1)]
AgeRecipient = Annotated[str, Field(pattern=r"^age1[02-9ac-hj-np-z]{58}$")]  # X25519, age-encryption.org/v1
_LENGTHS = struct.Struct(">II")
_PREFIX_BYTES = len(MAGIC) + _LENGTHS.size


class EvidenceError(Exception):
    """Bytes that are no evidence of a known box. ``code``: malformed, too_large, unknown_box, signature, digest."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class FrameTimes(Message):
    """When the first and the last picture of a film were taken, and how many there are."""

    first_at: UtcTime
    last_at: UtcTime
    count: Annotated[int, Field(ge=1)]


class EvidenceManifest(Message):
    """What the picture shows, without naming a person: the five elements (五定) are time (``taken_at``, ``frames``, the
    clock's state), place (``place``, ``zone``, ``camera_id``), matter (``kind``, ``tier``), scene (``description``,
    ``box_shares``) and, instead of a person, what judged it (``box_id``, model and configuration).

    Roles: ``annotated``, ``snapshot`` and ``film`` are for sharing, their ``faces`` hidden or not as it says;
    ``original`` and ``clip`` (the camera's own packets) stay on the box; ``sealed`` is one of those two, encrypted to
    ``sealed_to``. ``original_sha256`` is the digest of the plain original that a shared or sealed file was made from:
    whoever opens the sealed one can prove that it is what the shared one shows. The film of a camera
    with masks has none: what it was made from is not kept.

    ``previous_sha256`` is the digest of the signed part of the evidence before it in the same chain: whoever has one
    knows that there was another. A camera has one chain of what leaves the box and one of what stays. None for the
    first, and in evidence from before there were chains.
    ``clock_synced``: whether the box's clock was right by its own knowledge, None where nobody knows; if it was not, a
    ``clock_corrected`` event of the same ``boot_id`` says what to add. ``clock_error_ms``: at most, by the kernel.
    ``box_shares``: where in the picture, as left, top, right, bottom in shares of its width and height.
    """

    evidence_id: Identifier
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1, le=BLOB_BYTES_MAX)]
    media_type: MediaType
    role: Role
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
    tier: Literal["I", "II", "III"] | None = None
    faces: Literal["blurred", "none_found", "not_checked"] | None = None
    frames: FrameTimes | None = None
    box_shares: tuple[Share, Share, Share, Share] | None = None
    boot_id: Name | None = None
    clock_error_ms: Annotated[int, Field(ge=0)] | None = None
    original_sha256: Sha256 | None = None
    original_role: Literal["original", "clip"] | None = None
    sealed_to: Annotated[tuple[AgeRecipient, ...], Field(max_length=RECIPIENTS_MAX)] = ()


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


def manifest_in(signed: bytes) -> EvidenceManifest:
    """The manifest in a file's signed part, **not verified**; raises EvidenceError for what is none."""
    try:
        return EvidenceManifest.model_validate_json(signed[_PREFIX_BYTES:])
    except ValidationError as error:
        raise EvidenceError("malformed", f"manifest: {error.errors()[0]['msg']}") from error


def read_manifest(path: Path) -> tuple[EvidenceManifest, int]:
    """The manifest of a file as it stands there, **not verified**, and the length of its signed part in bytes.

    Reads nothing of the picture. Raises OSError, or EvidenceError for what is no evidence.
    """
    with path.open("rb") as file:
        prefix = file.read(_PREFIX_BYTES)
        if len(prefix) < _PREFIX_BYTES or not prefix.startswith(MAGIC):
            raise EvidenceError("malformed", "evidence starts with BLE1 and two lengths")
        text_bytes = _LENGTHS.unpack(prefix[len(MAGIC) :])[0]
        signed = prefix + file.read(min(text_bytes, MANIFEST_BYTES_MAX))
    return manifest_in(signed), len(signed)


def verify_manifest(signed: bytes, signature: bytes, key_of: Callable[[str], PublicKey | None]) -> EvidenceManifest:
    """Check a stored manifest on its own; raises EvidenceError."""
    manifest = manifest_in(signed)
    key = key_of(manifest.box_id)
    if key is None:
        raise EvidenceError("unknown_box", f"no box {manifest.box_id} is enrolled here")
    if not key.verify(signature, signed):
        raise EvidenceError("signature", f"the signature of box {manifest.box_id} does not fit this manifest")
    return manifest
