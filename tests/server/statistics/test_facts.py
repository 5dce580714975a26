"""The figures of a district: in each viewer's reach and each site's clock, in a fixed number of queries."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from openpyxl import load_workbook
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from server.accounts import ensure_site
from server.app import create_app
from server.database import make_engine
from server.models import Alert, AlertMove, Box, StoredEvent
from server.regions import ensure_region
from server.settings import Settings
from server.statistics.facts import Wanted, read_facts
from tests.server.tenancy.district import REGIONS, District, InProcess, Somebody

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LOCAL_FEBRUARY = datetime(2026, 1, 31, 17, tzinfo=UTC)  # 1 February, 01:00 in Shanghai
API = "/api/v1/statistics"
PERIOD = {"from": "2026-01", "to": "2026-02"}


def add_alert(
    db: Session, site_id: int, number: int, state: str = "open", after_h: float = 1.0, **changes: Any
) -> None:
    """An alert of the site's box; closed or dismissed after some hours."""
    opened = changes.pop("opened_at", datetime(2026, 1, 10, tzinfo=UTC) + timedelta(minutes=number))
    fields = {
        "incident_id": f"{site_id}-{number}", "kind": "no_mask", "tier": 2, "source_id": f"cam-{number}",
        "source_name": "", "place": "", **changes,
    }  # fmt: skip
    alert = Alert(
        site_id=site_id, box_id=f"box-{site_id}", state=state, opened_at=opened, data={},
        deadline_at=opened + timedelta(hours=24), **fields,
    )  # fmt: skip
    db.add(alert)
    db.flush()
    if state != "open":
        at = opened + timedelta(hours=after_h)
        db.add(AlertMove(alert_id=alert.id, at=at, user_id=None, move="x", old_state="open", new_state=state))


