"""Migrations, in SQLite and in PostgreSQL: done whole or not at all, and what was there stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from server.database import _alembic, check_revision, make_engine, migrate, writing
from server.merkle import triggers
from server.merkle.leaves import KINDS
from server.models import Evidence
from server.settings import Settings

AT = "2026-01-02 03:04:05.000000"
ADD_EVENT = (
    "INSERT INTO event (event_id, incident_id, box_id, type, source_id, at, data) "
    f"VALUES ('event-1', 'incident-1', :box, 'warning', 'cold-1', '{AT}', '{{}}')"
)
ADD_PICTURE = (
    "INSERT INTO evidence ({key}sha256, box_id, incident_id, role, size_bytes, signed_manifest, signature, "
    f"received_at) VALUES ({{value}}'black', 'a', :incident, 'annotated', 1, :signed, :signed, '{AT}')"
)


class Cut(Exception):
    """Stands for the end of the process."""


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


def before(settings: Settings, revision: str) -> tuple[Config, str]:
    """Migrate to the revision before that one, with two boxes; gives its name."""
    config = _alembic()
    config.attributes["settings"] = settings
    found = str(ScriptDirectory.from_config(config).get_revision(revision).down_revision)
    command.upgrade(config, found)
    engine = make_engine(settings)
    with writing(engine).begin() as db:
        db.execute(text("INSERT INTO site (id, name, time_zone) VALUES (1, 'A', 'UTC')"))
        for box_id in ("a", "b"):
            box = f"INSERT INTO box (id, name, site_id, public_key, enrolled_at) VALUES ('{box_id}', '', 1, '', '{AT}')"
            db.execute(text(box))
    engine.dispose()
    return config, found


def test_events_of_before_stay_and_another_box_may_say_their_ids(settings: Settings) -> None:
    config, older = before(settings, "0024")
    engine = make_engine(settings)
    add_event = text(ADD_EVENT)
    with writing(engine).begin() as db:
        db.execute(add_event, {"box": "a"})
    for step in (migrate, lambda _: command.downgrade(config, older), migrate):
        engine.dispose()  # no statement of before is kept
        step(settings)
        with writing(engine).begin() as db:
            assert db.execute(text("SELECT event_id, box_id, data FROM event")).one()[:2] == ("event-1", "a")
    with writing(engine).begin() as db:
        db.execute(add_event, {"box": "b"})
    with writing(engine).begin() as db, pytest.raises(IntegrityError):
        db.execute(add_event, {"box": "a"})
    engine.dispose()


def test_pictures_of_before_keep_their_place_in_the_log_and_another_may_be_the_same(settings: Settings) -> None:
    config, older = before(settings, "0025")
    engine = make_engine(settings)
    make = triggers._postgres if engine.dialect.name == "postgresql" else triggers._sqlite
    with writing(engine).begin() as db:
        for statement in make(replace(KINDS["evidence"], key=Evidence.sha256)):  # as the program of then had it
            db.execute(text(statement))
        db.execute(text(ADD_PICTURE.format(key="", value="")), {"incident": "1", "signed": b"one"})
    for step in (migrate, lambda _: command.downgrade(config, older), migrate):
        engine.dispose()
        step(settings)
        with writing(engine).begin() as db:
            found = db.execute(text("SELECT sha256, incident_id, signed_manifest FROM evidence")).one()
            assert (*found[:2], bytes(found[2])) == ("black", "1", b"one")
    add = text(ADD_PICTURE.format(key="key, ", value=":key, "))
    with writing(engine).begin() as db:
        db.execute(add, {"key": "k2", "incident": "2", "signed": b"two"})
    with writing(engine).begin() as db, pytest.raises(IntegrityError):
        db.execute(add, {"key": "k2", "incident": "3", "signed": b"three"})
    with engine.connect() as db:
        assert db.execute(text("SELECT key FROM evidence ORDER BY key")).scalars().all() == ["black", "k2"]
        noted = text("SELECT ref FROM log_pending WHERE kind = 'evidence' ORDER BY id")
        assert db.execute(noted).scalars().all() == ["black", "k2"]
    engine.dispose()
