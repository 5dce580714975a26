"""Seals in SQLite and PostgreSQL: rows of before are sealed by the migration, writers beside each other agree."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from server.database import _alembic, make_engine, migrate, writing
from server.models import Site
from server.seals.models import RowSeal
from server.seals.verification import verify_seals
from server.settings import Settings
from tests.postgres_server import PostgresServer


def test_rows_of_before_are_sealed_as_they_stand_and_marked_so(settings: Settings) -> None:
    config = _alembic()
    config.attributes["settings"] = settings
    command.upgrade(config, str(ScriptDirectory.from_config(config).get_revision("0030").down_revision))
    engine = make_engine(settings)
    with writing(engine).begin() as connection:
        connection.execute(text("INSERT INTO site (id, name, time_zone) VALUES (1, 'A', 'UTC'), (2, 'B', 'UTC')"))
    engine.dispose()  # no statement of before is kept
    migrate(settings)
    with Session(writing(engine)) as db, db.begin():
        assert verify_seals(db) == (2, [])
        db.get_one(Site, 1).time_zone = "Asia/Shanghai"
    with Session(writing(engine)) as db, db.begin():
        found = db.execute(select(RowSeal.ref, RowSeal.found).order_by(RowSeal.id))
        assert [tuple(row) for row in found] == [("[1]", True), ("[2]", True), ("[1]", False)]
        waiting = db.scalar(text("SELECT count(*) FROM log_pending WHERE kind = 'seal'"))
        assert waiting == 3
        assert verify_seals(db)[1] == []
        db.execute(text("UPDATE site SET name = 'C' WHERE id = 2"))
    with Session(engine) as db:
        assert verify_seals(db)[1] == ["site 2: is not what was written last"]
    engine.dispose()


def test_of_two_writers_of_one_row_the_later_seal_is_of_what_both_wrote(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, database=postgres.new_record())
    migrate(settings)
    engine = make_engine(settings)
    with Session(writing(engine)) as db, db.begin():
        db.add(Site(id=1, name="A", time_zone="UTC"))
    beside = writing(engine, beside=True)
    with Session(beside) as slow, slow.begin():
        read_before = slow.get_one(Site, 1)
        with Session(beside) as quick, quick.begin():
            quick.get_one(Site, 1).name = "B"
        read_before.time_zone = "Asia/Shanghai"
    with Session(engine) as db:
        row = db.get_one(Site, 1)
        assert (row.name, row.time_zone) == ("B", "Asia/Shanghai")
        assert verify_seals(db) == (1, [])
    engine.dispose()
