"""The life cycle in SQLite and in PostgreSQL: replicas at once do each step once, and a used photo is found again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import make_engine, migrate
from server.life_cycle.lists import FalseAlarms, false_alarms, list_interviews
from server.life_cycle.proof import DuplicatePhoto
from server.models_life_cycle import Card, Interview, OverdueStep, Recheck
from server.settings import Settings
from tests.postgres_server import PostgresServer
from tests.server.centre import picture
from tests.server.life_cycle.record import Desk


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    settings = Settings(data_dir=tmp_path)
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        settings = settings.model_copy(update={"database": server.ready_record()})
    migrate(settings)
    engine = make_engine(settings)
    yield Desk(engine, tmp_path, picture)
    engine.dispose()


def test_replicas_at_once_do_each_step_once(desk: Desk) -> None:
    for number in range(6):
        desk.raised("unattended_flame", source=f"cam-{number}")
    desk.later(days=10)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            desk.clockwork().work_off()
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Counter(card.colour for card in desk.rows(Card)) == {"yellow": 6, "red": 6}
    assert Counter(row.name for row in desk.rows(OverdueStep)) == {"acknowledge": 6, "rectify": 6}
    assert [entry.reason for entry in desk.rows(Interview)] == ["overdue"]
    hand = desk.hand("staff")
    with desk.changing() as db:
        assert len(list_interviews(db, hand.user, still_open=True)) == 1


def test_a_rectification_is_proved_once_looked_at_again_and_dismissed(desk: Desk) -> None:
    first, second = desk.raised(), desk.raised(source="cam-2")
    desk.submit(first, picture(1))
    with pytest.raises(DuplicatePhoto):
        desk.submit(second, picture(1))
    desk.later(hours=1)
    desk.clockwork().work_off()
    assert [(row.state, row.reason) for row in desk.rows(Recheck)] == [("unavailable", "late")]
    desk.move(first, "dismiss", "regulator", "a poster")
    hand = desk.hand("regulator")
    with desk.changing() as db:
        assert false_alarms(db, hand.user) == [FalseAlarms("m" * 64, 2, 1)]
