"""An id is its box's: what another box calls the same is another thing, and nobody touches what is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from server.accounts import ensure_site
from server.assets.expiry import Paper, settle
from server.boxes.settings import BoxSettings
from server.boxes.silence import look
from server.models import Alert, Evidence, StoredEvent
from server.models import Box as Row
from server.models_assets import Certificate
from server.models_audit import AuditEntry
from server.models_boxes import BoxSilence
from server.vendors.intake import add_source, find_source, take_event
from telemetry.batch import sha256_hex
from tests.server.centre import AT, Box, Centre
from tests.server.tenancy.district import District, Somebody, settled

SECRET = b"k" * 32


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("centre"), lambda *_: b"", places=()) as found:
        yield found


@pytest.fixture
def boxes(district: District) -> tuple[Box, Box]:
    """Of two canteens."""
    return Box(cast(Centre, district), "A"), Box(cast(Centre, district), "B")


@pytest.fixture(scope="module")
def staff(district: District) -> tuple[Somebody, Somebody]:
    return district.somebody("staff", "A"), district.somebody("staff", "B")


def alert_of(district: District, box: Box, incident_id: str) -> Alert:
    with district.database() as db:
        return db.scalars(select(Alert).where(Alert.incident_id == incident_id, Alert.box_id == box.box_id)).one()


def shown(district: District, who: Somebody, alert_id: int) -> dict[str, Any]:
    answer = district.ask(who, "GET", f"/api/v1/alerts/{alert_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_same_event_of_two_boxes_is_an_alert_of_each_with_its_own_picture(
    district: District, boxes: tuple[Box, Box], staff: tuple[Somebody, Somebody], jpeg: Callable[..., bytes]
) -> None:
    ids = {"event_id": "event-1", "incident_id": "incident-1"}
    pictures = [jpeg(61), jpeg(62)]
    for box, place, picture in zip(boxes, ("冷库", "备餐间"), pictures, strict=True):
        box.send_event(**ids, data={"place": place})
        assert box.send_evidence(box.evidence(picture, "incident-1"), sha256_hex(picture)).status_code == 201
    alerts = [alert_of(district, box, "incident-1") for box in boxes]
    assert [alert.place for alert in alerts] == ["冷库", "备餐间"]
    for who, alert, other, picture in zip(staff, alerts, alerts[::-1], pictures, strict=True):
        found = shown(district, who, alert.id)
        assert [item["sha256"] for item in found["evidence"]] == [sha256_hex(picture)]
        assert found["place"] == alert.place
        assert district.ask(who, "GET", f"/api/v1/alerts/{other.id}").status_code == 404
        seen = [district.ask(who, "GET", f"/api/v1/evidence/{sha256_hex(item)}").status_code for item in pictures]
        assert sorted(seen) == [200, 404]
        assert seen[pictures.index(picture)] == 200
    assert district.verified().problems == []


def test_same_black_picture_of_two_boxes_and_incidents_is_shown_with_each_alert_and_to_nobody_else(
    district: District, boxes: tuple[Box, Box], staff: tuple[Somebody, Somebody], jpeg: Callable[..., bytes]
) -> None:
    black, stranger, path = jpeg(63), district.somebody("staff", "C"), f"/api/v1/evidence/{sha256_hex(jpeg(63))}"
    for box, who, incidents in zip(boxes, staff, (("black-1", "black-2"), ("black-1",)), strict=True):
        assert district.ask(who, "GET", path).status_code == 404
        for incident_id in incidents:
            box.send_event(incident_id=incident_id, data={"evidence": [sha256_hex(black)]})
            sealed = box.evidence(black, incident_id)
            for _ in range(2):  # the box did not hear the first answer
                assert box.send_evidence(sealed, sha256_hex(black)).status_code == 201
            found = shown(district, who, alert_of(district, box, incident_id).id)["evidence"]
            assert [item["sha256"] for item in found] == [sha256_hex(black)]
        assert district.ask(who, "GET", path).content == black
    assert district.ask(stranger, "GET", path).status_code == 404
    with district.database() as db:
        assert db.scalar(select(func.count()).where(Evidence.sha256 == sha256_hex(black))) == 3
        views = select(AuditEntry.site_id, AuditEntry.actor_name).where(AuditEntry.object_id == sha256_hex(black))
        assert db.execute(views.order_by(AuditEntry.seq)).all() == [
            (ensure_site(db, place).id, who.name) for place, who in zip("AB", staff, strict=True)
        ]
    found = district.verified()
    assert (found.problems, [gap for gap in found.gaps if "picture" in gap]) == ([], [])


def test_picture_that_two_boxes_tell_of_is_missed_of_the_one_that_did_not_send_it(
    district: District, boxes: tuple[Box, Box], jpeg: Callable[..., bytes]
) -> None:
    black = jpeg(64)
    for box in boxes:
        box.send_event(incident_id="black-3", data={"evidence": [sha256_hex(black)]})
    boxes[0].send_evidence(boxes[0].evidence(black, "black-3"), sha256_hex(black))
    assert f"picture {sha256_hex(black)}: announced by an event, not uploaded yet" in district.verified().gaps
    boxes[1].send_evidence(boxes[1].evidence(black, "black-3"), sha256_hex(black))
    assert [gap for gap in district.verified().gaps if "picture" in gap] == []


def test_what_is_black_for_parents_too_is_shown_to_them_though_another_may_not_be(
    district: District, boxes: tuple[Box, Box], jpeg: Callable[..., bytes]
) -> None:
    box, parent, black = boxes[0], district.somebody("viewer", "A"), jpeg(65)
    for incident_id, faces, status in (("black-4", "not_checked", 404), ("black-5", "blurred", 200)):
        box.send_event(incident_id=incident_id)
        box.send_evidence(box.evidence(black, incident_id, faces=faces), sha256_hex(black))
        assert district.ask(parent, "GET", f"/api/v1/evidence/{sha256_hex(black)}").status_code == status


def test_box_that_tells_the_incident_of_another_neither_ends_nor_changes_it(
    district: District, boxes: tuple[Box, Box]
) -> None:
    victim, other = boxes
    told = victim.send_event(data={"peak_c": 11.5})
    before = alert_of(district, victim, told.incident_id)
    for kind in ("excursion_updated", "excursion_closed", "excursion_opened"):
        at = AT + timedelta(minutes=1)
        other.send_event(kind, incident_id=told.incident_id, at=at, data={"peak_c": -40.0, "place": "nowhere"})
    after = alert_of(district, victim, told.incident_id)
    assert (after.ended_at, after.data, after.version) == (None, before.data, before.version)
    assert alert_of(district, other, told.incident_id).place == "nowhere"
    victim.send_event("excursion_updated", incident_id=told.incident_id, data={"peak_c": 12.5})
    told_last = alert_of(district, victim, told.incident_id)
    assert told_last.data["peak_c"] == 12.5  # what the other said of a later time does not make it an older word
    assert district.verified().problems == []


def test_correction_of_a_clock_moves_the_events_of_its_box_alone(district: District, boxes: tuple[Box, Box]) -> None:
    for box in boxes:
        event = box.event(event_id="unsure", incident_id="unsure").model_copy(update={"clock_synced": False})
        assert box.send(box.seal("events", [event])).json()["receipts"][0]["status"] == "accepted"
    boxes[1].send_event("clock_corrected", data={"boot_id": "boot", "offset_s": 3600.0})
    with district.database() as db:
        times = [db.get_one(StoredEvent, ("unsure", box.box_id)).at for box in boxes]
    assert times == [AT, AT + timedelta(hours=1)]
    assert [alert_of(district, box, "unsure").opened_at for box in boxes] == times
    assert district.verified().problems == []


def test_box_cannot_stand_in_the_way_of_what_the_centre_raises(district: District, boxes: tuple[Box, Box]) -> None:
    box, _ = boxes
    with district.database() as db:
        paper = Certificate(
            site_id=ensure_site(db, "A").id, kind="health", number="H-1", holder="王小明", identity="",
            expires_on=AT.date(),
        )  # fmt: skip
        db.add(paper)
        incident_id = Paper(ensure_site(db, "A"), "health", "H-1", "", AT.date()).incident_id
    box.send_event(incident_id=incident_id)
    with district.database() as db:
        assert [(alert.incident_id, alert.box_id) for alert in settle(db, AT)] == [(incident_id, None)]
        assert settle(db, AT) == []
        db.execute(delete(Certificate))  # it was slipped in, of which the log would tell
    with district.database() as db:
        own = db.scalars(select(Alert).where(Alert.box_id.is_(None))).one()
        names = [column.key for column in Alert.__table__.columns if column.key not in ("id", "version")]
        again = insert(Alert).values({"version": 1, **{name: getattr(own, name) for name in names}})
        with pytest.raises(IntegrityError):
            db.connection().execute(again)  # past the session, which seals what it writes
        db.rollback()
    assert district.verified().problems == []


def test_box_cannot_end_the_silence_of_another(district: District, boxes: tuple[Box, Box]) -> None:
    silent, other = boxes
    settings, bound = BoxSettings(silent_after_s=100, look_s=10), timedelta(seconds=101)
    with district.database() as db:
        for row in db.scalars(select(Row)):
            row.last_seen_at = AT if row.id == silent.box_id else AT + timedelta(days=1)
        for second in range(0, 120, 10):
            look(db, settings, AT + timedelta(seconds=second))
        incident_id = db.get_one(BoxSilence, silent.box_id).incident_id
    other.send_event("sensor_recovered", incident_id=incident_id, at=AT + bound)
    alert = alert_of(district, silent, incident_id)
    assert (alert.kind, alert.ended_at) == ("box_silent", None)
    with district.database() as db:
        db.get_one(Row, silent.box_id).last_seen_at = AT + bound
        assert [item.id for item in look(db, settings, AT + timedelta(seconds=120))] == [alert.id]
    assert district.verified().problems == []


def test_event_of_another_system_finds_its_own_alert(district: District, boxes: tuple[Box, Box]) -> None:
    box, _ = boxes
    body = {"eventId": "7", "eventType": "SMOKING", "cameraName": "1", "place": "备餐间"}
    with district.database() as db:
        token = add_source(db, SECRET, "kitchen-vision", ensure_site(db, "A"))
        row, made, new = take_event(db, SECRET, find_source(db, token, "kitchen-vision"), body)
        assert made is not None
        alert_id, incident_id = made.id, row.incident_id
    box.send_event(incident_id=incident_id)
    with district.database() as db:
        _, found, new = take_event(db, SECRET, find_source(db, token, "kitchen-vision"), body)
    assert (found.id if found else None, new) == (alert_id, False)
