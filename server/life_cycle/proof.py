"""五定: a proof photo has its time, place, person, matter and scene. What is missing is refused by its name.

The time and the place come from the phone (EXIF) or the form, the rest from the form and the log-in. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from server.photo import Photo

Element = Literal["time", "place", "person", "matter", "scene"]
Fault = Literal[
    "proof_time_missing", "proof_place_missing", "proof_person_missing", "proof_matter_missing", "proof_scene_missing",
    "photo_before_alert", "photo_from_future", "photo_twice",
]  # fmt: skip
FIELDS: Mapping[str, int] = {"taken_at": 32, "place": 80, "person": 80, "matter": 2000, "scene": 200}
REMEDIES: Mapping[Fault, str] = {
    "proof_time_missing": "time: the photo does not say when it was taken; give taken_at (in the site's time)",
    "proof_place_missing": "place: the photo does not say where it was taken; give place, the room that it shows",
    "proof_person_missing": "person: give person, who is in charge of the repair",
    "proof_matter_missing": "matter: give matter, what was wrong and what was done",
    "proof_scene_missing": "scene: give scene, what the photo shows",
    "photo_before_alert": "time: the photo is older than the alert; take one of the place as it is now",
    "photo_from_future": "time: the photo is of a time to come; set the phone's clock right and take it again",
    "photo_twice": "photo: the same photo stands twice in this rectification; send each once",
}


class ProofRefused(Exception):
    """``faults``: all that is wrong, at least one."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(", ".join(faults))
        self.faults = tuple(faults)


class DuplicatePhoto(Exception):
    """A photo was used before; ``alert_id`` is where, for whoever may see it."""

    def __init__(self, alert_id: int | None) -> None:
        super().__init__("duplicate photo")
        self.alert_id = alert_id


@dataclass(frozen=True)
class Claim:
    """What the form says, each field without the spaces around it; empty where it says nothing."""

    taken_at: str = ""
    place: str = ""
    person: str = ""
    matter: str = ""
    scene: str = ""


@dataclass(frozen=True)
class ProvedPhoto:
    """A photo with its time in UTC, and where that comes from."""

    photo: Photo
    taken_at: datetime
    taken_from: Literal["exif", "form"]


@dataclass(frozen=True)
class Proof:
    """A whole proof: nothing of the five is missing."""

    photos: tuple[ProvedPhoto, ...]
    claim: Claim


def prove(
    photos: Sequence[Photo], claim: Claim, alert_opened_at: datetime, zone: ZoneInfo, now: datetime, skew: timedelta
) -> Proof:
    """Check the five; raises ProofRefused with all faults. *skew*: by how much a phone's clock may be wrong."""
    faults: list[Fault] = []
    said = _said_time(claim.taken_at, zone)
    proved = []
    for photo in photos:
        taken_at = said if photo.taken_at is None else _in_utc(photo.taken_at, zone)
        if taken_at is None:
            faults.append("proof_time_missing")
        elif taken_at < alert_opened_at - skew:
            faults.append("photo_before_alert")
        elif taken_at > now + skew:
            faults.append("photo_from_future")
        else:
            proved.append(ProvedPhoto(photo, taken_at, "form" if photo.taken_at is None else "exif"))
    if not claim.place and not all(photo.place for photo in photos):
        faults.append("proof_place_missing")
    if not claim.person:
        faults.append("proof_person_missing")
    if not claim.matter:
        faults.append("proof_matter_missing")
    if not claim.scene:
        faults.append("proof_scene_missing")
    if len({photo.likeness for photo in photos}) < len(photos):
        faults.append("photo_twice")
    if faults:
        raise ProofRefused(tuple(dict.fromkeys(faults)))
    return Proof(tuple(proved), claim)


def _said_time(text: str, zone: ZoneInfo) -> datetime | None:
    """A time of the form (``2026-01-02T11:04``, in the site's zone unless it has one), or None."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _in_utc(read, zone) if 1990 <= read.year < 2200 else None


def _in_utc(time: datetime, zone: ZoneInfo) -> datetime:
    return (time if time.tzinfo is not None else time.replace(tzinfo=zone)).astimezone(UTC)
