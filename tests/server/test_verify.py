"""`brightline-server verify` finds every kind of tampering and names it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from server.blobs import FolderBlobStore
from server.database import make_engine
from server.series.stores import open_store
from server.settings import Settings
from server.verify import Verification
from server.verify import verify as verify_record
from telemetry.batch import sha256_hex
from tests.server.centre import Centre, reading, run_cli, run_here

Jpeg = Callable[..., bytes]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, jpeg: Jpeg) -> tuple[Path, dict[str, str]]:
    """A record with readings, an alert, a snapshot and a rectification; nobody serves it any more."""
    centre = Centre(tmp_path_factory.mktemp("record") / "data")
    try:
        box, staff = centre.box(), centre.person("staff", "Canteen A")
        assert box.send(box.seal("readings", [reading(4.0, 0), reading(5.0, 1), reading(None, 2)])).is_success
        alert_id = box.raise_alert(staff, kind="violation_opened", incident_id="inc-1", data={"kind": "no_mask"})
        assert box.send_evidence(box.evidence(jpeg(1), "inc-1"), sha256_hex(jpeg(1))).is_success
        assert staff.submit(alert_id, jpeg(2)).status_code == 201
    finally:
        assert centre.stop() == 0
    return centre.data, {"snapshot": sha256_hex(jpeg(1)), "proof": sha256_hex(jpeg(2))}


@pytest.fixture
def record(healthy: tuple[Path, dict[str, str]], data: Path) -> Path:
    """A copy to tamper with."""
    shutil.copytree(healthy[0], data)
    return data


def verify(data: Path) -> tuple[int, str]:
    done = run_here("verify", "--data", str(data))
    return done.returncode, done.stdout


def tamper(data: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(data / "record.sqlite") as db:
        assert db.execute(sql, values).rowcount > 0
    db.close()


def blob(data: Path, sha256: str) -> Path:
    return data / "blobs" / sha256[:2] / sha256


def test_a_healthy_record_is_accepted(record: Path) -> None:
    status, text = verify(record)
    assert (status, "0 wrong" in text) == (0, True), text
    found = json.loads(run_cli("verify", "--json", "--data", str(record)).stdout)
    assert (found["batches"], found["readings"], found["points"], found["pictures"]) == (2, 3, 3, 1)
    assert found["alerts_by_kind"] == {"no_mask": 1}


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE batch SET sha256 = replace(sha256, 'a', 'b')", "its row does not describe its bytes"),
        ("DELETE FROM batch WHERE lane = 'readings'", "is in no batch"),
        ("DELETE FROM series_point WHERE value = 5", "is in a batch but not in the series"),
        ("UPDATE series_point SET value = 2 WHERE value = 5", "2.0 is in no batch"),
        ("UPDATE series_point SET quality = 'good' WHERE value IS NULL", "is in no batch"),
        ("UPDATE event SET source_id = 'other'", "says something else than its batch"),
        ("UPDATE alert SET incident_id = 'inc-2'", "incident inc-1: its alert is gone"),
        ("UPDATE alert SET incident_id = 'inc-2'", "incident inc-2: its alert is in no batch"),
        ("UPDATE alert SET state = 'closed'", "no move led to its state closed"),
        ("DELETE FROM alert_move WHERE move = 'raise'", "does not follow the move before it"),
        ("UPDATE evidence SET incident_id = 'inc-2'", "its manifest is that of another picture"),
        ("UPDATE box SET public_key = iif(public_key < 'B', 'B', 'A') || substr(public_key, 2)", "signature"),
    ],
)
def test_a_changed_row_is_found_and_named(record: Path, sql: str, named: str) -> None:
    tamper(record, sql)
    status, text = verify(record)
    assert status == 1
    assert any(named in line for line in text.splitlines() if line.startswith("WRONG")), text


def altered(data: Path, sql: str, old: bytes, new: bytes) -> bytes:
    with sqlite3.connect(data / "record.sqlite") as db:
        (raw,) = db.execute(sql).fetchone()
    db.close()
    assert raw.count(old) == 1
    return bytes(raw.replace(old, new))


def test_changed_bytes_of_a_batch_are_found(record: Path) -> None:
    for old, new in ((b"BLB1", b"BLB2"), (b'"count":3', b'"count":2'), (b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfc")):
        raw = altered(record, "SELECT raw FROM batch WHERE lane = 'readings'", old, new)
        tamper(record, "UPDATE batch SET raw = ? WHERE lane = 'readings'", raw)
        status, text = verify(record)
        assert (status, "/readings/1: " in text) == (1, True), text
        tamper(record, "UPDATE batch SET raw = ? WHERE lane = 'readings'", raw.replace(new, old))
    assert verify(record)[0] == 0


def test_a_changed_manifest_is_found(record: Path) -> None:
    raw = altered(record, "SELECT signed_manifest FROM evidence", b"no_mask", b"no_risk")
    tamper(record, "UPDATE evidence SET signed_manifest = ?", raw)
    status, text = verify(record)
    assert (status, "WRONG picture" in text, "signature" in text) == (1, True, True), text


def test_a_deleted_alert_is_found(record: Path) -> None:
    for table in ("alert_move", "rectification", "alert"):
        tamper(record, f"DELETE FROM {table}")
    status, text = verify(record)
    assert status == 1
    assert "WRONG incident inc-1: its alert is gone" in text


@pytest.mark.parametrize("which", ["snapshot", "proof"])
def test_a_swapped_or_missing_picture_is_found(
    record: Path, healthy: tuple[Path, dict[str, str]], which: str, jpeg: Jpeg
) -> None:
    sha256 = healthy[1][which]
    blob(record, sha256).write_bytes(jpeg(9))
    status, text = verify(record)
    assert (status, f"WRONG picture {sha256}: its bytes were changed" in text) == (1, True)
    blob(record, sha256).unlink()
    status, text = verify(record)
    assert (status, f"WRONG picture {sha256}: its bytes are missing" in text) == (1, True)


def test_a_folder_without_a_record_is_a_setting_error(data: Path) -> None:
    done = run_cli("verify", "--data", str(data), check=False)
    assert done.returncode == 2
    assert "holds no record" in done.stderr
    assert not data.exists()


CLIP, SEALED = b"\0\0\0\x18ftypisom" + b"film" * 20, b"age-encryption.org/v1\n" + b"sealed" * 20


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory, jpeg: Jpeg) -> Path:
    """A record with a snapshot, a film and a sealed original, each following the one before."""
    centre = Centre(tmp_path_factory.mktemp("evidence") / "data")
    try:
        box = centre.box()
        box.send_event("violation_opened", incident_id="inc-1", data={"kind": "no_mask"})
        kinds = [(jpeg(1), "annotated", "image/jpeg"), (CLIP, "film", "video/mp4")]
        kinds += [(SEALED, "sealed", "application/age-encryption")]
        previous = None
        for data, role, media_type in kinds:
            file = box.evidence(data, "inc-1", role=role, media_type=media_type, previous_sha256=previous)
            assert box.send_evidence(file, sha256_hex(data)).is_success
            previous = sha256_hex(file[: len(file) - len(data) - 64])
    finally:
        assert centre.stop() == 0
    return centre.data


def problems(folder: Path) -> Verification:
    """What `brightline-server verify` finds, in this process."""
    settings = Settings(data_dir=folder)
    engine = make_engine(settings)
    try:
        with Session(engine) as db:
            series = open_store(settings.series, engine, reading=db.connection())
            with closing(series):
                return verify_record(db, FolderBlobStore(settings.blob_dir), series)
    finally:
        engine.dispose()


def flips(size: int, parts: int) -> list[int]:
    """Positions over the whole length, both ends among them."""
    return sorted({0, size - 1, *range(0, size, max(1, size // parts))})


@pytest.mark.parametrize("parts", [2, pytest.param(7, marks=pytest.mark.slow)])
def test_any_flipped_byte_of_any_evidence_is_found(evidence: Path, data: Path, parts: int) -> None:
    shutil.copytree(evidence, data)
    assert (problems(data).problems, problems(data).gaps) == ([], [])
    with closing(sqlite3.connect(data / "record.sqlite")) as db:
        rows = db.execute("SELECT sha256, signed_manifest, signature FROM evidence").fetchall()
        assert len(rows) == 3
        for sha256, manifest, signature in rows:
            for column, intact in (("signed_manifest", manifest), ("signature", signature)):
                for position in flips(len(intact), parts):
                    altered = bytearray(intact)
                    altered[position] ^= 1
                    with db:
                        db.execute(f"UPDATE evidence SET {column} = ? WHERE sha256 = ?", (bytes(altered), sha256))
                    assert any(sha256 in line for line in problems(data).problems), (column, position)
                with db:
                    db.execute(f"UPDATE evidence SET {column} = ? WHERE sha256 = ?", (intact, sha256))
            intact = blob(data, sha256).read_bytes()
            for position in flips(len(intact), parts):
                altered = bytearray(intact)
                altered[position] ^= 1
                blob(data, sha256).write_bytes(altered)
                assert any(sha256 in line for line in problems(data).problems), position
            blob(data, sha256).write_bytes(intact)
    assert problems(data).problems == []


def test_evidence_that_is_missing_in_its_chain_is_told_as_a_gap(evidence: Path, data: Path) -> None:
    shutil.copytree(evidence, data)
    with closing(sqlite3.connect(data / "record.sqlite")) as db:
        (key,) = db.execute("SELECT key FROM evidence WHERE sha256 = ?", (sha256_hex(CLIP),)).fetchone()
    tamper(data, "DELETE FROM evidence WHERE sha256 = ?", sha256_hex(CLIP))
    found = problems(data)
    assert [problem.rpartition(" of leaf ")[0] for problem in found.problems] == [f"log: evidence {key}"]
    assert found.gaps == [f"picture {sha256_hex(SEALED)}: the evidence before it in its chain is not here"]
