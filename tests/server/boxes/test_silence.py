"""A silent box is one alert that ends when it speaks; the centre's own absence is nobody's silence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from server.accounts import add_user, ensure_site
from server.blobs import FolderBlobStore
from server.boxes.settings import BoxSettings, load_boxes
from server.boxes.silence import look
from server.models import Alert, AlertMove
from server.models_access import ApiToken
from server.models_boxes import BoxState
from server.series.stores import open_store
from server.vendors.intake import add_source
from server.verify import verify
from tests.server.boxes.record import Record, at
from tests.server.centre import Centre
from tests.waiting import wait_for

BOUND = BoxSettings(silent_after_s=100, look_s=10)


@pytest.fixture
def record(data: Path) -> Iterator[Record]:
    made = Record(data)
    yield made
    made.engine.dispose()


def look_at(record: Record, when: datetime) -> list[Alert]:
    with record.writing() as db:
        return look(db, BOUND, when)


def watch(record: Record, first_s: int, last_s: int) -> list[tuple[float, str]]:
    """Look every ten seconds; when which alert changed, and whether it had ended."""
    changes = []
    for second in range(first_s, last_s + 1, 10):
        changes += [(second, "ended" if alert.ended_at else "raised") for alert in look_at(record, at(second))]
    return changes


def test_silence_beyond_the_bound_is_raised_once_and_ends_when_the_box_speaks(record: Record) -> None:
    box_id = record.box()
    record.heard(box_id, at(5))
    assert watch(record, 0, 300) == [(110, "raised")]
    record.heard(box_id, at(303))
    assert watch(record, 310, 400) == [(310, "ended")]
    assert watch(record, 410, 500) == [(410, "raised")]  # silent again: another silence, another alert
    with record.writing() as db:
        first, second = db.scalars(select(Alert).order_by(Alert.id))
        assert (first.kind, first.tier, first.source_name) == ("box_silent", 2, "box-1")
        assert (first.opened_at, first.ended_at) == (at(5), at(303))
        assert (second.opened_at, second.ended_at) == (at(303), None)


def test_box_that_never_spoke_is_silent_from_its_enrolment_on(record: Record) -> None:
    record.box(enrolled_at=at(50))
    assert watch(record, 0, 200) == [(160, "raised")]


def test_time_in_which_the_centre_was_down_is_no_silence(record: Record) -> None:
    box_id = record.box()
    record.heard(box_id, at(0))
    assert watch(record, 0, 50) == []
    assert watch(record, 5000, 5090) == []  # it comes back after more than an hour and hears nobody yet
    record.heard(box_id, at(5095))
    assert watch(record, 5100, 5190) == []
    assert watch(record, 5200, 5300) == [(5200, "raised")]


def test_looks_at_the_same_time_raise_one_alert(record: Record) -> None:
    record.box()
    watch(record, 0, 100)
    found: list[Alert] = []
    replicas = [threading.Thread(target=lambda: found.extend(look_at(record, at(110)))) for _ in range(4)]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join(30)
    assert len(found) == 1
    with record.writing() as db:
        assert len(db.scalars(select(AlertMove)).all()) == 1


def test_other_vendors_systems_are_not_waited_for(record: Record) -> None:
    with record.writing() as db:
        add_source(db, b"k" * 32, "kitchen-vision", ensure_site(db, "Canteen A"))
    assert watch(record, 0, 200) == []


def test_alert_of_the_centre_itself_is_proved_by_the_audit_log(record: Record) -> None:
    record.box()
    watch(record, 0, 200)
    store = open_store(record.settings.series, record.engine)

    def problems() -> list[str]:
        with record.writing() as db:
            return verify(db, FolderBlobStore(record.settings.blob_dir), store).problems

    assert problems() == []
    with record.writing() as db:
        db.scalars(select(Alert)).one().incident_id = "made-up"
    assert problems() == ["incident made-up: its alert is in no batch"]


@pytest.mark.parametrize("text", ["silent_after_s: 0", "look_s: 901", "unknown: 1", "- 1", "a: [", "x" * 70_000])
def test_wrong_settings_are_told_with_their_file(data: Path, text: str) -> None:
    data.mkdir()
    (data / "boxes.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"boxes\.yaml"):
        load_boxes(data)


def test_running_centre_raises_ends_and_keeps_the_status_that_the_box_told(data: Path) -> None:
    data.mkdir()
    (data / "boxes.yaml").write_text("silent_after_s: 2\nlook_s: 0.5\n")
    centre = Centre(data)
    try:
        box, reader = centre.box(), centre.person("regulator")

        def alerts() -> list[dict[str, object]]:
            return [alert for alert in reader.get("/api/v1/alerts").json()["alerts"] if alert["kind"] == "box_silent"]

        box.send_event("box_status", data={"kind": "heartbeat", "version": "1"})
        # where all is slow, silences before that event may have begun and ended as well
        silent = wait_for("the box is silent", lambda: [a["id"] for a in alerts() if a["ended_at"] is None])
        box.send_event("box_status", data={"kind": "heartbeat", "version": "2"})
        wait_for("its silence ended", lambda: {a["id"]: a["ended_at"] for a in alerts()}[silent[0]])
        with centre.changing() as db:
            state = db.get_one(BoxState, box.box_id)
            assert state.data["version"] == "2"
    finally:
        assert centre.stop() == 0


def test_gateway_is_waited_for_only_while_a_token_of_its_site_says_so(record: Record) -> None:
    record.box("gateway-1-abcdef12")
    assert watch(record, 0, 300) == []
    with record.writing() as db:
        site = ensure_site(db, "Canteen A")
        owner = add_user(db, "keeper", "keeper", "a long enough password", "administrator")
        expires_at = at(10_000)
        db.add(ApiToken(
            token_sha256="0" * 64, name="telegraf", user_id=owner.id, permissions=["readings.write"], site_id=site.id,
            watched=True, created_at=at(0), expires_at=expires_at,
        ))  # fmt: skip
    assert watch(record, 310, 330) == [(310, "raised")]
    with record.writing() as db:
        db.scalars(select(ApiToken)).one().revoked_at = at(335)
    assert watch(record, 340, 500) == [(340, "ended")]
    with record.writing() as db:
        assert db.scalars(select(Alert)).one().ended_at == at(340)
