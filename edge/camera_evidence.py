"""Evidence of one camera: each file is described, signed and on disk before anybody is told of the incident.

A description names place, time, kind and scene, never a person.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from telemetry.batch import sha256_hex
from telemetry.evidence import EvidenceManifest, seal_evidence
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool

if TYPE_CHECKING:
    from edge.camera import CameraTask


@dataclass(frozen=True)
class Subject:
    """What the files of one incident show."""

    incident_id: str
    kind: str
    at: datetime
    model_sha256: str
    description: str


class EvidenceDesk:
    """Signs what it is given and puts it into the spool."""

    def __init__(self, task: CameraTask, signer: Signer, spool: EvidenceSpool) -> None:
        self._task = task
        self._signer = signer
        self._spool = spool
        settings = task.camera.model_dump(mode="json", exclude={"source"})
        self._config_sha256 = sha256_hex(json.dumps(settings, sort_keys=True).encode())

    def keep(self, role: Literal["annotated", "snapshot"], blob: bytes, subject: Subject) -> str:
        """Keep *blob*; returns its SHA-256. Raises OSError when it could not be written."""
        manifest = EvidenceManifest(
            evidence_id=uuid.uuid4().hex,
            sha256=sha256_hex(blob),
            size_bytes=len(blob),
            media_type="image/jpeg",
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
        )
        self._spool.put(seal_evidence(manifest, blob, self._signer), manifest.sha256)
        return manifest.sha256
