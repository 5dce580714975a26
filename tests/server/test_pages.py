"""Pages: complete in both languages, whatever a box sends, and never slower by the number of alerts."""

from __future__ import annotations

import re
import sqlite3
import typing
from html import escape
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from server import queries
from server.accounts import add_user, ensure_site
from server.database import make_engine, migrate, writing
from server.i18n import LANGUAGES, catalogue, choose, translate
from server.ingest import KIND_OF_TYPE
from server.life_cycle.proof import Fault
from server.life_cycle.recheck import REASONS
from server.life_cycle.rules import default_rules
from server.life_cycle.state import STATES, Move
from server.photo import Refusal
from server.settings import Settings
from tests.server.centre import Box, Centre, Person, reading

SERVER = Path(queries.__file__).parent
PAGE_ERRORS = {
    "wrong_login", "locked_out", "busy", "csrf", "unknown_alert", "wrong_state", "not_allowed", "note_missing",
    "note_too_long", "unconfirmed", "unknown_picture", "unknown_interview", "photos_too_many", "photo_duplicate",
}  # fmt: skip


@pytest.fixture(scope="module")
def box(centre: Centre) -> Box:
    return centre.box()


def page(person: Person, path: str, language: str = "en") -> str:
    answer = person.get(path, headers={"accept-language": language})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_every_text_of_a_template_and_every_code_is_in_both_languages() -> None:
    keys = set(PAGE_ERRORS) | set(typing.get_args(Refusal)) | set(typing.get_args(Fault))
    for template in (SERVER / "templates").glob("*.html"):
        keys |= set(re.findall(r"""\bt\("([a-z_]+)"\)""", template.read_text("utf-8")))
    keys |= {f"state_{state}" for state in STATES}
    keys |= {f"move_{move}" for move in ("raise", *typing.get_args(Move))}
    keys |= {f"kind_{kind}" for kind in {*default_rules().file.kinds, *KIND_OF_TYPE.values()}}
    keys |= {f"tier_{tier}" for tier in (1, 2, 3)}
    keys |= {f"level_{level}" for level in default_rules().file.ladder}
    keys |= {f"recheck_reason_{reason}" for reason in REASONS}
    keys |= {f"recheck_{word}" for word in ("asked", "unavailable", "compliant", "violating", "unknown")}
    assert len(keys) > 60
    assert keys <= catalogue().keys()
    assert all(all(entry[language].strip() for language in LANGUAGES) for entry in catalogue().values())


