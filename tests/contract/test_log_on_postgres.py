"""The Merkle log, its checks, a purge and a backup on PostgreSQL as on SQLite."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from server.backup.making import make_backup
from server.backup.restoring import NotEmpty, restore
from server.database import _alembic, make_engine, migrate
from server.merkle.models import LogLeaf
from server.merkle.settings import LogSettings
from server.merkle.worker import LogWorker
from server.notification.egress import Egress
from server.retention.purge import purge_portion
from server.retention.rules import default_retention
from server.settings import Settings
from tests.postgres_server import PostgresServer, program
from tests.server.merkle.small_record import SmallRecord, make_record, readings


def picture(seed: int) -> bytes:
    """Bytes that begin like a JPEG: nobody looks at them here."""
    return b"\xff\xd8" + bytes([seed]) * 100


@pytest.fixture(scope="module")
def record(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> SmallRecord:
    return make_record(tmp_path_factory.mktemp("postgres") / "data", picture, postgres.new_record())


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump and pg_restore where Debian keeps them."""
    folder = Path(program("pg_dump")).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_the_log_has_every_row_and_a_changed_one_is_found(record: SmallRecord) -> None:
    migrate(record.settings)  # a replica that starts: the triggers are there already
    assert (record.verify().problems, record.verify().gaps) == ([], [])
    with record.changing() as db:
        db.execute(text("UPDATE rectification SET note = 'x'"))
    assert any("log: rectification 1 is not what leaf" in line for line in record.verify().problems)
    with record.changing() as db:
        db.execute(text("UPDATE rectification SET note = '擦干净了'"))
    assert record.verify().problems == []


def test_two_replicas_never_give_two_rows_one_leaf(record: SmallRecord) -> None:
    engines = [make_engine(record.settings) for _ in range(2)]
    workers = [LogWorker(engine, LogSettings(), record.data, record.signer, Egress()) for engine in engines]
    with record.changing() as db:
        for number in range(20):
            record.send(db, "readings", readings(1, 100.0 + number))
    with ThreadPoolExecutor(2) as threads:
        added = list(threads.map(LogWorker.append, workers))
    for worker in workers:
        worker.leave()
    assert sorted(added) == [0, 20]  # the duty is one replica's for a while
    with record.changing() as db:
        positions = list(db.scalars(select(LogLeaf.position).order_by(LogLeaf.position)))
    assert positions == list(range(len(positions)))
    assert record.verify().problems == []
    for engine in engines:
        engine.dispose()


@pytest.mark.usefixtures("programs")
def test_a_backup_is_restored_into_an_empty_database_and_an_old_record_is_purged(
    record: SmallRecord, postgres: PostgresServer, tmp_path: Path
) -> None:
    engine = make_engine(record.settings)
    make_backup(engine, record.settings, record.blobs, record.signer, tmp_path / "backup")
    engine.dispose()
    settings = Settings(data_dir=tmp_path / "new", database=postgres.new_record())
    done = restore(tmp_path / "backup", settings, None)
    assert (done.verification.problems, done.verification.pictures) == ([], 1)
    with pytest.raises(NotEmpty):
        restore(tmp_path / "backup", settings.model_copy(update={"data_dir": tmp_path / "other"}), None)
    copy = SmallRecord(tmp_path / "new", record.box_id, record.box, record.epoch, {}, settings.database)
    engine = make_engine(settings)
    purge = partial(purge_portion, engine, copy.blobs, copy.signer, default_retention())
    later = datetime.now(UTC) + timedelta(days=1100)
    done_by_rule = Counter[str]()
    while portion := purge(later):
        done_by_rule += portion
    assert done_by_rule["confirmed-pictures"] == 2
    copy.grow()
    assert copy.verify().problems == []
    with Session(engine) as db:
        assert db.execute(text("SELECT max(length(raw)) FROM batch WHERE lane = 'readings'")).scalar_one() == 0
    engine.dispose()


def test_the_log_can_be_taken_out_and_made_again(postgres: PostgresServer, tmp_path: Path) -> None:
    old = make_record(tmp_path / "old", picture, postgres.new_record())
    with old.changing() as db:  # as an older version wrote it: nothing tells of it
        db.execute(text("INSERT INTO site_contact (site_id, role, person, phone) VALUES (1, 'chef', '王', '')"))
    before = old.verify()
    assert before.problems == ["asset contacts 1: nothing tells that it was written"]
    config = _alembic()
    config.attributes["settings"] = old.settings
    command.downgrade(config, "0012")
    migrate(old.settings)
    assert old.verify().gaps == [f"log: {18 + before.sealed_rows} rows wait for their leaf"]
    old.grow()
    assert old.verify().problems == []
