"""Self-control, statistics and the register on SQLite and PostgreSQL: the same figures, kept and proved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime

import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from server.app import create_app
from server.blobs import open_blobs
from server.database import make_engine
from server.merkle.models import LogPending
from server.self_control.ledger import verify_records
from server.self_control.missing import owed
from server.self_control.reminders import remind
from server.series.stores import open_store
from server.settings import Settings
from server.verify import verify
from tests.postgres_server import PostgresServer
from tests.server.self_control.canteen import DAY, Canteen
from tests.server.tenancy.district import District, InProcess, new_sample
from tests.waiting import wait_for

NOW = datetime(2026, 1, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def canteen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canteen]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("canteen") / "data", secure_cookies=False)
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        settings = settings.model_copy(update={"database": server.ready_record()})
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


GUARDED = ("self_control_record", "self_control_edition", "retained_sample", "sample_removal", "asset_version")


def past_all_guards(db: Session, changes: list[str]) -> None:
    """Change the database as its owner would, with the triggers away."""
    if db.connection().dialect.name == "postgresql":
        for table in GUARDED:
            db.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    else:
        listed = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for name in db.execute(listed).scalars().all():
            db.execute(text(f"DROP TRIGGER {name}"))
    for change in changes:
        assert db.connection().execute(text(change)).rowcount > 0, change


@pytest.fixture(scope="module")
def proved(canteen: Canteen) -> tuple[int, int]:
    """A signed record with its correction, two samples, one of them ended, a register; all of them leaves of the log.

    The numbers of the record and of the sample that was ended.
    """
    number = canteen.signed("weekly", DAY)
    samples = f"/api/v1/self-control/samples?site={canteen.site_id}"
    ended, _ = (canteen.ask("staff", "POST", samples, json=new_sample()).json()["id"] for _ in range(2))
    answer = canteen.ask("staff", "POST", f"/api/v1/self-control/samples/{ended}/void", data={"reason": "x"})
    assert answer.status_code < 300, answer.text
    register = f"/api/v1/sites/{canteen.site_id}/assets"
    for name in ("王小明", "李四"):
        said = {"role": "chef", "person": name, "phone": "13800138000"}
        assert canteen.ask("safety_officer", "PUT", f"{register}/contacts", json=said).status_code == 200
    said = {"kind": "licence", "number": "JY3301", "holder": "一小", "expires_on": "2099-12-31"}
    for expires_on in ("2098-12-31", "2099-12-31"):
        answer = canteen.ask(
            "safety_officer", "PUT", f"{register}/certificates", json={**said, "expires_on": expires_on}
        )
        assert answer.status_code == 200, answer.text
    with canteen.district.database() as db:
        gone = db.scalar(text("SELECT id FROM site_contact WHERE person = '李四'"))
    assert canteen.ask("safety_officer", "DELETE", f"{register}/contacts/{gone}").status_code == 204
    assert canteen.ask("safety_officer", "POST", f"/api/v1/sites/{canteen.site_id}/public-page").status_code == 200
    wait_for("every row to have its leaf", lambda: not waiting(canteen))
    return number, ended


def waiting(canteen: Canteen) -> int:
    with canteen.district.database() as db:
        return db.scalar(select(func.count()).select_from(LogPending)) or 0


def problems(canteen: Canteen, changes: list[str], assets: int = 3) -> list[str]:
    """What `verify` says after the changes, which are taken back."""
    settings = canteen.district.settings
    engine = make_engine(settings)
    with canteen.district.database() as db:
        past_all_guards(db, changes)
        with closing(open_store(settings.series, engine, reading=db.connection())) as series:
            found = verify(db, open_blobs(settings), series)
        db.rollback()
    engine.dispose()
    assert found.assets == assets  # a card, a contact, a certificate
    return found.problems


def test_a_record_whose_every_row_is_a_leaf_is_accepted(canteen: Canteen, proved: tuple[int, int]) -> None:
    assert problems(canteen, []) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["UPDATE self_control_edition SET remote_addr = 'x' WHERE record_id = {}"], "log: self_control "),
        (["UPDATE self_control_record SET zero_risk = NOT zero_risk WHERE id = {}"], "its row is not what was signed"),
        (["DELETE FROM self_control_edition WHERE record_id = {}", "DELETE FROM self_control_record WHERE id = {}"],
         "log: self_control "),
        (["UPDATE retained_sample SET weight_g = 126"], "log: sample "),
        (["DELETE FROM sample_removal WHERE sample_id = {1}"], "log: sample_end "),
        (["UPDATE certificate SET expires_on = '2100-01-01'"], "asset certificates 1: is not what was written last"),
        (["UPDATE asset_version SET sha256 = 'x' WHERE sheet = 'certificates'"], "log: asset "),
        (["UPDATE site_card SET grade = 'A'"], "asset sites "),
    ],
)  # fmt: skip
def test_a_changed_or_deleted_row_is_found(
    canteen: Canteen, proved: tuple[int, int], changes: list[str], named: str
) -> None:
    found = problems(canteen, [change.format(*proved) for change in changes])
    assert any(named in line for line in found), found


def test_an_asset_that_slips_in_or_is_deleted_with_its_versions_is_found(
    canteen: Canteen, proved: tuple[int, int]
) -> None:
    gone = ["DELETE FROM certificate", "DELETE FROM asset_version WHERE sheet = 'certificates'"]
    assert any(
        line.startswith("log: asset ") and line.endswith(" is gone") for line in problems(canteen, gone, assets=2)
    )
    said = "INSERT INTO cold_room (site_id, name, kind, filing_number) SELECT id, 'x', '', '' FROM site LIMIT 1"
    found = problems(canteen, [said], assets=4)
    assert any(line.endswith(": nothing tells that it was written") for line in found), found
    found = problems(canteen, gone[:1], assets=2)
    assert "asset certificates 1: is gone" in found
