"""Who is given which evidence, and as what: shared copies to whoever sees the alert, sealed originals to few.

Everything about sealed originals is decided and noted here: who may have one (it is of use only to whoever holds the
regulator's private key, which the centre never has), that it goes out as the whole signed file, never for a browser to
show. Every view of any picture is on the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from server.audit import note, person
from server.models import Alert, Box, Evidence, Rectification, User
from server.models_boxes import BoxCommand
from server.models_life_cycle import Recheck, RectificationPhoto
from server.policy import Permission, may
from server.scope import within
from telemetry.evidence import EvidenceManifest, manifest_in

MEDIA_TYPES = {"clip": "video/mp4", "film": "video/mp4", "sealed": "application/octet-stream"}


@dataclass(frozen=True)
class Picture:
    """What may be given out: of an alert, or of a command (``alert`` None). ``evidence`` is None for a proof photo."""

    sha256: str
    media_type: str
    evidence: Evidence | None
    alert: Alert | None
    site_id: int

    @property
    def is_sealed(self) -> bool:
        return self.evidence is not None and self.evidence.role == "sealed"

    def body(self, blob: bytes) -> bytes:
        """The bytes to give out: the picture itself, of a sealed one the signed file that `unseal` takes."""
        if self.evidence is None or not self.is_sealed:
            return blob
        return self.evidence.signed_manifest + self.evidence.signature + blob

    @property
    def headers(self) -> dict[str, str]:
        if not self.is_sealed:
            return {"cache-control": "private, max-age=3600"}
        name = f"sealed-{self.sha256[:16]}.ble"
        return {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'}


def permission_for(evidence: Evidence | None) -> Permission:
    """What a person needs to see it; None is a proof photo. A picture is blurred when its manifest says so."""
    if evidence is None:
        return "evidence.view"
    if evidence.role == "sealed":
        return "evidence.sealed"
    hidden = manifest_in(evidence.signed_manifest).faces in ("blurred", "none_found")
    return "evidence.blurred" if hidden else "evidence.view"


def may_open(viewer: User, evidence: Evidence | None) -> bool:
    """Whether this viewer may see it at all, if the alert is theirs to see."""
    return may(viewer, permission_for(evidence))


def find_picture(db: Session, viewer: User, sha256: str) -> Picture | None:
    """A picture, film or sealed original of an alert which this viewer may see, None for any other."""
    evidence = exists().where(
        Evidence.sha256 == sha256, Evidence.incident_id == Alert.incident_id, Evidence.box_id == Alert.box_id
    )
    alert_id = (
        select(Rectification.alert_id)
        .join(RectificationPhoto, RectificationPhoto.rectification_id == Rectification.id)
        .where(RectificationPhoto.photo_sha256 == sha256)
    )
    looked = (
        select(Recheck.alert_id)
        .join(Evidence, (Evidence.sha256 == Recheck.evidence_sha256) & (Evidence.box_id == Recheck.box_id))
        .where(Recheck.evidence_sha256 == sha256)
    )
    of_alert = evidence | Alert.id.in_(alert_id) | Alert.id.in_(looked)
    mine = select(Alert).where(within(viewer, Alert.site_id), of_alert)
    alert = db.scalar(mine.limit(1))
    row = db.get(Evidence, sha256)
    site_id = alert.site_id if alert else _site_of_command(db, viewer, row)
    if site_id is None or not may_open(viewer, row):
        return None
    return Picture(sha256, MEDIA_TYPES.get(row.role, "image/jpeg") if row else "image/jpeg", row, alert, site_id)


def _site_of_command(db: Session, viewer: User, evidence: Evidence | None) -> int | None:
    """The site of a picture that somebody asked a box for, if this viewer may see its boxes."""
    if evidence is None or not may(viewer, "box.read"):
        return None
    asked = select(Box.site_id).join(BoxCommand, BoxCommand.box_id == Box.id)
    mine = asked.where(BoxCommand.id == evidence.incident_id, Box.id == evidence.box_id, within(viewer, Box.site_id))
    return db.scalar(mine)


def note_access(db: Session, user: User, picture: Picture, remote: str) -> None:
    """Put on record that *user* was given this picture, or the sealed original."""
    action = "evidence.sealed" if picture.is_sealed else "evidence.view"
    about = {"alert": picture.alert.id} if picture.alert else {}
    note(db, person(user, remote), action, ("evidence", picture.sha256), about, site_id=picture.site_id)


@dataclass(frozen=True)
class Shown:
    """What the page of an alert shows of the evidence that its viewer may open; ``manifests`` are by digest."""

    annotated: Evidence | None
    snapshot: Evidence | None
    film: Evidence | None
    sealed: list[Evidence]
    manifests: dict[str, EvidenceManifest]

    @classmethod
    def of(cls, evidence: list[Evidence]) -> Shown:
        by_role = {item.role: item for item in evidence}
        film = by_role.get("film") or by_role.get("clip")  # clips were shared before there were films
        sealed = [item for item in evidence if item.role == "sealed"]
        shown = [item for item in (by_role.get("annotated"), film, *sealed) if item is not None]
        return cls(
            by_role.get("annotated"), by_role.get("snapshot"), film, sealed,
            {item.sha256: manifest_in(item.signed_manifest) for item in shown},
        )  # fmt: skip
