"""Every incident gets a film or the reason why there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vision.clip_desk import PENDING_MAX, ClipDesk
from vision.happenings import ClipMissing, ViolationOpened
from vision.packet_ring import PacketRing

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def opened(number: int) -> ViolationOpened:
    return ViolationOpened(
        f"i{number}", "no_mask", "line", NOON, "kitchen", 0.9, 1, 2.0, b"", b"", b"", "hidden", "a" * 64
    )


def test_an_incident_whose_camera_is_gone_before_its_film_is_told_that_there_is_none() -> None:
    desk = ClipDesk(PacketRing(), before_s=5, after_s=5)
    desk.note(opened(1), 100.0)
    assert list(desk.ready(104.9)) == []
    (told,) = desk.ready(105.1)
    at = NOON + timedelta(seconds=5)
    assert told == ClipMissing("i1", "no_mask", "line", at, "kitchen", "the camera's stream is lost")
    assert list(desk.ready(200.0)) == []


def test_of_more_incidents_than_may_wait_the_others_are_told_at_once() -> None:
    desk = ClipDesk(PacketRing(), before_s=5, after_s=5)
    for number in range(PENDING_MAX + 2):
        desk.note(opened(number), 100.0)
    told = list(desk.ready(100.1))
    assert [(type(item), item.incident_id) for item in told] == [(ClipMissing, "i32"), (ClipMissing, "i33")]
    assert len(list(desk.ready(110.0))) == PENDING_MAX


def test_where_no_films_are_made_none_is_missing() -> None:
    desk = ClipDesk(None, before_s=5, after_s=5)
    desk.note(opened(1), 100.0)
    assert list(desk.ready(200.0)) == []
