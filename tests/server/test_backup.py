"""A backup is made beside a running centre, proves itself, and becomes a centre elsewhere; a damaged one never does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from server.app import create_app
from server.backup.making import BackupBusy, make_backup
from server.backup.manifest import BackupDamaged
from server.backup.restoring import NotEmpty, restore
from server.cli import main
from server.database import make_engine
from server.merkle.checkpoint import LogKey
from server.settings import Settings
from server.shared_keys import agree_on_keys
from server.work import hold_duty
from telemetry.batch import sha256_hex
from telemetry.signing import Signer
from tests.server.merkle.small_record import PASSWORD, SmallRecord, make_record
from tests.server.tenancy.district import InProcess


def start(record: SmallRecord) -> None:
    """What a start does with the keys, here of the origin as there of what is restored of it."""
    engine = make_engine(record.settings)
    agree_on_keys(engine, record.data)
    engine.dispose()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> SmallRecord:
    made = make_record(tmp_path_factory.mktemp("origin") / "data", jpeg)
    (made.data / "centre.yaml").write_text("log: {publish_every_s: 600}\n")
    start(made)
    return made


@pytest.fixture(scope="module")
def backup(record: SmallRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "backup"
    assert main(["backup", str(out), "--data", str(record.data)]) == 0
    return out


def test_a_backup_is_restored_elsewhere_and_served(
    record: SmallRecord, backup: Path, data: Path, jpeg: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", str(backup), "--data", str(data)]) == 0
    assert "3 batches, 1 pictures, 1 alerts; 0 wrong" in capsys.readouterr().out
    assert (data / "restored-settings" / "centre.yaml").read_text() == "log: {publish_every_s: 600}\n"
    assert not (data / "centre.key").exists()  # no secret is in a backup
    app = create_app(Settings(data_dir=data, secure_cookies=False))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        centre = InProcess(app, portal)
        answer = centre.post("/api/v1/login", data={"username": "wang", "password": PASSWORD})
        cookies = {"cookie": f"bl_session={answer.cookies['bl_session']}"}
        alerts = centre.request("GET", "/api/v1/alerts", headers=cookies).json()["alerts"]
        assert [(alert["incident_id"], alert["state"]) for alert in alerts] == [("inc-1", "closed")]
        picture = centre.request("GET", f"/api/v1/evidence/{sha256_hex(jpeg(1))}", headers=cookies)
        assert picture.content == jpeg(1)
        portal.call(centre.client.aclose)
    restored = SmallRecord(data, record.box_id, record.box, record.epoch, {})
    start(restored)  # with keys of its own
    assert restored.signer.public_key != record.signer.public_key
    restored.grow()  # goes on under its own key; the old heads hold by the old one
    assert restored.verify().problems == []


def test_a_second_backup_fetches_what_is_new_and_replaces_the_first(
    record: SmallRecord, backup: Path, tmp_path: Path, jpeg: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    later, out = record.copy(tmp_path / "later"), tmp_path / "backup"
    shutil.copytree(backup, out)
    with later.changing() as db:
        later.raise_alert(db, "inc-2")
        later.send_picture(db, jpeg(3), "inc-2")
    damaged = next((out / "blobs").rglob(sha256_hex(jpeg(2))))
    damaged.write_bytes(b"rotten")
    assert main(["backup", str(out), "--data", str(later.data)]) == 0
    assert "3 blobs, 2 of them new, 0 lost" in capsys.readouterr().out
    assert len(list(out.glob("*-record.sqlite"))) == 1
    found = restore(out, Settings(data_dir=tmp_path / "new"), [LogKey.of(later.signer.public_key)])
    assert (found.verification.problems, found.verification.pictures) == ([], 2)


def test_a_lost_picture_is_told_by_the_backup_and_after_it(
    record: SmallRecord, tmp_path: Path, jpeg: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    holed, digest = record.copy(tmp_path / "holed"), sha256_hex(jpeg(1))
    holed.blobs.delete(digest)
    assert main(["backup", str(tmp_path / "out"), "--data", str(holed.data)]) == 1
    assert f"LOST  blob {digest}" in capsys.readouterr().out
    assert main(["restore", str(tmp_path / "out"), "--data", str(tmp_path / "new")]) == 1
    assert f"WRONG picture {digest}: its bytes are missing" in capsys.readouterr().out


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("what", ["*-record.sqlite", "*-blobs.txt", "*-centre.yaml", "manifest.json", "blobs/*/*"])
@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_a_damaged_backup_leaves_the_machine_empty(
    backup: Path, tmp_path: Path, what: str, damage: Callable[[Path], None]
) -> None:
    out, new = tmp_path / "backup", tmp_path / "new"
    shutil.copytree(backup, out)
    damage(sorted(out.glob(what))[0])
    with pytest.raises(BackupDamaged):
        restore(out, Settings(data_dir=new), None)
    assert not new.exists()


def test_only_an_empty_folder_and_a_trusted_key_are_taken(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(BackupDamaged, match="not among the public keys"):
        restore(backup, Settings(data_dir=tmp_path / "new"), [LogKey.of(Signer.generate().public_key)])
    (tmp_path / "new" / "something").touch()
    with pytest.raises(NotEmpty):
        restore(backup, Settings(data_dir=tmp_path / "new"), None)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["something"]


def test_a_backup_does_not_run_beside_a_purge(record: SmallRecord, tmp_path: Path) -> None:
    busy = record.copy(tmp_path / "busy")
    with busy.changing() as db:
        assert hold_duty(db, "retention", "another", 60.0)
    engine = make_engine(busy.settings)
    with pytest.raises(BackupBusy):
        make_backup(engine, busy.settings, busy.blobs, busy.signer, tmp_path / "out")
    engine.dispose()
