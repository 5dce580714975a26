"""Self-control and statistics on SQLite and PostgreSQL: the same figures, and what is signed is kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from server.app import create_app
from server.self_control.ledger import verify_records
from server.self_control.missing import owed
from server.self_control.reminders import remind
from server.settings import Settings
from tests.postgres_server import PostgresServer
from tests.server.self_control.canteen import DAY, Canteen
from tests.server.tenancy.district import District, InProcess

NOW = datetime(2026, 1, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def canteen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canteen]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("canteen") / "data", secure_cookies=False)
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        settings = settings.model_copy(update={"database": server.new_record()})
    app = create_app(settings)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        district = District(InProcess(app, portal), settings)
        yield Canteen.furnished(district)
        portal.call(district.client_.client.aclose)


def test_a_signed_record_stands_still_and_verifies(canteen: Canteen) -> None:
    number = canteen.signed("daily", DAY)
    said = {"target": "item.D04.action", "corrected": "x", "reason": "y"}
    path = f"/api/v1/self-control/records/{number}/corrections"
    assert canteen.ask("safety_officer", "POST", path, data=said).status_code == 201
    with canteen.district.database() as db:
        assert verify_records(db) == (2, [])
    for change in (
        f"UPDATE self_control_edition SET move = 'x' WHERE record_id = {number}",
        f"DELETE FROM self_control_edition WHERE record_id = {number}",
        f"UPDATE self_control_record SET form = '{{}}' WHERE id = {number}",
        f"UPDATE self_control_record SET zero_risk = NOT zero_risk, edition = 9 WHERE id = {number}",
        f"DELETE FROM self_control_record WHERE id = {number}",
    ):
        with pytest.raises(DBAPIError), canteen.district.database() as db:
            db.execute(text(change))


def test_missing_reminders_and_figures_are_the_same_on_both(canteen: Canteen) -> None:
    with canteen.district.database() as db:
        db.execute(text("UPDATE box SET enrolled_at = '2026-01-07 20:00:00'"))
        daily = [(item.period.first, item.stage) for item in owed(db, None, NOW) if item.period.kind == "daily"]
        assert daily == [(date(2026, 1, 8), "missing"), (date(2026, 1, 9), "soon"), (date(2026, 1, 10), "open")]
        assert remind(db, NOW) == 0  # nobody has a channel
        db.rollback()
    period = {"from": "2026-01", "to": "2026-01"}
    for by in ("month", "kind", "region", "site"):
        answer = canteen.ask("regulator", "GET", "/api/v1/statistics", params={**period, "by": by})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["total"]["confirmed"], answer.json()["total"]["coverage"]) == (1, 98.8)
