"""Evidence of one camera: each file is described, signed and on disk before anybody is told of the incident.

A description names place, time, kind and scene, never a person. What leaves the box shows no faces, or is sealed to the
regulator; the plain originals stay. Each file names the digest of the one before it in its chain (one chain of what
leaves, one of what stays), also over a restart; should the power go between the files of an incident and the note of
them, the next ones follow the same one again and none is lost.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from edge.camera_task import CameraTask
from edge.clock import boot_id, clock_error_ms, clock_synced
from edge.evidence_folder import EvidenceFolder, StorageFull
from edge.evidence_sealing import seal_to
from telemetry.batch import sha256_hex
from telemetry.evidence import BLOB_BYTES_MAX, EvidenceManifest, FrameTimes, MediaType, Role, seal_evidence
from telemetry.signing import SIGNATURE_BYTES, Signer
from telemetry.spool import EvidenceSpool, set_aside, write_whole

logger = logging.getLogger(__name__)
INCIDENTS_KEPT_MAX = 64  # whose digests are remembered until their clip comes
_SHA256 = re.compile(r"^[0-9a-f]{64}$")
Faces = Literal["blurred", "none_found", "not_checked"]
Tier = Literal["I", "II", "III"]
MEDIA: dict[Role, MediaType] = {"clip": "video/mp4", "film": "video/mp4", "sealed": "application/age-encryption"}
STAYS: tuple[Role, ...] = ("original", "clip")


@dataclass(frozen=True)
class Subject:
    """What the files of one incident show. ``box``: where in the picture, in shares of its size."""

    incident_id: str
    kind: str
    at: datetime
    model_sha256: str
    description: str
    zone: str = ""
    tier: Tier | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Pictures:
    """JPEGs of one moment: as the camera saw it, and the two for sharing with ``faces`` hidden or not."""

    original: bytes
    snapshot: bytes
    annotated: bytes
    faces: Faces


@dataclass
class Kept:
    """``evidence``: digests of what waits for its upload; ``missing``: what could not be kept, with the reason."""

    evidence: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Extra:
    """What not every role has."""

    faces: Faces | None = None
    frames: FrameTimes | None = None
    original_sha256: str | None = None
    original_role: Literal["original", "clip"] | None = None
    sealed_to: tuple[str, ...] = ()


class EvidenceDesk:
    """Signs what it is given and puts it where it belongs; for any thread."""

    def __init__(self, task: CameraTask, signer: Signer, spool: EvidenceSpool, folder: EvidenceFolder) -> None:
        self._task = task
        self._signer = signer
        self._spool = spool
        self.folder = folder
        self._lock = threading.Lock()
        settings = task.camera.model_dump(mode="json", exclude={"source", "sub_source"})
        name = f"{task.camera.id}.chain"
        self._leaving = EvidenceChain(task.spool_dir / name, signer)
        self._staying = EvidenceChain(folder.folder / name, signer)
        self._kept: dict[str, list[str]] = {}
        self._full = self._full_told = False
        self._config_sha256 = sha256_hex(json.dumps(settings, sort_keys=True).encode())

    def of_incident(self, incident_id: str) -> list[str]:
        """The digests of what this process put into the spool of one of its last incidents."""
        return list(self._kept.get(incident_id, ()))

    def storage_changes(self) -> Iterator[Literal["storage_full", "storage_has_room"]]:
        """When originals can no longer be kept, and when they can again: once each."""
        if self._full != self._full_told:
            self._full_told = self._full
            yield "storage_full" if self._full else "storage_has_room"

    def keep_pictures(self, pictures: Pictures, subject: Subject) -> Kept:
        """Keep the pictures of an incident. What finds no room is named in ``missing``; the incident goes on."""
        kept = Kept()
        original = sha256_hex(pictures.original)
        made_from = _Extra(faces=pictures.faces, original_sha256=original, original_role="original")
        with self._keeping(subject, kept) as keep:
            keep("annotated", pictures.annotated, made_from)
            keep("snapshot", pictures.snapshot, made_from)
            self._keep_original("original", pictures.original, None, keep)
        return kept

    def keep_look(self, pictures: Pictures, subject: Subject) -> Kept:
        """Keep what somebody asked to see: the picture with hidden faces, and the original."""
        kept = Kept()
        original = sha256_hex(pictures.original)
        with self._keeping(subject, kept) as keep:
            made_from = _Extra(faces=pictures.faces, original_sha256=original, original_role="original")
            keep("snapshot", pictures.snapshot, made_from)
            self._keep_original("original", pictures.original, None, keep)
        return kept

    def keep_clip(self, clip_mp4: bytes, frames: FrameTimes, subject: Subject) -> Kept:
        """Keep an incident's film as the camera sent it: on the box, and sealed for the regulator if there is a key."""
        kept = Kept()
        with self._keeping(subject, kept) as keep:
            self._keep_original("clip", clip_mp4, frames, keep)
        return kept

    def keep_film(
        self, film_mp4: bytes, faces: Faces, frames: FrameTimes, clip_sha256: str | None, subject: Subject
    ) -> Kept:
        """Keep the small film with hidden faces that was made of the clip, which itself is not kept when None."""
        kept = Kept()
        with self._keeping(subject, kept) as keep:
            keep("film", film_mp4, _Extra(faces, frames, clip_sha256, "clip" if clip_sha256 else None))
        return kept

    def _keep_original(
        self,
        role: Literal["original", "clip"],
        blob: bytes,
        frames: FrameTimes | None,
        keep: Callable[[Role, bytes, _Extra], None],
    ) -> None:
        keep(role, blob, _Extra(frames=frames))
        if recipients := self._task.evidence.sealed_to:
            extra = _Extra(None, frames, sha256_hex(blob), role, recipients)
            keep("sealed", seal_to(blob, recipients), extra)

    @contextmanager
    def _keeping(self, subject: Subject, kept: Kept) -> Iterator[Callable[[Role, bytes, _Extra], None]]:
        """Files of one incident, then one note of each chain."""

        def keep(role: Role, blob: bytes, extra: _Extra) -> None:
            try:
                self._keep(role, blob, extra, subject, kept)
            except (StorageFull, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                kept.missing.append(f"{role}: {reason}"[:200])
                if role in STAYS:
                    self._full = True
                logger.warning("camera %s: no %s of %s: %s", self._task.camera.id, role, subject.incident_id, reason)

        with self._lock:
            yield keep
            for chain in (self._leaving, self._staying):
                chain.save()

    def _keep(self, role: Role, blob: bytes, extra: _Extra, subject: Subject, kept: Kept) -> None:
        chain = self._staying if role in STAYS else self._leaving
        manifest = self._manifest(role, blob, extra, subject, chain.last)
        sealed = seal_evidence(manifest, blob, self._signer)
        if role in STAYS:
            self.folder.put(sealed, manifest.sha256, subject.incident_id)
            self._full = False
        else:
            self._send(sealed, manifest.sha256)
            kept.evidence.append(manifest.sha256)
            self._kept.setdefault(subject.incident_id, []).append(manifest.sha256)
            while len(self._kept) > INCIDENTS_KEPT_MAX:
                del self._kept[next(iter(self._kept))]
        chain.add(sealed[: len(sealed) - len(blob) - SIGNATURE_BYTES])

    def _send(self, sealed: bytes, sha256: str) -> None:
        try:
            self._spool.put(sealed, sha256)
        except OSError:
            # What leaves is worth more than old originals that nobody holds, and than the room kept free for it.
            self.folder.make_room(len(sealed), free_bytes_min=0)
            self._spool.put(sealed, sha256)

    def _manifest(
        self, role: Role, blob: bytes, extra: _Extra, subject: Subject, previous: str | None
    ) -> EvidenceManifest:
        if len(blob) > BLOB_BYTES_MAX:
            raise StorageFull(f"it has more than {BLOB_BYTES_MAX} bytes")
        return EvidenceManifest(
            evidence_id=uuid.uuid4().hex,
            sha256=sha256_hex(blob),
            size_bytes=len(blob),
            media_type=MEDIA.get(role, "image/jpeg"),
            role=role,
            incident_id=subject.incident_id,
            box_id=self._task.box_id,
            camera_id=self._task.camera.id,
            place=self._task.camera.place,
            taken_at=subject.at,
            kind=subject.kind,
            model_sha256=subject.model_sha256,
            config_sha256=self._config_sha256,
            description=subject.description,
            zone=subject.zone,
            clock_synced=clock_synced(),
            previous_sha256=previous,
            tier=subject.tier,
            faces=extra.faces,
            frames=extra.frames,
            box_shares=subject.box,
            boot_id=boot_id(),
            clock_error_ms=clock_error_ms(),
            original_sha256=extra.original_sha256,
            original_role=extra.original_role,
            sealed_to=extra.sealed_to,
        )


class EvidenceChain:
    """The digest of the last evidence of a chain, signed, in a small file that is replaced whole."""

    def __init__(self, path: Path, signer: Signer) -> None:
        self._path = path
        self._signer = signer
        self.last = self._saved = self._read()

    def _read(self) -> str | None:
        try:
            digest, _, signature = self._path.read_text("ascii").strip().partition(" ")
            signed = base64.b64decode(signature, validate=True)
        except FileNotFoundError:
            return None
        except (UnicodeDecodeError, binascii.Error):
            digest, signed = "", b""
        if _SHA256.match(digest) and self._signer.public_key.verify(signed, self._message(digest)):
            return digest
        logger.warning(
            "%s: is not what this box wrote; it is set aside and the chain of evidence begins anew", self._path
        )
        set_aside(self._path, self._path.parent / "quarantine")
        return None

    def _message(self, digest: str) -> bytes:
        return f"brightline chain {self._path.name} {digest}".encode()

    def add(self, signed: bytes) -> None:
        """Go on with the newest evidence, by its *signed* part."""
        self.last = sha256_hex(signed)

    def save(self) -> None:
        """Note the newest; a full disk costs the note, not the evidence."""
        if self.last is None or self.last == self._saved:
            return
        signature = base64.b64encode(self._signer.sign(self._message(self.last))).decode()
        try:
            write_whole(self._path, f"{self.last} {signature}\n".encode())
        except OSError as error:
            logger.warning("%s: cannot be written: %s", self._path, error)
        else:
            self._saved = self.last
