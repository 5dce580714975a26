"""Retained samples through the door, and reminders through the outbox."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import func, select, text

from server.models_notification import NotificationChannel, NotificationMessage
from server.models_self_control import SelfControlReminder
from server.self_control.reminders import remind
from tests.server.centre import AT, reading
from tests.server.self_control.canteen import API, Canteen


def enter(canteen: Canteen, **changes: Any) -> httpx.Response:
    fields = {
        "meal": "lunch", "dish": "番茄炒蛋", "weight_g": 130, "taken_by": "王",
        "taken_at": (datetime.now(UTC) - timedelta(hours=1)).isoformat(), **changes,
    }  # fmt: skip
    return canteen.ask("staff", "POST", f"{API}/samples", params={"site": canteen.site_id}, json=fields)


def find(canteen: Canteen, number: int) -> dict[str, Any]:
    found = canteen.ask("regulator", "GET", f"{API}/samples", params={"site": canteen.site_id}).json()["samples"]
    return next(dict(sample) for sample in found if sample["id"] == number)


def test_a_sample_is_warned_of_by_weight_time_and_the_series_of_its_refrigerator(canteen: Canteen) -> None:
    now = datetime.now(UTC)
    since_s = (now - AT).total_seconds() - 3600
    warm = [reading(9.0, since_s + 60.0 * minute, "sample-fridge") for minute in range(60)]
    assert canteen.box.send(canteen.box.seal("readings", warm)).status_code == 200
    fridge = {"box_id": canteen.box.box_id, "sensor_id": "sample-fridge"}
    number = enter(canteen, weight_g=90, **fridge).json()["id"]
    sample = find(canteen, number)
    assert sample["warnings"] == ["underweight", "warm"]
    assert (sample["max_c"], sample["keep_until"] > sample["taken_at"]) == (9.0, True)
    path = f"{API}/samples/{number}/removed"
    assert canteen.ask("staff", "POST", path).json()["code"] == "sc_sample_reason"
    assert canteen.ask("staff", "POST", path, data={"reason": "冰箱故障"}).status_code == 200
    assert find(canteen, number)["warnings"] == ["underweight", "early", "warm"]
    assert canteen.ask("staff", "POST", path, data={"reason": "again"}).status_code == 409


def test_a_sample_of_another_time_weight_or_sensor_is_refused(canteen: Canteen) -> None:
    for changes, code in (
        ({"taken_at": "2026-01-01T00:00:00+00:00"}, "sc_sample_time"),
        ({"taken_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, "sc_sample_time"),
        ({"weight_g": 0}, "invalid"),
        ({"dish": ""}, "invalid"),
        ({"box_id": "someone else's", "sensor_id": "x"}, "sc_sample_sensor"),
        ({"sensor_id": "x"}, "sc_sample_sensor"),
    ):
        answer = enter(canteen, **changes)
        assert (answer.status_code, answer.json()["code"]) == (422, code), changes


def test_the_page_enters_a_sample_in_the_sites_time_and_makes_a_mistake_void(canteen: Canteen) -> None:
    csrf = canteen.people["staff"].csrf
    local = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M")
    form = {
        "site": canteen.site_id,
        "meal": "dinner",
        "dish": "<i>汤</i>",
        "weight_g": "150",
        "taken_by": "李",
        "csrf": csrf,
    }
    assert canteen.ask("staff", "POST", "/records/samples", data={**form, "taken_at": local}).status_code == 303
    page = canteen.ask("staff", "GET", f"/records/samples?site={canteen.site_id}").text
    assert "&lt;i&gt;汤&lt;/i&gt;" in page
    wrong = canteen.ask("staff", "POST", "/records/samples", data={**form, "taken_at": "noon"})
    assert (wrong.status_code, "The sample is not right" in wrong.text) == (422, True)
    newest = canteen.ask("staff", "GET", f"{API}/samples", params={"site": canteen.site_id}).json()["samples"][0]
    path = f"/records/samples/{newest['id']}/void"
    assert canteen.ask("staff", "POST", path, data={"csrf": csrf}).status_code == 422
    assert canteen.ask("staff", "POST", path, data={"csrf": csrf, "reason": "重复"}).status_code == 303
    assert find(canteen, newest["id"])["ended"]["how"] == "void"


def test_a_record_is_reminded_of_once_and_old_ones_are_not_told(canteen: Canteen) -> None:
    now = datetime(2026, 1, 10, 0, tzinfo=UTC)  # 08:00 in Shanghai; yesterday's check is due at noon
    with canteen.district.database() as db:
        officer = canteen.district.user(canteen.people["safety_officer"])
        db.add(
            NotificationChannel(
                user_id=officer.id, kind="json", address="secret", label="x", language="en", tier_max=3, created_at=now
            )
        )
        db.execute(text("UPDATE box SET enrolled_at = '2026-01-01 20:00:00.000000'"))
        assert remind(db, now) == 1
        message = db.scalars(select(NotificationMessage)).one()
        assert message.subject == "A: Daily check, Due soon"
        assert "due 2026-01-10 12:00" in message.body
        assert (message.kind, message.tier, message.path) == ("reminder", 3, f"/records?site={canteen.site_id}")
        assert remind(db, now + timedelta(minutes=5)) == 0
        noted = db.scalar(select(func.count()).where(SelfControlReminder.stage == "missing"))
        assert noted >= 5  # overdue since before: noted, not told
        assert remind(db, now + timedelta(hours=5)) == 1  # and now it is missing
        assert db.get(SelfControlReminder, (canteen.site_id, "daily", date(2026, 1, 9), "missing")) is not None
        db.rollback()