def add_box(db: Session, name: str) -> int:
    region = ensure_region(db, REGIONS[name]) if REGIONS.get(name) else None
    site = ensure_site(db, name, region=region)
    db.add(Box(id=f"box-{site.id}", name="box", site_id=site.id, public_key="x", enrolled_at=NOW))
    db.flush()
    return site.id


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    """A: four alerts, two closed (one late), one dismissed; B: one of them by its clock in February; N: =SUM(1)."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("figures") / "data", secure_cookies=False)
    app = create_app(settings)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        made = District(InProcess(app, portal), settings)
        with made.database() as db:
            a, b, n = add_box(db, "A"), add_box(db, "B"), add_box(db, "=SUM(1)")
            for number, (state, after_h) in enumerate(
                [("closed", 2.0), ("closed", 40.0), ("dismissed", 1.0), ("open", 0.0)]
            ):
                add_alert(db, a, number, state, after_h)
            add_alert(db, b, 0, opened_at=LOCAL_FEBRUARY, tier=1, kind="rodent")
            add_alert(db, n, 0, "closed", 3.0)
            first, *_, last = db.scalars(select(Alert).where(Alert.site_id == a).order_by(Alert.id))
            last.repeat_of_id = first.id
            began = datetime(2026, 1, 10, tzinfo=UTC)
            rows = ["no_mask - 900 450", "no_hat - 900 900", "nonsense"]
            db.add(
                StoredEvent(
                    event_id="c1", incident_id="c1", box_id=f"box-{a}", type="coverage", source_id="cam",
                    at=began + timedelta(minutes=15), data={"started_at": began.isoformat(), "rows": rows},
                )
            )  # fmt: skip
        yield made
        portal.call(made.client_.client.aclose)


def person(district: District, role: str, place: str) -> Somebody:
    """Somebody with this role; each is made once, for a password costs its time."""
    known = (who for who in district.people if (who.role, who.place) == (role, place))
    return next(known, None) or district.somebody(role, place)


def ask(district: District, role: str, place: str, **params: Any) -> dict[str, Any]:
    answer = district.ask(person(district, role, place), "GET", API, params={**PERIOD, **params})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_regulators_figures_are_those_of_the_subtree(district: District) -> None:
    whole, of_a = ask(district, "regulator", ""), ask(district, "regulator", "A")
    assert (whole["total"]["alerts"], of_a["total"]["alerts"]) == (6, 4)
    assert [line["name"] for line in of_a["lines"]] == ["A"]
    total = of_a["total"]
    assert (total["confirmed"], total["rectified"], total["rectified_on_time"]) == (3, 66.7, 33.3)
    assert (total["false_alarm_rate"], total["median_h"], total["coverage"]) == (33.3, 21.0, 75.0)
    assert (total["repeats"], total["repeat_rate"], total["overdue"]) == (1, 33.3, 1)
    assert ask(district, "staff", "B")["total"]["alerts"] == 1


def test_a_month_is_that_of_the_sites_clock(district: District) -> None:
    lines = {line["key"]: line for line in ask(district, "staff", "B", by="month")["lines"]}
    assert (lines["2026-01"]["alerts"], lines["2026-02"]["alerts"]) == (0, 1)


def test_coverage_is_told_by_kind_and_none_is_not_zero(district: District) -> None:
    lines = {line["key"]: line["coverage"] for line in ask(district, "regulator", "", by="kind")["lines"]}
    assert lines == {"no_mask": 50.0, "no_hat": 100.0, "rodent": None}


def test_regions_hold_the_sums_of_their_subtree(district: District) -> None:
    lines = [
        (line["name"], line["depth"], line["alerts"]) for line in ask(district, "regulator", "", by="region")["lines"]
    ]
    assert lines == [("浙江", 0, 5), ("杭州", 1, 5), ("上城", 2, 1), ("西湖", 2, 4)]


def test_sites_are_ranked_with_the_reasons_of_their_risk(district: District) -> None:
    lines = ask(district, "regulator", "")["lines"]
    scores = [line["risk"]["score"] for line in lines]
    assert scores == sorted(scores, reverse=True)
    of_b = next(line for line in lines if line["name"] == "B")
    points = {reason["term"]: reason["points"] for reason in of_b["risk"]["reasons"]}
    assert (points["open_tier_1"], points["confirmed_tier_1"]) == (10, 2)
    by_share = ask(district, "regulator", "", rank="rectified")["lines"]
    assert [line["rectified"] for line in by_share] == [0.0, 66.7, 100.0]


def test_no_spreadsheet_runs_a_sites_name(district: District) -> None:
    who = person(district, "regulator", "")
    table = district.ask(who, "GET", f"{API}/files/site/csv", params=PERIOD).content.decode("utf-8-sig")
    names = [row[0] for row in csv.reader(io.StringIO(table))]
    assert "'=SUM(1)" in names
    assert not any(name.startswith(("=", "+", "-", "@")) for name in names)
    book = load_workbook(io.BytesIO(district.ask(who, "GET", f"{API}/files/site/xlsx", params=PERIOD).content))
    cells = [cell for row in book.worksheets[0].iter_rows() for cell in row]
    assert "'=SUM(1)" in [cell.value for cell in cells]
    assert all(cell.data_type != "f" for cell in cells)
    assert any(cell.value == 66.7 and cell.data_type == "n" for cell in cells)
    pdf = district.ask(who, "GET", f"{API}/files/site/pdf", params={**PERIOD, "language": "en"}).content
    assert pdf.startswith(b"%PDF")


@pytest.mark.parametrize("wrong", [{"from": "2026-13"}, {"from": "2020-01"}, {"from": "2026-05", "to": "2026-01"}])
def test_a_period_that_is_none_is_refused_with_a_sentence(district: District, wrong: dict[str, str]) -> None:
    who = person(district, "regulator", "")
    answer = district.ask(who, "GET", API, params={**PERIOD, **wrong})
    assert (answer.status_code, answer.json()["code"]) == (422, "st_period")
    page = district.ask(who, "GET", "/statistics", params={**PERIOD, **wrong})
    assert page.status_code == 422
    assert "Choose 1 to 24 months" in page.text


def test_the_page_shows_the_tables_and_nothing_that_a_site_wrote_as_markup(district: District) -> None:
    page = district.ask(person(district, "regulator", ""), "GET", "/statistics", params={**PERIOD, "name": "<b>"})
    assert page.status_code == 200
    assert '<b>"' not in page.text
    assert 'value="&lt;b&gt;"' in page.text
    page = district.ask(person(district, "regulator", ""), "GET", "/statistics", params=PERIOD)
    for wanted in ('id="by-site"', 'id="by-region"', "66.7 %", "tier I unfinished", "<svg"):
        assert wanted in page.text


@contextmanager
def counting(engine: Engine) -> Iterator[list[str]]:
    said: list[str] = []

    def note(*args: Any) -> None:
        said.append(str(args[2]))

    event.listen(engine, "before_cursor_execute", note)
    yield said
    event.remove(engine, "before_cursor_execute", note)


def test_the_number_of_queries_does_not_grow_with_alerts_or_sites(district: District, tmp_path: Path) -> None:
    wanted = Wanted(date(2026, 1, 1), date(2026, 2, 1))
    viewer = district.user(person(district, "regulator", ""))
    engine = make_engine(district.settings)
    counts = []
    for number in (0, 30):
        with district.database() as db:
            for extra in range(number):
                site_id = add_box(db, f"more-{extra}")
                for alert in range(3):
                    add_alert(db, site_id, alert)
            if number:
                db.flush()
        with counting(engine) as said, Session(engine) as db:
            facts = read_facts(db, viewer, wanted, NOW)
        counts.append(len(said))
    engine.dispose()
    assert len(facts.sites) >= 33
    assert counts[0] == counts[1]
