"""Migrations, in SQLite and in PostgreSQL: done whole or not at all, and what was there stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from server.database import _alembic, check_revision, make_engine, migrate, writing
from server.merkle import triggers
from server.settings import Settings
from tests.postgres_server import PostgresServer

AT = "2026-01-02 03:04:05.000000"
ADD_EVENT = (
    "INSERT INTO event (event_id, incident_id, box_id, type, source_id, at, data) "
    f"VALUES ('event-1', 'incident-1', :box, 'warning', 'cold-1', '{AT}', '{{}}')"
)


class Cut(Exception):
    """Stands for the end of the process."""


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of an empty record."""
    made = Settings(data_dir=tmp_path)
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        made = made.model_copy(update={"database": server.new_record()})
    return made


def test_migration_that_is_cut_leaves_nothing_half_done(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(triggers, "ensure_triggers", cut)  # the last step
        with pytest.raises(Cut):
            migrate(settings)
    engine = make_engine(settings)
    assert inspect(engine).get_table_names() == []
    migrate(settings)
    check_revision(engine)
    engine.dispose()


def test_events_of_before_stay_and_another_box_may_say_their_ids(settings: Settings) -> None:
    config = _alembic()
    config.attributes["settings"] = settings
    before = str(ScriptDirectory.from_config(config).get_revision("0024").down_revision)
    command.upgrade(config, before)
    engine = make_engine(settings)
    add_event = text(ADD_EVENT)
    with writing(engine).begin() as db:
        db.execute(text("INSERT INTO site (id, name, time_zone) VALUES (1, 'A', 'UTC')"))
        for box_id in ("a", "b"):
            box = f"INSERT INTO box (id, name, site_id, public_key, enrolled_at) VALUES ('{box_id}', '', 1, '', '{AT}')"
            db.execute(text(box))
        db.execute(add_event, {"box": "a"})
    for step in (migrate, lambda _: command.downgrade(config, before), migrate):
        engine.dispose()  # no statement of before is kept
        step(settings)
        with writing(engine).begin() as db:
            assert db.execute(text("SELECT event_id, box_id, data FROM event")).one()[:2] == ("event-1", "a")
    with writing(engine).begin() as db:
        db.execute(add_event, {"box": "b"})
    with writing(engine).begin() as db, pytest.raises(IntegrityError):
        db.execute(add_event, {"box": "a"})
    engine.dispose()
