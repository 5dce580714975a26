"""Evidence files: any flipped byte is found; the spool holds whole files only."""

from __future__ import annotations

import resource
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.batch import sha256_hex
from telemetry.evidence import EvidenceError, EvidenceManifest, open_evidence, seal_evidence
from telemetry.signing import KeyFileError, Signer
from telemetry.spool import EvidenceSpool, picture_of

SIGNER = Signer.generate()
BLOB = b"\xff\xd8 a picture \xff\xd9"
MANIFEST = EvidenceManifest(
    evidence_id="ev-1", sha256=sha256_hex(BLOB), size_bytes=len(BLOB), media_type="image/jpeg", role="annotated",
    incident_id="i-1", box_id="box-1", camera_id="cam-1", place="kitchen", taken_at=datetime(2026, 1, 2, tzinfo=UTC),
    kind="no_mask", model_sha256="a" * 64, config_sha256="b" * 64,
)  # fmt: skip
SEALED = seal_evidence(MANIFEST, BLOB, SIGNER)


def test_sealed_evidence_opens() -> None:
    opened = open_evidence(SEALED, lambda _: SIGNER.public_key)
    assert (opened.manifest, opened.blob) == (MANIFEST, BLOB)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_any_flipped_byte_fails(position: int, change: int) -> None:
    altered = bytearray(SEALED)
    altered[position] ^= change
    with pytest.raises(EvidenceError):
        open_evidence(bytes(altered), lambda _: SIGNER.public_key)


def test_spool_gives_whole_files_only_and_keeps_what_is_refused(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path / "spool")
    (tmp_path / "spool" / "half.part").write_bytes(b"half")
    first = spool.put(SEALED, MANIFEST.sha256)
    second = spool.put(SEALED, "c" * 64)
    assert set(spool.waiting()) == {first, second}
    spool.delivered(first)
    spool.refuse(second)
    assert spool.waiting() == []
    assert (tmp_path / "spool" / "refused" / second.name).read_bytes() == SEALED
    with pytest.raises(ValueError, match="not a SHA-256"):
        spool.put(b"", "../outside")


def test_spool_keeps_what_was_signed_of_two_black_pictures_each_until_it_is_delivered(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path / "spool")
    later = seal_evidence(MANIFEST.model_copy(update={"incident_id": "i-2"}), BLOB, SIGNER)
    files = [spool.put(sealed, MANIFEST.sha256) for sealed in (SEALED, later)]
    assert spool.recover(lambda _: SIGNER.public_key) == []
    assert {path.read_bytes() for path in spool.waiting()} == {SEALED, later}
    assert [picture_of(path) for path in files] == [MANIFEST.sha256] * 2
    spool.delivered(files[0])
    assert [path.read_bytes() for path in spool.waiting()] == [later]


def test_a_key_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "key"
    SIGNER.save(path)
    assert Signer.load(path).public_key == SIGNER.public_key
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Signer.load(path)


def test_a_picture_that_finds_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path / "spool")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        with pytest.raises(OSError, match="too large"):
            spool.put(b"x" * 1000, "a" * 64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "spool").iterdir()) == []
