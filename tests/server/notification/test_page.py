"""The page of a person's own channels: usable on a phone, and nothing of an address comes out of it again."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from server.cli import main
from server.notification.rules import DEFAULT_RULES, load_rules
from tests.receivers import Browser
from tests.server.centre import Centre, Person

PATH = "/me/notifications"
TOKEN = "s3cretTok3nOfTheBot"


def add(person: Person, kind: str, address: str, **fields: str) -> int:
    form = {"kind": kind, "address": address, "tiers": "3", "csrf": person.csrf["x-csrf-token"], **fields}
    return person.post(PATH, data=form).status_code


def numbers(person: Person) -> list[str]:
    return re.findall(rf"{PATH}/(\d+)/remove", person.get(PATH).text)


def act(person: Person, number: str, kind: str) -> int:
    return person.post(f"{PATH}/{number}/{kind}", data={"csrf": person.csrf["x-csrf-token"]}).status_code


def test_person_adds_tries_and_removes_a_channel_and_sees_it_masked(centre: Centre) -> None:
    person = centre.person("staff", "Canteen A")
    assert "还没有通知渠道" in person.get(PATH).text
    assert add(person, "feishu", TOKEN) == 303
    page = person.get(PATH, headers={"accept-language": "en"}).text
    assert "Feishu bot" in page
    assert f"…{TOKEN[-4:]}" in page
    assert TOKEN not in page
    (number,) = numbers(person)
    assert add(person, "feishu", TOKEN, tiers="1") == 303
    assert numbers(person) == [number], "the same address is the same channel"
    assert act(person, number, "try") == 303
    assert act(person, number, "remove") == 303
    assert numbers(person) == []
    with sqlite3.connect(centre.data / "record.sqlite") as db:
        assert not db.execute("SELECT 1 FROM notification_channel WHERE address = ?", (TOKEN,)).fetchall()
    db.close()


def test_nobody_touches_the_channel_of_somebody_else(centre: Centre, staff: Person, regulator: Person) -> None:
    assert add(staff, "wecombot", TOKEN) == 303
    (number,) = numbers(staff)
    assert numbers(regulator) == []
    assert [act(regulator, number, kind) for kind in ("remove", "try")] == [422, 422]
    assert staff.post(f"{PATH}/{number}/remove", data={"csrf": "x"}).status_code == 403
    assert numbers(staff) == [number]
    with centre.client() as client:
        assert client.get(PATH).status_code == 303
        assert client.post(PATH, data={"kind": "feishu", "address": TOKEN}).status_code == 303


@pytest.mark.parametrize(
    ("kind", "address"),
    [("mail", "li@school.example"), ("json", "http://127.0.0.1:1/x"), ("feishu", "http://10.0.0.1/"), ("push", "{}"),
     ("push", Browser("http://127.0.0.1:9/push").subscription), ("json", "https://169.254.169.254/")],
)  # fmt: skip
def test_address_that_is_wrong_or_not_set_up_is_refused_with_a_sentence(
    regulator: Person, kind: str, address: str
) -> None:
    form = {"kind": kind, "address": address, "csrf": regulator.csrf["x-csrf-token"]}
    answer = regulator.post(PATH, data=form)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert address not in answer.text


def test_browser_subscribes_with_the_key_that_the_console_prints(
    centre: Centre, staff: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push-key", "--data", str(centre.data)]) == 0
    key = capsys.readouterr().out.strip()
    assert len(key) == 87
    assert f'data-key="{key}"' in staff.get(PATH).text
    assert (centre.data / "web-push.pem").stat().st_mode & 0o777 == 0o600
    worker = staff.get("/push-worker.js")
    assert worker.headers["content-type"].startswith("text/javascript")
    assert add(staff, "push", Browser("https://push.example/abc").subscription) == 303
    assert "push.example …/abc" in staff.get(PATH).text


def test_page_of_an_alert_shows_who_was_told(centre: Centre) -> None:
    person = centre.person("staff", "Canteen B")
    add(person, "feishu", TOKEN)
    box = centre.box("Canteen B")
    alert_id = box.raise_alert(person, data={"kind": "no_mask"})
    events = []
    while not any(item["subject"] == f"alerts/{alert_id}" for item in events):  # the feed has it within seconds
        events = person.get("/api/v1/events", params={"limit": 500}).json()["events"]
    page = person.get(f"/alerts/{alert_id}").text
    assert "通知记录" in page
    assert f"{person.name} · 飞书机器人" in page
    assert TOKEN not in page


def test_feed_is_read_from_a_cursor_and_holds_only_what_the_reader_may_see(centre: Centre, regulator: Person) -> None:
    staff = centre.person("staff", "Canteen C")
    alert_id = centre.box("Canteen C").raise_alert(staff)
    answer: dict[str, object] = {"events": []}
    while not answer["events"]:
        answer = staff.get("/api/v1/events").json()
    (event,) = answer["events"]  # type: ignore[misc]
    assert event["type"] == "brightline.alert.raise.v1"
    staff.move(alert_id, "acknowledge")
    later: dict[str, object] = {"events": []}
    while not later["events"]:
        later = staff.get("/api/v1/events", params={"after": answer["cursor"]}).json()  # type: ignore[dict-item]
    assert [item["type"] for item in later["events"]] == ["brightline.alert.acknowledge.v1"]  # type: ignore[attr-defined]
    assert staff.get("/api/v1/events").json()["events"][0] == event, "the same again"
    everything = regulator.get("/api/v1/events", params={"limit": 500}).json()["events"]
    assert event in everything
    assert len(everything) > 2


def test_rules_of_the_product_load_and_a_mistake_is_named(tmp_path: Path) -> None:
    rules = load_rules(DEFAULT_RULES)
    assert rules.routing == {1: "city", 2: "district", 3: "station"}
    assert all(rules.notices[0].fits(tier, "no_mask", "raise") for tier in (1, 2))
    path = tmp_path / "rules.yaml"
    text = DEFAULT_RULES.read_text("utf-8")
    for old, new, place in (
        ('start: "21:30"', 'start: "25:30"', "quiet_hours.start"),
        ("3: station", "3: village", "routing.3"),
        ("at_once: 5", "at_once: 0", "cap.at_once"),
        ("delivery: hourly", "delivery: never", "notices.1.delivery"),
        ("flap_window_s: 1800", "flap_s: 1800", "flap_s"),
    ):
        path.write_text(text.replace(old, new), "utf-8")
        with pytest.raises(ValueError, match=f"rules.yaml: {place}"):
            load_rules(path)
