"""Evidence of a camera: on disk, signed, each naming the one before it, also after a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from edge.camera import CameraTask
from edge.camera_evidence import EvidenceDesk, Subject
from edge.config_cameras import Camera
from telemetry.batch import sha256_hex
from telemetry.evidence import SealedEvidence, open_evidence
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool

SIGNER = Signer.generate()
SUBJECT = Subject("i1", "no_mask", datetime(2026, 3, 2, tzinfo=UTC), "a" * 64, "no_mask in zone line for 3.0 s", "line")


def desk(folder: Path, **camera: object) -> EvidenceDesk:
    settings = Camera.model_validate({"id": "kitchen", "name": "k", "source": "rtsp://u:p@c/1", **camera})
    task = CameraTask(
        box_id="box-1", camera=settings, key_file=folder / "key", spool_dir=folder / "spool", open_incidents={}
    )
    return EvidenceDesk(task, SIGNER, EvidenceSpool(task.spool_dir))


def kept(folder: Path, sha256: str) -> SealedEvidence:
    return open_evidence((folder / "spool" / f"{sha256}.ble").read_bytes(), lambda _: SIGNER.public_key)


def test_each_evidence_names_the_one_before_it_also_over_a_restart(tmp_path: Path) -> None:
    before = desk(tmp_path)
    first, second = before.keep("annotated", b"one", SUBJECT), before.keep("snapshot", b"two", SUBJECT)
    third = desk(tmp_path).keep("annotated", b"three", SUBJECT)
    chain = [kept(tmp_path, name) for name in (first, second, third)]
    assert [item.manifest.previous_sha256 for item in chain] == [
        None, sha256_hex(chain[0].signed), sha256_hex(chain[1].signed),
    ]  # fmt: skip
    assert [item.blob for item in chain] == [b"one", b"two", b"three"]
    assert chain[0].manifest.zone == "line"
    assert set(EvidenceSpool(tmp_path / "spool").waiting()) == {
        tmp_path / "spool" / f"{name}.ble" for name in (first, second, third)
    }


def test_a_film_is_kept_as_one_and_the_incident_s_other_evidence_is_known(tmp_path: Path) -> None:
    ours = desk(tmp_path)
    picture, film = ours.keep("annotated", b"picture", SUBJECT), ours.keep("clip", b"film", SUBJECT)
    assert ours.of_incident("i1") == [picture, film]
    assert ours.of_incident("another") == []
    said = kept(tmp_path, film).manifest
    assert (said.role, said.media_type) == ("clip", "video/mp4")


def test_a_torn_note_of_the_chain_begins_a_new_one(tmp_path: Path) -> None:
    desk(tmp_path).keep("annotated", b"one", SUBJECT)
    (tmp_path / "spool" / "kitchen.chain").write_bytes(b"\xff\x00half")
    after = desk(tmp_path).keep("annotated", b"two", SUBJECT)
    assert kept(tmp_path, after).manifest.previous_sha256 is None


def test_the_digest_of_the_configuration_changes_with_it_and_not_with_the_password(tmp_path: Path) -> None:
    digests = [
        kept(
            tmp_path, desk(tmp_path, **camera).keep("annotated", repr(camera).encode(), SUBJECT)
        ).manifest.config_sha256
        for camera in ({}, {"source": "rtsp://u:other@c/1"}, {"dwell_s": 9})
    ]
    assert digests[0] == digests[1] != digests[2]
