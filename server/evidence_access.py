"""Who is given which evidence, and as what: shared copies to whoever sees the alert, sealed originals to few.

Everything about sealed originals is decided and noted here: who may have one (it is of use only to whoever holds the
regulator's private key, which the centre never has), that it goes out as the whole signed file, never for a browser to
show. Every view of any picture is on the audit log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
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
    """A picture, film or sealed original of an alert which this viewer may see, None for any other.

    Of several that are the same bytes it is one which the viewer may open: what others have of them tells nothing.
    """
    for evidence, alert, site_id in _within_reach(db, viewer, sha256):
        if may_open(viewer, evidence):
            media_type = MEDIA_TYPES.get(evidence.role, "image/jpeg") if evidence else "image/jpeg"
            return Picture(sha256, media_type, evidence, alert, site_id)
    return None


def _within_reach(db: Session, viewer: User, sha256: str) -> Iterator[tuple[Evidence | None, Alert | None, int]]:
    """What has these bytes on the viewer's sites, with its alert and site: pictures of alerts and of second looks,
    proof photos (None), and what somebody asked a box for, if this viewer may see boxes.
    """
    of_alerts = select(Evidence, Alert).where(Evidence.sha256 == sha256, within(viewer, Alert.site_id))
    raised = (Alert.incident_id == Evidence.incident_id) & (Alert.box_id == Evidence.box_id)
    looked = (Recheck.evidence_sha256 == Evidence.sha256) & (Recheck.box_id == Evidence.box_id)
    for query in (
        of_alerts.join(Alert, raised),
        of_alerts.join(Recheck, looked).join(Alert, Recheck.alert_id == Alert.id),
    ):
        for evidence, alert in db.execute(query):
            yield evidence, alert, alert.site_id
    proofs = select(Alert).join(Rectification, Rectification.alert_id == Alert.id)
    proofs = proofs.join(RectificationPhoto, RectificationPhoto.rectification_id == Rectification.id)
    for alert in db.scalars(proofs.where(RectificationPhoto.photo_sha256 == sha256, within(viewer, Alert.site_id))):
        yield None, alert, alert.site_id
    if may(viewer, "box.read"):
        asked = (BoxCommand.id == Evidence.incident_id) & (BoxCommand.box_id == Evidence.box_id)
        of_boxes = select(Evidence, Box.site_id).join(BoxCommand, asked).join(Box, Box.id == Evidence.box_id)
        for evidence, site_id in db.execute(of_boxes.where(Evidence.sha256 == sha256, within(viewer, Box.site_id))):
            yield evidence, None, site_id


def note_access(db: Session, user: User, picture: Picture, remote: str) -> None:
    """Put on record that *user* was given this picture, or the sealed original."""
    action = "evidence.sealed" if picture.is_sealed else "evidence.view"
    about = {"alert": picture.alert.id} if picture.alert else {}
    note(db, person(user, remote), action, ("evidence", picture.sha256), about, site_id=picture.site_id)


@dataclass(frozen=True)
class Shown:
    """What the page of an alert shows of the evidence that its viewer may open; ``manifests`` are by its key."""

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
            {item.key: manifest_in(item.signed_manifest) for item in shown},
        )  # fmt: skip