def test_the_language_follows_the_browser_and_a_choice_stays(centre: Centre) -> None:
    with centre.client() as client:
        assert '<html lang="zh-CN">' in client.get("/login").text
        assert '<html lang="en">' in client.get("/login", headers={"accept-language": "fr, en;q=0.8"}).text
        answer = client.get("/language/en", params={"next": "/login"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "Log in" in client.get("/login", headers={"accept-language": "zh-CN"}).text
        assert client.get("/language/fr").status_code == 422


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil.example", ""])
def test_the_language_link_leads_nowhere_else(centre: Centre, target: str) -> None:
    with centre.client() as client:
        assert client.get("/language/en", params={"next": target}).headers["location"] == "/"
        assert (
            client.get("/language/en", params={"next": "/\t/evil.example"}).headers["location"] == "/%09/evil.example"
        )


def test_languages_are_chosen_in_the_order_asked_for() -> None:
    assert choose("en", "zh") == "en"
    assert choose("xx", "zh-TW, en") == "zh-CN"
    assert choose(None, None) == "zh-CN"
    assert choose(None, "de, EN-us, zh") == "en"


def test_a_kind_that_is_not_known_is_shown_as_such(box: Box, staff: Person) -> None:
    alert_id = box.raise_alert(staff, kind="violation_opened", data={"kind": "wet_floor"})
    assert "Other alert (wet floor)" in page(staff, f"/alerts/{alert_id}")
    assert "其他预警 (wet floor)" in page(staff, "/", "zh-CN")
    for kind in ("", "<script>alert(1)</script>", "x" * 500, "UPPER", None, 7):
        alert_id = box.raise_alert(staff, kind="violation_opened", data={"kind": kind})
        assert "<h1>Violation</h1>" in page(staff, f"/alerts/{alert_id}")


def test_what_a_box_or_a_person_writes_is_text_and_never_markup(box: Box, staff: Person) -> None:
    evil = "<img src=x onerror=alert(1)>\"'"
    alert_id = box.raise_alert(staff, data={"place": evil, "sensor_name": evil, "kind": "temperature_excursion"})
    for text in (page(staff, f"/alerts/{alert_id}"), page(staff, "/"), page(staff, "/partials/alerts")):
        assert "<img src=x" not in text
        assert str(escape("<img src=x")) in text


def test_a_warning_says_why_and_when_the_limit_is_expected(box: Box, staff: Person) -> None:
    data = {"kind": "temperature_warning", "reason": "rising <b>fast</b>", "forecast_at": "2026-01-02T04:10:00+00:00"}
    text = page(staff, f"/alerts/{box.raise_alert(staff, kind='warning', data=data)}")
    assert "<h1>Temperature warning</h1>" in text
    assert "rising &lt;b&gt;fast&lt;/b&gt;" in text
    assert "<dt>Limit expected at</dt><dd>2026-01-02 12:10:00</dd>" in text
    assert "still going on" not in text


@pytest.mark.parametrize("wrong", ["soon", "2026-01-02T04:10:00", "0001-01-01T00:00:00+00:00", 7, None])
def test_a_forecast_that_is_no_time_is_left_out(box: Box, staff: Person, wrong: object) -> None:
    alert_id = box.raise_alert(staff, kind="warning", data={"reason": 7, "forecast_at": wrong})
    text = page(staff, f"/alerts/{alert_id}")
    assert "Limit expected at" not in text
    assert "<dt>Reason</dt>" not in text


@pytest.mark.parametrize("wrong", ["a word", True, 10**300, -(10**400), ["x"], None])
def test_a_word_where_a_number_belongs_breaks_no_page(box: Box, staff: Person, wrong: object) -> None:
    box.send(box.seal("readings", [reading(1.7e308, 0), reading(-1.7e308, 1), reading(4, 2)]))
    data = {"limit_c": wrong, "peak_c": wrong, "confidence": wrong, "evidence": wrong}
    alert_id = box.raise_alert(staff, data=data)
    assert "<h1>" in page(staff, f"/alerts/{alert_id}")
    assert staff.get(f"/api/v1/alerts/{alert_id}/series").status_code == 200


def test_an_alert_at_the_end_of_time_does_not_break_the_list(box: Box, staff: Person) -> None:
    for at in ("1970-01-01T00:00:00Z", "8999-12-31T23:59:59Z"):
        alert_id = box.raise_alert(staff, at=at)
        assert "<h1>" in page(staff, f"/alerts/{alert_id}")
    assert "<h1>" in page(staff, "/")


def test_the_series_is_bounded(box: Box, staff: Person) -> None:
    alert_id = box.raise_alert(staff)
    path = f"/api/v1/alerts/{alert_id}/series"
    for span in (
        {"start": "2020-01-01T00:00:00Z"},
        {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
        {"end": "0001-01-01T00:00:00Z"},
        {"start": "2026-01-01T00:00:00"},
    ):
        assert staff.get(path, params=span).status_code == 422


def test_the_chart_is_drawn_from_the_readings_of_the_alerts_own_sensor(centre: Centre, staff: Person) -> None:
    box = centre.box()
    assert "No data yet" in page(staff, f"/alerts/{box.raise_alert(staff)}")
    box.send(box.seal("readings", [reading(4 + at, at) for at in range(5)] + [reading(99, 2, "other")]))
    alert_id = box.raise_alert(staff)
    points = staff.get(f"/api/v1/alerts/{alert_id}/series", params={"end": "2026-01-02T03:10:00Z"}).json()["points"]
    assert [value for _, value in points] == [4, 5, 6, 7, 8]
    text = page(staff, f"/alerts/{alert_id}")
    assert text.count("<polyline") == 1
    assert 'class="limit"' in text


def test_the_list_by_state_and_a_refused_move_are_shown(box: Box, staff: Person) -> None:
    alert_id = box.raise_alert(staff)
    assert f"/alerts/{alert_id}" in page(staff, "/?status=open")
    assert f"/alerts/{alert_id}" not in page(staff, "/?status=closed")
    csrf = staff.csrf["x-csrf-token"]
    first = staff.post(f"/alerts/{alert_id}/acknowledge", data={"csrf": csrf})
    assert (first.status_code, first.headers["location"]) == (303, f"/alerts/{alert_id}")
    again = staff.post(f"/alerts/{alert_id}/acknowledge", data={"csrf": csrf}, headers={"accept-language": "en"})
    assert (again.status_code, catalogue()["wrong_state"]["en"] in again.text) == (409, True)


def test_the_log_in_page_leads_in_and_says_why_not(centre: Centre, staff: Person) -> None:
    with centre.client() as client:
        wrong = client.post("/login", data={"username": staff.name, "password": "wrong"})
        assert (wrong.status_code, catalogue()["wrong_login"]["zh-CN"] in wrong.text) == (403, True)
        right = client.post("/login", data={"username": staff.name, "password": "a long enough password"})
        assert (right.status_code, right.headers["location"]) == (303, "/")
        assert client.get("/").status_code == 200


def test_the_number_of_queries_does_not_grow_with_the_alerts(data: Path) -> None:
    settings = Settings(data_dir=data)
    migrate(settings)
    engine = make_engine(settings)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def count(rows: int) -> int:
        with sqlite3.connect(data / "record.sqlite") as db:
            for _ in range(rows):
                db.execute(
                    "INSERT INTO alert (incident_id, site_id, box_id, kind, tier, state, source_id, source_name, place,"
                    " opened_at, deadline_at, data, version) SELECT hex(randomblob(8)), id, 'b', 'no_mask', 2, 'open',"
                    " 's', 's', '', '2026-01-01 00:00:00', '2026-01-01 00:00:00', '{}', 1 FROM site"
                )
        db.close()
        statements.clear()
        with Session(engine) as db_session:
            found = queries.list_alerts(db_session, user)
            assert all(alert.site.name for alert in found)
            queries.counts(db_session, user)
        return len(statements)

    with Session(writing(engine), expire_on_commit=False) as db_session, db_session.begin():
        for name in ("A", "B", "C"):
            ensure_site(db_session, name)
        user = add_user(db_session, "boss", "Boss", "a long enough password", "regulator", None)
    few, many = count(1), count(16)
    engine.dispose()
    assert few == many
    assert few <= 4


def test_a_text_without_a_kind_is_shown_itself() -> None:
    assert translate("en", "some_new_code") == "some new code"
