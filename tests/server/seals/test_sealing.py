"""What a session writes is sealed, by whatever means; what it takes back, and what a box sends all day, is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, insert, select, text, update
from sqlalchemy.orm import Session

from server.database import make_engine, writing
from server.dialects import insert_new
from server.models import Region, Site, User
from server.models_keys import KeyPrint
from server.seals.models import RowSeal
from server.seals.sealing import REMOVED
from server.seals.verification import verify_seals
from server.settings import Settings
from tests.ready_record import lay_ready_record
from tests.server.merkle.small_record import SmallRecord, readings

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PRINT = {"name": "a.key", "sha256": "0" * 64, "host": "x", "noted_at": AT}


@pytest.fixture
def engine(data: Path) -> Iterator[Engine]:
    """On a record with one site."""
    lay_ready_record(data)
    made = make_engine(Settings(data_dir=data))
    with Session(writing(made)) as db, db.begin():
        db.add(Site(name="A", time_zone="UTC"))
    yield made
    made.dispose()


def seals(engine: Engine, table_name: str) -> list[RowSeal]:
    with Session(engine) as db:
        return list(db.scalars(select(RowSeal).where(RowSeal.table_name == table_name).order_by(RowSeal.id)))


def problems(engine: Engine) -> list[str]:
    with Session(engine) as db:
        return verify_seals(db)[1]


def tamper(engine: Engine, statement: str) -> None:
    with writing(engine).begin() as connection:
        connection.execute(text(statement))


def test_a_row_gets_one_seal_in_a_transaction_and_none_where_it_is_the_same_as_before(engine: Engine) -> None:
    with Session(writing(engine)) as db, db.begin():
        site = db.scalars(select(Site)).one()
        for zone in ("Asia/Shanghai", "Asia/Urumqi"):
            site.time_zone = zone
            db.flush()
    assert len(seals(engine, "site")) == 2
    with Session(writing(engine)) as db, db.begin():
        db.execute(update(Site).values(time_zone="Asia/Urumqi"))
    assert len(seals(engine, "site")) == 2
    assert problems(engine) == []


def test_a_row_is_sealed_that_changes_by_what_it_is_related_to(engine: Engine) -> None:
    with Session(writing(engine)) as db, db.begin():
        db.scalars(select(Site)).one().region = Region(level="province", name="浙江")
    assert (len(seals(engine, "site")), len(seals(engine, "region"))) == (2, 1)
    assert problems(engine) == []


def test_rows_that_statements_change_or_delete_are_sealed(engine: Engine) -> None:
    with Session(writing(engine)) as db, db.begin():
        insert_new(db, KeyPrint, [PRINT, {**PRINT, "name": "b.key"}])
    with Session(writing(engine)) as db, db.begin():
        db.execute(update(KeyPrint).where(KeyPrint.name == "a.key").values(host="y"))
        db.execute(update(Site.__table__).values(name="B"))  # type: ignore[arg-type]
        db.execute(delete(KeyPrint).where(KeyPrint.name == "b.key"))
    assert [(seal.ref, seal.sha256 == REMOVED) for seal in seals(engine, "key_print")] == [
        ('["a.key"]', False), ('["b.key"]', False), ('["a.key"]', False), ('["b.key"]', True),
    ]  # fmt: skip
    assert problems(engine) == []


def test_rows_whose_keys_are_not_known_before_are_added_as_objects_only(engine: Engine) -> None:
    with Session(writing(engine)) as db, db.begin(), pytest.raises(TypeError, match="rows of site are sealed"):
        db.execute(insert(Site), [{"name": "B", "time_zone": "UTC"}])


def test_what_is_taken_back_leaves_no_seal(engine: Engine) -> None:
    with Session(writing(engine)) as db, db.begin():
        with db.begin_nested() as step:
            db.add(Site(name="B", time_zone="UTC"))
            db.flush()
            step.rollback()
        db.scalars(select(Site)).one().time_zone = "Asia/Shanghai"
    with Session(writing(engine)) as db:
        db.add(Site(name="C", time_zone="UTC"))
        db.flush()
        db.rollback()
        db.commit()
    assert [seal.ref for seal in seals(engine, "site")] == ["[1]", "[1]"]
    assert problems(engine) == []


def test_what_every_log_in_changes_makes_no_seal(engine: Engine) -> None:
    with Session(writing(engine)) as db, db.begin():
        db.add(User(username="li", display_name="Li", password_hash="x", role="staff", site_id=1))
    with Session(writing(engine)) as db, db.begin():
        db.scalars(select(User)).one().failed_logins = 3
    assert len(seals(engine, "user")) == 1
    with Session(writing(engine)) as db, db.begin():
        db.scalars(select(User)).one().role = "site_head"
    assert len(seals(engine, "user")) == 2
    assert problems(engine) == []


def test_rows_that_slip_in_go_or_come_back_are_named(engine: Engine) -> None:
    tamper(engine, "INSERT INTO site (id, name, time_zone) VALUES (7, 'X', 'UTC')")
    assert problems(engine) == ["site 7: nothing tells that it was written"]
    tamper(engine, "DELETE FROM site")
    assert problems(engine) == ["site 1: is gone"]
    with Session(writing(engine)) as db, db.begin():
        insert_new(db, KeyPrint, [PRINT])
        db.execute(delete(Site))  # it is gone already
        db.execute(delete(KeyPrint))
    tamper(engine, f"INSERT INTO key_print VALUES ('a.key', '{PRINT['sha256']}', 'x', '2026-01-02 03:04:05.000000')")
    assert problems(engine) == ["site 1: is gone", "key_print a.key: nothing tells that it was written"]


@pytest.mark.parametrize("by", ["object", "statement", "deletion"])
def test_what_was_changed_past_the_program_is_still_found_when_the_program_writes_the_row(
    engine: Engine, by: str
) -> None:
    tamper(engine, "UPDATE site SET name = 'X'")
    with Session(writing(engine)) as db, db.begin():
        if by == "object":
            db.scalars(select(Site)).one().time_zone = "Asia/Shanghai"
        elif by == "statement":
            db.execute(update(Site).values(time_zone="Asia/Shanghai"))
        else:
            db.delete(db.scalars(select(Site)).one())
    newest = seals(engine, "site")[-1]
    assert problems(engine) == [f"site 1: was changed past the program before {newest.at:%Y-%m-%d %H:%M:%S}"]


def test_seals_are_only_added_to(engine: Engine) -> None:
    for statement in ("UPDATE row_seal SET sha256 = ''", "DELETE FROM row_seal"):
        with pytest.raises(Exception, match="row_seal is only added to"):
            tamper(engine, statement)


def test_a_batch_of_readings_costs_no_seal(record: SmallRecord) -> None:
    said: list[str] = []

    def listen(_: object, __: object, statement: str, *___: Any) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        with record.changing() as db:
            record.send(db, "readings", readings(3, 60.0))
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert any("INSERT INTO batch" in statement for statement in said)
    assert [statement for statement in said if "row_seal" in statement] == []
