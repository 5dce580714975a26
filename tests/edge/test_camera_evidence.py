"""Evidence of a camera: on disk, signed, each naming the one before it, also after a restart; originals never leave."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyrage import decrypt
from pyrage.x25519 import Identity

from edge.camera_evidence import EvidenceChain, EvidenceDesk, Pictures, Subject
from edge.camera_task import CameraTask
from edge.config_cameras import Camera
from edge.config_evidence import EvidenceSection
from edge.evidence_folder import EvidenceFolder
from telemetry.batch import sha256_hex
from telemetry.evidence import FrameTimes, SealedEvidence, open_evidence
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool

SIGNER = Signer.generate()
AT = datetime(2026, 3, 2, tzinfo=UTC)
SUBJECT = Subject("i1", "no_mask", AT, "a" * 64, "no_mask in zone line for 3.0 s", "line", "II", (0.1, 0.2, 0.3, 0.4))
FRAMES = FrameTimes(first_at=AT - timedelta(seconds=5), last_at=AT + timedelta(seconds=5), count=250)
KEYS = (Identity.generate(), Identity.generate())


def desk(box: Path, *, evidence: EvidenceSection | None = None, **camera: object) -> EvidenceDesk:
    settings = Camera.model_validate({"id": "kitchen", "name": "k", "source": "rtsp://u:p@c/1", **camera})
    task = CameraTask(
        box_id="box-1", camera=settings, key_file=box / "key", spool_dir=box / "spool", open_incidents={},
        evidence=evidence or EvidenceSection(),
    )  # fmt: skip
    folder = EvidenceFolder(task.evidence_dir, bytes_max=10**9, free_bytes_min=0)
    return EvidenceDesk(task, SIGNER, EvidenceSpool(task.spool_dir), folder)


def pictures(name: str) -> Pictures:
    return Pictures(f"{name} original".encode(), f"{name} snapshot".encode(), f"{name} drawn".encode(), "blurred")


def sealing() -> EvidenceSection:
    return EvidenceSection(sealed_to=tuple(str(key.to_public()) for key in KEYS))


def opened(path: Path) -> SealedEvidence:
    return open_evidence(path.read_bytes(), lambda _: SIGNER.public_key)


def sent(box: Path, sha256: str) -> SealedEvidence:
    return opened(box / "spool" / f"{sha256}.ble")


def stays(box: Path, incident_id: str = "i1") -> dict[str, SealedEvidence]:
    found = [opened(path) for path in (box / "evidence" / "incidents" / incident_id).iterdir()]
    return {item.manifest.role: item for item in found}


def test_each_evidence_names_the_one_before_it_in_its_chain_also_over_a_restart(tmp_path: Path) -> None:
    digests = desk(tmp_path).keep_pictures(pictures("one"), SUBJECT).evidence
    digests += desk(tmp_path).keep_pictures(pictures("two"), SUBJECT).evidence
    chain = [sent(tmp_path, name) for name in digests]
    assert [item.manifest.role for item in chain] == ["annotated", "snapshot"] * 2
    follows = [None, *(sha256_hex(item.signed) for item in chain[:-1])]
    assert [item.manifest.previous_sha256 for item in chain] == follows
    originals = [opened(path) for path in (tmp_path / "evidence" / "incidents" / "i1").iterdir()]
    (first,) = [item for item in originals if item.manifest.previous_sha256 is None]
    (second,) = [item for item in originals if item is not first]
    assert second.manifest.previous_sha256 == sha256_hex(first.signed)


def test_without_a_key_no_original_leaves_the_box(tmp_path: Path) -> None:
    ours = desk(tmp_path)
    ours.keep_pictures(pictures("one"), SUBJECT)
    assert ours.keep_clip(b"the clip", FRAMES, SUBJECT).evidence == []
    leaves = [opened(path) for path in EvidenceSpool(tmp_path / "spool").waiting()]
    assert {item.blob for item in leaves} == {b"one snapshot", b"one drawn"}
    assert {role: item.blob for role, item in stays(tmp_path).items()} == {
        "original": b"one original", "clip": b"the clip"
    }  # fmt: skip


def test_with_keys_the_originals_leave_sealed_and_each_key_opens_them_to_what_the_shared_copies_were_made_from(
    tmp_path: Path,
) -> None:
    ours = desk(tmp_path, evidence=sealing())
    drawn, snapshot, sealed = (sent(tmp_path, name) for name in ours.keep_pictures(pictures("one"), SUBJECT).evidence)
    (clip,) = (sent(tmp_path, name) for name in ours.keep_clip(b"the clip", FRAMES, SUBJECT).evidence)
    assert [item.manifest.role for item in (drawn, snapshot, sealed, clip)] == [
        "annotated", "snapshot", "sealed", "sealed"
    ]  # fmt: skip
    for key in KEYS:
        assert decrypt(sealed.blob, [key]) == b"one original"
        assert decrypt(clip.blob, [key]) == b"the clip"
    original = sha256_hex(b"one original")
    assert {item.manifest.original_sha256 for item in (drawn, snapshot, sealed)} == {original}
    assert sealed.manifest.sealed_to == sealing().sealed_to
    assert (clip.manifest.original_role, clip.manifest.original_sha256) == ("clip", sha256_hex(b"the clip"))
    assert b"one original" not in b"".join(item.blob for item in (drawn, snapshot, sealed, clip))


def test_the_manifest_holds_the_five_elements(tmp_path: Path) -> None:
    ours = desk(tmp_path, place="备餐间")
    (drawn, _) = (sent(tmp_path, name).manifest for name in ours.keep_pictures(pictures("one"), SUBJECT).evidence)
    assert (drawn.taken_at, drawn.place, drawn.zone, drawn.camera_id, drawn.box_id) == (
        AT, "备餐间", "line", "kitchen", "box-1"
    )  # fmt: skip
    assert (drawn.kind, drawn.tier, drawn.description, drawn.box_shares, drawn.faces) == (
        "no_mask", "II", "no_mask in zone line for 3.0 s", (0.1, 0.2, 0.3, 0.4), "blurred"
    )  # fmt: skip
    assert (drawn.model_sha256, len(drawn.config_sha256)) == ("a" * 64, 64)
    assert drawn.clock_synced is not None
    assert drawn.boot_id
    ours.keep_clip(b"the clip", FRAMES, SUBJECT)
    (film,) = ours.keep_film(b"the film", "none_found", FRAMES, sha256_hex(b"the clip"), SUBJECT).evidence
    said = sent(tmp_path, film).manifest
    assert (said.role, said.media_type, said.faces, said.frames) == ("film", "video/mp4", "none_found", FRAMES)
    assert (stays(tmp_path)["clip"].manifest.frames, said.original_sha256) == (FRAMES, sha256_hex(b"the clip"))
    assert ours.of_incident("i1")[-1] == film
    assert ours.of_incident("another") == []


@pytest.mark.parametrize(
    "damage", [lambda note: b"\xff\x00half", lambda note: b"", lambda note: b"b" + note[1:] + b"x"]
)
def test_a_damaged_note_of_the_chain_is_set_aside_and_a_new_chain_begins(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    desk(tmp_path).keep_pictures(pictures("one"), SUBJECT)
    note = tmp_path / "spool" / "kitchen.chain"
    note.write_bytes(damage(note.read_bytes()))
    after = desk(tmp_path).keep_pictures(pictures("two"), SUBJECT).evidence
    assert sent(tmp_path, after[0]).manifest.previous_sha256 is None
    assert [path.name for path in (tmp_path / "spool" / "quarantine").iterdir()] == ["kitchen.chain"]


def test_any_changed_character_of_the_note_of_the_chain_is_found(tmp_path: Path) -> None:
    chain = EvidenceChain(tmp_path / "k.chain", SIGNER)
    chain.add(b"signed")
    chain.save()
    note = (tmp_path / "k.chain").read_bytes().rstrip(b"\n")
    assert EvidenceChain(tmp_path / "k.chain", SIGNER).last == sha256_hex(b"signed")
    logging.disable(logging.WARNING)
    try:
        for position in range(len(note)):
            altered = bytearray(note)
            altered[position] ^= 1
            (tmp_path / "k.chain").write_bytes(altered)
            assert EvidenceChain(tmp_path / "k.chain", SIGNER).last is None, position
    finally:
        logging.disable(logging.NOTSET)


def test_the_digest_of_the_configuration_changes_with_it_and_not_with_the_password(tmp_path: Path) -> None:
    digests = [
        sent(
            tmp_path, desk(tmp_path, **camera).keep_pictures(pictures(repr(camera)), SUBJECT).evidence[0]
        ).manifest.config_sha256
        for camera in ({}, {"source": "rtsp://u:other@c/1"}, {"dwell_s": 9})
    ]
    assert digests[0] == digests[1] != digests[2]


def test_what_finds_no_room_is_named_and_the_rest_is_kept_and_the_full_storage_is_told_once_each_way(
    tmp_path: Path,
) -> None:
    ours = desk(tmp_path)
    ours.folder._bytes_max = 0
    kept = ours.keep_pictures(pictures("one"), SUBJECT)
    assert ours.keep_clip(b"clip", FRAMES, SUBJECT).missing == ["clip: the box's storage is full"]
    assert (len(kept.evidence), kept.missing) == (2, ["original: the box's storage is full"])
    assert [*ours.storage_changes(), *ours.storage_changes()] == ["storage_full"]
    ours.folder._bytes_max = 10**9
    assert ours.keep_pictures(pictures("two"), SUBJECT).missing == []
    assert [*ours.storage_changes(), *ours.storage_changes()] == ["storage_has_room"]
