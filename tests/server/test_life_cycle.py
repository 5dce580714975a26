"""From raised to closed: each move once, by the right person, with a row that tells of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.server.centre import Centre, Person, is_problem

Jpeg = Callable[..., bytes]


def test_an_alert_is_seen_through_to_its_repair(centre: Centre, staff: Person, regulator: Person, jpeg: Jpeg) -> None:
    alert_id = centre.box().raise_alert(staff)
    assert staff.move(alert_id, "acknowledge").json() == {"state": "acknowledged"}
    assert staff.submit(alert_id, jpeg(1), "door closed").json() == {"state": "submitted"}
    for empty in ("", "   "):
        answer = regulator.move(alert_id, "reject", empty)
        assert (answer.status_code, answer.json()["code"]) == (422, "note_missing")
    assert regulator.move(alert_id, "reject", "still open").json() == {"state": "rejected"}
    assert staff.submit(alert_id, jpeg(2), "now really").json() == {"state": "submitted"}
    assert regulator.move(alert_id, "accept").json() == {"state": "closed"}

    detail = regulator.get(f"/api/v1/alerts/{alert_id}").json()
    assert [(row["move"], row["by"], row["from"], row["to"]) for row in detail["moves"]] == [
        ("raise", None, None, "open"),
        ("acknowledge", staff.name, "open", "acknowledged"),
        ("submit", staff.name, "acknowledged", "submitted"),
        ("reject", regulator.name, "submitted", "rejected"),
        ("submit", staff.name, "rejected", "submitted"),
        ("accept", regulator.name, "submitted", "closed"),
    ]
    assert [(item["matter"], item["accepted"]) for item in detail["rectifications"]] == [
        ("door closed", False),
        ("now really", True),
    ]
    with sqlite3.connect(centre.data / "record.sqlite") as db:
        rows = db.execute(
            "SELECT at, remote_addr FROM alert_move WHERE alert_id = ? ORDER BY id", (alert_id,)
        ).fetchall()
    db.close()
    assert [row[1] for row in rows] == [""] + ["127.0.0.1"] * 5
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_a_move_that_is_not_possible_now_is_a_conflict(
    centre: Centre, staff: Person, regulator: Person, jpeg: Jpeg
) -> None:
    alert_id = centre.box().raise_alert(staff)
    before = centre.dump()
    answers = [regulator.move(alert_id, "accept"), regulator.move(alert_id, "reject", "why")]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert is_problem(answers[0])
    assert centre.dump() == before
    assert staff.submit(alert_id, jpeg(61)).status_code == 201
    before = centre.dump()
    assert [staff.move(alert_id, "acknowledge").status_code, staff.submit(alert_id, jpeg(3)).status_code] == [409, 409]
    assert centre.dump() == before, "a photo that came too late is not kept"


def test_of_many_decisions_at_once_one_counts(centre: Centre, staff: Person, regulator: Person, jpeg: Jpeg) -> None:
    others = [centre.person("regulator"), regulator]
    for number in range(3):
        alert_id = centre.box().raise_alert(staff)
        assert staff.submit(alert_id, jpeg(70 + number)).status_code == 201
        decisions = [(who, kind) for who in others for kind in ("accept", "reject", "accept")]
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda item, at=alert_id: item[0].move(at, item[1], "why").status_code, decisions))
        assert sorted(found) == [200] + [409] * 5
        assert len(regulator.get(f"/api/v1/alerts/{alert_id}").json()["moves"]) == 3


def test_of_many_photos_at_once_one_is_kept(centre: Centre, staff: Person, jpeg: Jpeg) -> None:
    alert_id = centre.box().raise_alert(staff)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: staff.submit(alert_id, jpeg(40 + seed)).status_code, range(4)))
    assert sorted(found) == [201, 409, 409, 409]
    assert len(staff.get(f"/api/v1/alerts/{alert_id}").json()["rectifications"]) == 1


def test_a_box_that_reports_while_people_decide_disturbs_nobody(
    centre: Centre, staff: Person, regulator: Person, jpeg: Jpeg
) -> None:
    box = centre.box()
    event = box.send_event()
    alert_id = next(
        item["id"] for item in staff.get("/api/v1/alerts").json()["alerts"] if item["incident_id"] == event.incident_id
    )
    updates = [
        box.seal(
            "events", [box.event("excursion_updated", incident_id=event.incident_id, data={"peak_c": float(peak)})]
        )
        for peak in range(20)
    ]
    with ThreadPoolExecutor(2) as pool:
        sent = pool.submit(lambda: [box.send(raw).json()["receipts"][0]["status"] for raw in updates])
        assert staff.move(alert_id, "acknowledge").status_code == 200
        assert staff.submit(alert_id, jpeg(5)).status_code == 201
        assert regulator.move(alert_id, "accept").status_code == 200
        assert sent.result() == ["accepted"] * 20
    detail = regulator.get(f"/api/v1/alerts/{alert_id}").json()
    assert (detail["state"], detail["data"]["peak_c"]) == ("closed", 19.0)
