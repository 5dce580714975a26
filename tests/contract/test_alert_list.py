"""The list of alerts asks as many questions for a hundred alerts as for ten, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from server import queries
from server.api import alert_json
from server.database import make_engine, migrate, writing
from server.models import Alert, Box, Region, Site, User
from server.queries import Narrowing, counts, list_alerts
from server.settings import Settings
from tests.postgres_server import PostgresServer

AT = datetime(2026, 1, 2, tzinfo=UTC)
ALERTS = 120


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A record with alerts of as many sites, each in a region of its own below one."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("record"))
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        settings = settings.model_copy(update={"database": server.ready_record()})
    migrate(settings)
    made = make_engine(settings)
    with Session(writing(made)) as db, db.begin():
        for number in range(ALERTS):
            region = Region(level="station", name=f"station {number}", path=f"/1/{number}/")
            site = Site(name=f"site {number}", time_zone="UTC", region=region)
            db.add(site)
            db.flush()
            db.add(Box(id=f"box-{number}", name="box", site_id=site.id, public_key="key", enrolled_at=AT))
            db.flush()
            db.add(_alert(number, site.id))
    yield made
    made.dispose()


def _alert(number: int, site_id: int) -> Alert:
    return Alert(
        incident_id=f"incident-{number}", site_id=site_id, box_id=f"box-{number}", kind="no_mask", tier=2,
        state="open" if number % 2 else "closed", source_id="cam", source_name="cam", place="", opened_at=AT,
        deadline_at=AT, data={"number": number},
    )  # fmt: skip


def ask(engine: Engine, viewer: User, limit: int, state: str | None = None) -> tuple[list[int], int]:
    """The numbers of the alerts as the API shows them, and how many statements it took."""
    statements: list[str] = []

    def count(*given: object) -> None:
        statements.append(str(given[2]))

    event.listen(engine, "before_cursor_execute", count)
    try:
        with Session(engine) as db, db.begin():
            shown = [alert_json(alert) for alert in list_alerts(db, viewer, state, limit)]
            assert sum(counts(db, viewer).of.values()) == ALERTS
    finally:
        event.remove(engine, "before_cursor_execute", count)
    return [item["data"]["number"] for item in shown], len(statements)


@pytest.mark.parametrize("path", [None, "/1/"], ids=["whole instance", "region"])
def test_a_longer_list_takes_no_more_statements(engine: Engine, path: str | None) -> None:
    viewer = User(role="regulator", region=Region(path=path) if path else None)
    ask(engine, viewer, 1)  # the first connection asks for itself
    short, statements = ask(engine, viewer, 10)
    long, again = ask(engine, viewer, 100)
    assert (len(short), len(long)) == (10, 100)
    assert statements == again <= 8
    assert long == sorted(long, reverse=True)


def test_a_state_and_a_place_to_go_on_from_leave_the_others_out(engine: Engine) -> None:
    viewer = User(role="regulator")
    numbers, _ = ask(engine, viewer, 200, "open")
    assert numbers == list(range(ALERTS - 1, 0, -2))
    with Session(engine) as db, db.begin():
        first = list_alerts(db, viewer, "open", 10)
        rest = list_alerts(db, viewer, "open", 200, first[-1].id)
        assert [alert.data["number"] for alert in [*first, *rest]] == numbers


@pytest.mark.parametrize("path", [None, "/1/"], ids=["whole instance", "region"])
def test_counting_stops_at_the_limit_and_says_so(
    engine: Engine, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = User(role="regulator", region=Region(path=path) if path else None)
    half = ALERTS // 2
    with Session(engine) as db, db.begin():
        for limit, number, shown in ((half, half, "60"), (half - 1, half - 1, "59+")):
            monkeypatch.setattr(queries, "COUNT_MAX", limit)
            found = counts(db, viewer)
            assert found.of == {"open": number, "closed": number}
            assert [found.shown(state) for state in ("open", "closed", "dismissed")] == [shown, shown, "0"]
        assert (found.beyond, found.total) == ({"open", "closed"}, f"{2 * half - 2}+")
        narrowed = counts(db, viewer, Narrowing(site_part="site 11"))
        assert (narrowed.of, narrowed.beyond) == ({"open": 6, "closed": 5}, frozenset())


@pytest.mark.parametrize("narrowing", [Narrowing(site_part="site 11"), Narrowing(tier=2), Narrowing(kind="smoking")])
@pytest.mark.parametrize("path", [None, "/1/", "/1/115/", "/2/"])
def test_alerts_of_places_with_few_are_found_as_those_of_places_with_many(
    engine: Engine, path: str | None, narrowing: Narrowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = User(role="regulator", region=Region(path=path) if path else None)

    def found(db: Session) -> list[object]:
        pages = [list_alerts(db, viewer, state, 10, 118, narrowing) for state in (None, "open", "closed")]
        return [[alert.id for alert in page] for page in pages] + [counts(db, viewer, narrowing)]

    with Session(engine) as db, db.begin():
        few = found(db)
        for limit in ("FEW_MAX", "FEW_SITES_MAX"):
            monkeypatch.setattr(queries, limit, -1)
            assert found(db) == few
            monkeypatch.undo()


@pytest.mark.parametrize("narrowing", [Narrowing(tier=2), Narrowing(kind="no_mask")], ids=["tier", "kind"])
@pytest.mark.parametrize("state", [None, "open"])
def test_what_is_rare_is_not_looked_for_among_all_alerts(
    engine: Engine, narrowing: Narrowing, state: str | None
) -> None:
    plans: list[str] = []

    def explain(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT"):
            ask = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
            rows = cursor.connection.execute(ask + statement, parameters).fetchall()
            plans.append("\n".join(str(row[-1]) for row in rows))

    with Session(engine) as db, db.begin():
        if engine.dialect.name == "postgresql":
            db.execute(text("SET LOCAL enable_seqscan = off"))  # of so few rows it would read all
            db.execute(text("SET LOCAL enable_bitmapscan = off"))
        event.listen(engine, "before_cursor_execute", explain)
        try:
            list_alerts(db, User(role="regulator"), state, 10, narrowing=narrowing)
            counts(db, User(role="regulator"), narrowing)
        finally:
            event.remove(engine, "before_cursor_execute", explain)
    assert len(plans) == 2
    column = "tier" if narrowing.tier else "kind"
    for plan in plans:
        assert f"ix_alert_{column}_" in plan
        assert "ix_alert_state_id" not in plan
        assert not re.search("SCAN alert|Seq Scan on alert", plan)
