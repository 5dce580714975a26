"""Originals for tests: evidence files of an incident, put into a folder of the box."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.evidence_folder import EvidenceFolder
from telemetry.batch import sha256_hex
from telemetry.evidence import EvidenceManifest, seal_evidence
from telemetry.signing import PublicKey, Signer

SIGNER = Signer.generate()
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def key_of(box_id: str) -> PublicKey | None:
    return SIGNER.public_key if box_id == "box-1" else None


def original(blob: bytes, incident_id: str = "i1", **changes: Any) -> bytes:
    manifest = EvidenceManifest.model_validate(
        {"evidence_id": "ev-1", "sha256": sha256_hex(blob), "size_bytes": len(blob), "media_type": "image/jpeg",
         "role": "original", "incident_id": incident_id, "box_id": "box-1", "camera_id": "kitchen", "place": "备餐间",
         "taken_at": NOON, "kind": "no_mask", "model_sha256": "a" * 64, "config_sha256": "b" * 64,
         "clock_synced": True, **changes}
    )  # fmt: skip
    return seal_evidence(manifest, blob, SIGNER)


def put(folder: EvidenceFolder, blob: bytes, incident_id: str = "i1", **changes: Any) -> Path:
    return folder.put(original(blob, incident_id, **changes), sha256_hex(blob), incident_id)


def tombstones(folder: EvidenceFolder) -> list[dict[str, Any]]:
    if not folder.tombstones.exists():
        return []
    return [json.loads(line) for line in folder.tombstones.read_text("utf-8").splitlines()]
