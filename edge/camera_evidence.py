"""Evidence of one camera: each file is described, signed and on disk before anybody is told of the incident.

A description names place, time, kind and scene, never a person. Each file names the digest of the one before it, also
over a restart; should the power go between a file and the note of it, two files follow the same one and none is lost.
"""

from __future__ import annotations

import json
import logging
import os
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.clock import clock_synced
from telemetry.batch import sha256_hex
from telemetry.evidence import EvidenceManifest, open_evidence, seal_evidence
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool

if TYPE_CHECKING:
    from edge.camera import CameraTask

logger = logging.getLogger(__name__)
INCIDENTS_KEPT_MAX = 64  # whose digests are remembered until their clip comes
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Subject:
    """What the files of one incident show."""

    incident_id: str
    kind: str
    at: datetime
    model_sha256: str
    description: str
    zone: str = ""


class EvidenceDesk:
    """Signs what it is given and puts it into the spool."""

    def __init__(self, task: CameraTask, signer: Signer, spool: EvidenceSpool) -> None:
        self._task = task
        self._signer = signer
        self._spool = spool
        settings = task.camera.model_dump(mode="json", exclude={"source", "sub_source"})
        self._chain = EvidenceChain(task.spool_dir / f"{task.camera.id}.chain")
        self._kept: dict[str, list[str]] = {}
        self._config_sha256 = sha256_hex(json.dumps(settings, sort_keys=True).encode())

    def of_incident(self, incident_id: str) -> list[str]:
        """The digests of what this process kept of one of its last incidents."""
        return list(self._kept.get(incident_id, ()))

    def keep(self, role: Literal["annotated", "snapshot", "clip"], blob: bytes, subject: Subject) -> str:
        """Keep *blob*; returns its SHA-256. Raises OSError when it could not be written."""
        manifest = EvidenceManifest(
            evidence_id=uuid.uuid4().hex,
            sha256=sha256_hex(blob),
            size_bytes=len(blob),
            media_type="video/mp4" if role == "clip" else "image/jpeg",
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
            previous_sha256=self._chain.last,
        )
        sealed = seal_evidence(manifest, blob, self._signer)
        self._spool.put(sealed, manifest.sha256)
        self._chain.add(open_evidence(sealed, lambda _: self._signer.public_key).signed)
        self._kept.setdefault(subject.incident_id, []).append(manifest.sha256)
        while len(self._kept) > INCIDENTS_KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        return manifest.sha256


class EvidenceChain:
    """The digest of a camera's last evidence, in a small file that is replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            noted = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            noted = ""
        if noted and not _SHA256.match(noted):
            logger.warning("%s: is no digest; the chain of evidence begins anew", path)
        self.last = noted if _SHA256.match(noted) else None

    def add(self, signed: bytes) -> None:
        """Note the newest evidence by its *signed* part; raises OSError."""
        self.last = sha256_hex(signed)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        with part.open("w", encoding="ascii") as file:
            file.write(self.last)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._path)
