"""The audit log holds who did what, refuses to be changed, and `verify` finds what was changed all the same."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from server.accounts import LoginRefused, add_user, disable_user, ensure_site, find_session, finish_login, log_out
from server.audit import CONSOLE, Deed, list_entries, note, note_all, verify_audit
from server.database import make_engine, writing
from server.models import User
from server.models_audit import AuditEntry
from server.regions import ensure_region
from server.settings import Settings
from tests.ready_record import lay_ready_record
from tests.server.centre import PASSWORD


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    lay_ready_record(tmp_path)
    made = make_engine(Settings(data_dir=tmp_path))
    yield made
    made.dispose()


@contextmanager
def changing(engine: Engine) -> Iterator[Session]:
    with Session(writing(engine), expire_on_commit=False) as db, db.begin():
        yield db


def checked(engine: Engine) -> tuple[int, list[str]]:
    with Session(engine) as db:
        return verify_audit(db)


def break_in(engine: Engine, *statements: str) -> None:
    """Change the file as somebody with the disk would, past the guards."""
    with closing(sqlite3.connect(str(engine.url.database))) as db:
        for name in ("entry_update", "entry_delete", "head_update", "head_delete"):
            db.execute(f"DROP TRIGGER IF EXISTS audit_{name}")
        for statement in statements:
            db.execute(statement)
        db.commit()


def written(engine: Engine, count: int = 5) -> None:
    for number in range(count):
        with changing(engine) as db:
            note(db, CONSOLE, "site.add", ("site", number), {"name": f"食堂 {number}"})


def test_an_entry_and_what_it_tells_of_are_committed_together_or_not_at_all(engine: Engine) -> None:
    db = Session(writing(engine))
    ensure_site(db, "A")
    db.close()
    assert checked(engine) == (0, [])
    with changing(engine) as db:
        ensure_site(db, "A")
    assert checked(engine) == (1, [])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor_name = 'x'",
        "DELETE FROM audit_entry",
        "UPDATE audit_head SET seq = 1",
        "DELETE FROM audit_head",
    ],
)
def test_the_database_refuses_to_change_the_log(engine: Engine, statement: str) -> None:
    written(engine)
    with closing(sqlite3.connect(str(engine.url.database))) as db, pytest.raises(sqlite3.IntegrityError, match="audit"):
        db.execute(statement)


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (["UPDATE audit_entry SET detail = '{}' WHERE seq = 2"], "entry 2 was changed"),
        (["UPDATE audit_entry SET at = '2020-01-01 00:00:00.000000' WHERE seq = 3"], "entry 3 was changed"),
        (["DELETE FROM audit_entry WHERE seq = 2"], "entry 2 deleted"),
        (["DELETE FROM audit_entry WHERE seq > 3"], "entries 4 to 5 cut off at its end"),
        (["DELETE FROM audit_entry"], "entries 1 to 5 cut off at its end"),
        (["DELETE FROM audit_head"], "its head is gone"),
        (
            ["DELETE FROM audit_entry WHERE seq = 5", "UPDATE audit_head SET seq = 4"],
            "its head is not its last entry",
        ),
        (
            ["DELETE FROM audit_entry WHERE seq = 2", "UPDATE audit_entry SET seq = seq - 1 WHERE seq > 2"],
            "entry 2 does not follow the entry before it",
        ),
    ],
)
def test_verify_finds_what_was_changed(engine: Engine, statements: list[str], problem: str) -> None:
    written(engine)
    assert checked(engine) == (5, [])
    break_in(engine, *statements)
    assert f"audit log: {problem}" in checked(engine)[1]


def test_writers_side_by_side_make_one_chain(engine: Engine) -> None:
    threads = [threading.Thread(target=written, args=(engine, 10)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert checked(engine) == (40, [])


def test_log_ins_failures_lock_out_and_log_outs_are_on_record(engine: Engine) -> None:
    with changing(engine) as db:
        add_user(db, "li", "Li", PASSWORD, "regulator")
    for _ in range(5):
        with changing(engine) as db, pytest.raises(LoginRefused):
            finish_login(db, "li", fits=False, remote_addr="192.0.2.7")
    with changing(engine) as db:
        db.scalars(select(User)).one().locked_until = None
        token, _ = finish_login(db, "li", fits=True, remote_addr="192.0.2.8")
        log_out(db, token, "192.0.2.8")
    with Session(engine) as db:
        entries = db.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
    expected = ["user.add", *["login.failed"] * 5, "login.locked_out", "login", "logout"]
    assert [entry.action for entry in entries] == expected
    assert [entry.remote_addr for entry in entries[1:]] == ["192.0.2.7"] * 6 + ["192.0.2.8"] * 2
    assert (entries[-1].actor_kind, entries[-1].actor_name) == ("user", "li")


def test_a_disabled_account_is_out_at_once_and_cannot_log_in(engine: Engine) -> None:
    with changing(engine) as db:
        user = add_user(db, "li", "Li", PASSWORD, "regulator")
        token, _ = finish_login(db, "li", fits=True)
        assert find_session(db, token) is not None
        disable_user(db, user)
        assert find_session(db, token) is None
    with changing(engine) as db, pytest.raises(LoginRefused, match="wrong_login"):
        finish_login(db, "li", fits=True)


def test_an_auditor_of_a_region_reads_the_entries_of_its_sites_only(engine: Engine) -> None:
    with changing(engine) as db:
        here, there = ensure_region(db, "浙江/杭州"), ensure_region(db, "浙江/宁波")
        below = ensure_region(db, "浙江/杭州/西湖/翠苑")
        inside = ensure_site(db, "A", region=below)
        ensure_site(db, "B", region=there)
        ensure_site(db, "C")
        auditor = add_user(db, "au", "Au", PASSWORD, "auditor", region=here)
        whole = add_user(db, "all", "All", PASSWORD, "auditor")
        assert {entry.object_id for entry in list_entries(db, auditor)} == {str(inside.id)}
        assert len(list_entries(db, whole)) == verify_audit(db)[0]
        assert [entry.seq for entry in list_entries(db, whole, before=4)] == [3, 2, 1]


def test_regions_are_made_once_and_lie_below_each_other(engine: Engine) -> None:
    with changing(engine) as db:
        station = ensure_region(db, "浙江/杭州/西湖/翠苑")
        city = ensure_region(db, "浙江/杭州")
        assert station.level == "station"
        assert station.path.startswith(city.path)
        assert ensure_region(db, "浙江/杭州/西湖/翠苑").id == station.id


def test_many_deeds_at_once_make_the_chain_that_one_by_one_makes(engine: Engine) -> None:
    written(engine, 2)
    with changing(engine) as db:
        made = note_all(db, CONSOLE, [Deed("site.add", ("site", number), {}) for number in range(3)])
        assert [entry.seq for entry in made] == [3, 4, 5]
        assert note_all(db, CONSOLE, []) == []
    written(engine, 1)
    assert checked(engine) == (6, [])
