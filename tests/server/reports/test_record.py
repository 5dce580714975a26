"""The record under the reports: bounds, older records, and that the index follows the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.database import make_engine, migrate
from server.reports.builder import READINGS_MAX, ReportRefused, read_points, read_refs
from server.reports.sources import BatchRef, batch_lines, digest_of
from server.series.settings import RecordSeries
from server.series.stores import open_store
from server.settings import Settings
from tests.server.centre import Centre, reading, run_cli
from tests.server.reports.kitchen import END, START, Kitchen

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def engine(kitchen: Kitchen) -> Iterator[Engine]:
    engine = make_engine(Settings(data_dir=kitchen.centre.data))
    yield engine
    engine.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def test_more_readings_than_a_report_takes_are_refused(kitchen: Kitchen, engine: Engine) -> None:
    series = open_store(RecordSeries(), engine)
    assert len(read_points(series, kitchen.box.box_id, "cold-1", START, END)) <= READINGS_MAX
    with pytest.raises(ReportRefused, match="shorten the period"):
        read_points(series, kitchen.box.box_id, "cold-1", START, END, points_max=100)


def test_only_batches_of_the_sensor_and_period_are_named(kitchen: Kitchen, db: Session) -> None:
    assert kitchen.box.send(kitchen.box.seal("readings", [reading(4.0, 60, "other")])).is_success
    refs = read_refs(db, kitchen.box.box_id, "cold-1", START, END)
    named = {(ref.lane, ref.seq) for ref in refs}
    assert ("events", 1) in named
    assert ("readings", 17) not in named  # it was lost
    assert max(seq for lane, seq in named if lane == "readings") == 32  # 36 tens of minutes, four of them silent
    hour = read_refs(db, kitchen.box.box_id, "cold-1", START, datetime(2026, 1, 2, 3, 10, tzinfo=UTC))
    assert [(ref.lane, ref.seq) for ref in hour] == [("readings", 1)]


def test_a_record_from_before_the_reports_gets_its_index_by_migration(data: Path) -> None:
    centre = Centre(data)
    try:
        box = centre.box()
        assert box.send(box.seal("readings", [reading(4.0, 0), reading(5.0, 60), reading(9.0, 0, "cold-2")])).is_success
        box.send_event(source_id="cold-1")
    finally:
        assert centre.stop() == 0
    before = rows(data, "SELECT * FROM batch_source ORDER BY batch_id, source_id")
    config = Config()
    config.set_main_option("script_location", str(ROOT / "server" / "migrations"))
    config.attributes["settings"] = Settings(data_dir=data)
    command.downgrade(config, "0002")
    assert rows(data, "SELECT name FROM sqlite_master WHERE name = 'batch_source'") == []
    with pytest.raises(AssertionError, match=r"the record is of version 0002, .*; run brightline-server migrate"):
        run_cli("verify", "--data", str(data))  # an older record is told, and not touched
    migrate(Settings(data_dir=data))
    assert rows(data, "SELECT * FROM batch_source ORDER BY batch_id, source_id") == before
    assert len(before) == 3


def rows(data: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(data / "record.sqlite") as db:
        found = db.execute(query).fetchall()
    db.close()
    return found


def test_the_digest_of_batches_does_not_depend_on_their_order_or_repetition() -> None:
    refs = [BatchRef("box-1", "e", "readings", seq, f"{seq:064x}") for seq in (2, 10, 1)]
    assert digest_of(refs) == digest_of([*reversed(refs), refs[0]])
    assert [line.split()[3] for line in batch_lines(refs).splitlines()] == ["1", "2", "10"]
    assert digest_of(refs) != digest_of(refs[:2])
