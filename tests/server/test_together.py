"""Several works in one transaction: one commit, each with its own outcome, and no fault that is another's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from server.database import make_engine
from server.deps import AppState
from server.models import Site
from server.settings import Settings
from server.together import transact_together
from server.turns import TOGETHER_BYTES_MAX, Haste, Turns
from tests.ready_record import lay_ready_record
from tests.waiting import wait_for

Work = Callable[[Session], str]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    lay_ready_record(tmp_path)
    engine = make_engine(Settings(data_dir=tmp_path))
    yield engine
    engine.dispose()


def adding(name: str) -> Work:
    def work(db: Session) -> str:
        db.add(Site(name=name, time_zone="Asia/Shanghai"))
        db.flush()
        return f"{name} is stored"

    return work


def refusing(name: str) -> Work:
    def work(db: Session) -> str:
        adding(name)(db)
        raise LookupError(f"{name} is refused")

    return work


def run_at_once(engine: Engine, works: list[Work], size_bytes: int = 100) -> list[str]:
    """What each gave or raised, when all but the first came while another had the turn."""
    state = cast(AppState, SimpleNamespace(engine=engine, turns=Turns()))
    told = [""] * len(works)

    def run(place: int) -> None:
        try:
            told[place] = transact_together(state, works[place], Haste.USUAL, size_bytes)
        except (LookupError, OperationalError) as error:
            told[place] = str(error)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    with state.turns.taken():
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_for("the thread waits", lambda number=number: state.turns.waiting == number)  # type: ignore[misc]
    for thread in threads:
        thread.join()
    return told


def stored(engine: Engine) -> set[str]:
    with Session(engine) as db:
        return set(db.scalars(select(Site.name)))


@pytest.fixture
def commits(engine: Engine) -> list[str]:
    """One entry for each commit of the engine from now on."""
    told: list[str] = []

    @event.listens_for(engine, "commit")
    def note(_: Connection) -> None:
        told.append("commit")

    return told


def test_all_who_wait_are_stored_by_one_commit(engine: Engine, commits: list[str]) -> None:
    names = [f"site {number}" for number in range(6)]
    told = run_at_once(engine, [adding(name) for name in names])
    assert told == [f"{name} is stored" for name in names]
    assert commits == ["commit"]
    assert stored(engine) == set(names)


def test_one_that_is_refused_undoes_no_other_and_hears_why(engine: Engine) -> None:
    told = run_at_once(engine, [adding("a"), refusing("b"), adding("c")])
    assert told == ["a is stored", "b is refused", "c is stored"]
    assert stored(engine) == {"a", "c"}


def test_who_comes_first_and_is_refused_still_has_the_others_stored(engine: Engine) -> None:
    assert run_at_once(engine, [refusing("a"), adding("b")]) == ["a is refused", "b is stored"]
    assert stored(engine) == {"b"}


def test_a_commit_that_fails_is_nobodys_receipt_and_each_is_done_alone(engine: Engine) -> None:
    failures = [OperationalError("COMMIT", None, Exception("disk I/O error"))]

    @event.listens_for(engine, "commit")
    def fail(_: Connection) -> None:
        if failures:
            raise failures.pop()

    assert run_at_once(engine, [adding("a"), adding("b")]) == ["a is stored", "b is stored"]
    assert stored(engine) == {"a", "b"}


def test_what_the_database_refuses_to_one_does_not_hinder_the_others(engine: Engine) -> None:
    def break_off(db: Session) -> str:
        raise OperationalError("INSERT", None, Exception("no such table"))

    first, second, third = run_at_once(engine, [adding("a"), break_off, adding("c")])
    assert (first, third) == ("a is stored", "c is stored")
    assert "no such table" in second
    assert stored(engine) == {"a", "c"}


def test_large_requests_are_stored_one_by_one(engine: Engine, commits: list[str]) -> None:
    run_at_once(engine, [adding("a"), adding("b")], size_bytes=TOGETHER_BYTES_MAX)
    assert commits == ["commit", "commit"]
