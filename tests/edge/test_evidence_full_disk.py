"""A really full disk: no held original is removed, incidents are still told, and what could not be kept is said."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.camera_evidence import EvidenceDesk, Pictures, Subject
from edge.camera_task import CameraTask
from edge.config_cameras import Camera
from edge.evidence_folder import EvidenceFolder
from telemetry.evidence import FrameTimes, open_evidence
from telemetry.spool import EvidenceSpool
from tests.edge.originals import NOON, SIGNER, key_of, tombstones
from tests.small_disk import fill_disk, mounting_small_disk
from tests.telemetry.outbox_parts import event, events, make

KIB = 1024
FRAMES = FrameTimes(first_at=NOON, last_at=NOON, count=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    with mounting_small_disk(tmp_path / "disk") as mountpoint:
        yield mountpoint


def desk(box: Path) -> EvidenceDesk:
    camera = Camera(id="kitchen", name="k", source="rtsp://c/1")
    task = CameraTask(box_id="box-1", camera=camera, key_file=box / "k", spool_dir=box / "spool", open_incidents={})
    folder = EvidenceFolder(task.evidence_dir, bytes_max=10**9, free_bytes_min=256 * KIB)
    return EvidenceDesk(task, SIGNER, EvidenceSpool(task.spool_dir), folder)


def subject(incident_id: str) -> Subject:
    return Subject(incident_id, "no_mask", NOON, "a" * 64, "no_mask")


def pictures() -> Pictures:
    original, snapshot, drawn = (os.urandom(30 * KIB) for _ in range(3))
    return Pictures(original, snapshot, drawn, "blurred")


def test_held_originals_outlive_a_disk_full_of_clips_and_the_rest_goes_oldest_first(small_disk: Path) -> None:
    ours = desk(small_disk)
    ours.keep_clip(os.urandom(600 * KIB), FRAMES, subject("case"))
    ours.folder.hold("case", "a case at context", NOON)
    for number in range(20):
        assert ours.keep_clip(os.urandom(400 * KIB), FRAMES, subject(f"i{number}")).missing == []
        assert shutil.disk_usage(small_disk).free >= 256 * KIB
    kept = [item.incident_id for item in ours.folder.files()]
    assert kept[0] == "case"
    assert kept[1:] == [f"i{number}" for number in range(21 - len(kept), 20)]
    gone = [stone["incident_id"] for stone in tombstones(ours.folder)]
    assert gone == [f"i{number}" for number in range(21 - len(kept))]
    assert {stone["why"] for stone in tombstones(ours.folder)} == {"disk_full"}
    for name in kept:
        ours.folder.hold(name, "all of it", NOON)
    before = {item.path for item in ours.folder.files()}
    assert ours.keep_clip(os.urandom(400 * KIB), FRAMES, subject("late")).missing == ["clip: the box's storage is full"]
    assert list(ours.storage_changes()) == ["storage_full"]
    assert {item.path for item in ours.folder.files()} == before
    pictures_of_late = ours.keep_pictures(pictures(), subject("late"))
    assert len(pictures_of_late.evidence) == 2, "what is kept free is for the pictures that are sent"


def test_pictures_that_are_sent_push_out_old_originals_and_a_hold_needs_no_room(small_disk: Path) -> None:
    ours = desk(small_disk)
    for name in ("old", "case"):
        ours.keep_clip(os.urandom(300 * KIB), FRAMES, subject(name))
    fill_disk(small_disk)
    ours.folder.hold("case", "a case at context", NOON)
    kept = ours.keep_pictures(pictures(), subject("full"))
    assert len(kept.evidence) == 2
    assert [item.incident_id for item in ours.folder.files()] == ["case"]
    assert [stone["why"] for stone in tombstones(ours.folder)] == ["disk_full"]


def test_nothing_is_removed_when_that_would_not_make_room_enough(small_disk: Path) -> None:
    ours = desk(small_disk)
    ours.keep_clip(os.urandom(100 * KIB), FRAMES, subject("old"))
    fill_disk(small_disk)
    assert ours.keep_clip(os.urandom(400 * KIB), FRAMES, subject("late")).missing == ["clip: the box's storage is full"]
    assert [item.incident_id for item in ours.folder.files()] == ["old"]


def test_on_a_disk_that_others_filled_an_incident_is_still_told_and_says_which_pictures_are_missing(
    small_disk: Path,
) -> None:
    ours = desk(small_disk)
    ours.keep_clip(os.urandom(300 * KIB), FRAMES, subject("case"))
    ours.folder.hold("case", "", NOON)
    with make(small_disk, reserve_bytes=1024 * KIB) as outbox:
        ballast = fill_disk(small_disk)
        kept = ours.keep_pictures(pictures(), subject("full"))
        assert kept.evidence == []
        assert kept.missing == [
            "annotated: No space left on device",
            "snapshot: No space left on device",
            "original: the box's storage is full",
        ]
        told = event(1).model_copy(update={"data": {"evidence_missing": kept.missing}})
        outbox.commit([], [told])
        assert events(outbox)[-1].data["evidence_missing"] == kept.missing
        (held,) = ours.folder.files()
        assert open_evidence(held.path.read_bytes(), key_of).manifest.incident_id == "case"
        assert list(ours.storage_changes()) == ["storage_full"]
        ballast.unlink()
        after = ours.keep_pictures(pictures(), subject("room"))
        assert (len(after.evidence), after.missing) == (2, [])
        assert list(ours.storage_changes()) == ["storage_has_room"]
    assert ours.folder.recover(key_of) == EvidenceSpool(small_disk / "spool").recover(key_of) == []
