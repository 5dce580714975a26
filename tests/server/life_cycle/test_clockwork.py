"""What falls due by time alone is done once: late, twice at once, after downtime; and never before."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.life_cycle.clockwork import WAIT_S_MAX, look_after
from server.life_cycle.rules import default_rules
from server.models import Alert
from server.models_audit import AuditEntry
from server.models_life_cycle import Card, Interview, OverdueStep
from server.models_notification import AlertChange
from tests.server.life_cycle.record import Desk


def steps(desk: Desk) -> list[tuple[str, str, str]]:
    return [(row.name, row.level_before, row.level_after) for row in desk.rows(OverdueStep)]


def colours(desk: Desk) -> list[str]:
    return [card.colour for card in desk.rows(Card)]


def test_an_overdue_alert_of_class_one_climbs_and_brings_a_yellow_and_a_red_card(desk: Desk) -> None:
    alert_id = desk.raised("unattended_flame")  # city at once; acknowledge 5 min, rectify 15 min
    clockwork = desk.clockwork()
    clockwork.work_off()
    assert (steps(desk), colours(desk)) == ([], [])
    desk.later(minutes=5)
    assert 0 < clockwork.work_off() <= WAIT_S_MAX
    assert steps(desk) == [("acknowledge", "city", "province")]
    desk.later(minutes=10)
    clockwork.work_off()
    assert steps(desk)[1:] == [("rectify", "province", "province")], "the last level stays, and it is on record"
    desk.later(hours=24)
    clockwork.work_off()
    assert colours(desk) == ["yellow"]
    desk.later(hours=48)
    clockwork.work_off()
    desk.later(days=400)
    clockwork.work_off()
    assert (colours(desk), len(steps(desk))) == (["yellow", "red"], 2)
    assert desk.alert(alert_id).next_step_at is None
    assert [move for move, _, _ in desk.moves(alert_id)] == ["raise", "escalate", "escalate"]
    assert {change.alert_id for change in desk.heard.changes} == {alert_id}


def test_a_centre_that_was_down_for_a_month_does_everything_once(desk: Desk) -> None:
    for number in range(3):
        desk.raised("temperature_excursion", source=f"cold-{number}")
    desk.later(days=30)
    for _ in range(3):
        desk.clockwork().work_off()
    assert Counter(colours(desk)) == {"yellow": 3, "red": 3}
    assert Counter(name for name, _, _ in steps(desk)) == {"acknowledge": 3, "rectify": 3}
    listed = desk.rows(Interview)
    assert [(entry.reason, entry.count) for entry in listed] == [("overdue", 3)]
    with desk.changing() as db:
        cards = db.scalars(select(AuditEntry).where(AuditEntry.action == "alert.card")).all()
        assert {entry.actor_kind for entry in cards} == {"system"}
        assert len(cards) == 6


def test_two_replicas_at_once_do_each_step_once(desk: Desk) -> None:
    for number in range(8):
        desk.raised("unattended_flame", source=f"cam-{number}")
    desk.later(days=10)
    threads = [threading.Thread(target=desk.clockwork().work_off) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(colours(desk)) == {"yellow": 8, "red": 8}
    assert Counter(name for name, _, _ in steps(desk)) == {"acknowledge": 8, "rectify": 8}
    assert len(desk.rows(Interview)) == 1


def test_a_power_cut_in_the_middle_leaves_it_due(desk: Desk) -> None:
    desk.raised("unattended_flame")
    desk.later(days=10)
    db = Session(desk.engine)
    assert look_after(db, default_rules(), desk.now) is not None
    db.close()  # nothing was committed
    assert (steps(desk), colours(desk)) == ([], [])
    desk.clockwork().work_off()
    assert colours(desk) == ["yellow", "red"]


def test_what_waits_for_a_reviewer_is_passed_on_without_a_card_for_the_site(desk: Desk) -> None:
    submitted = desk.raised("unattended_flame")
    desk.submit(submitted)
    assert desk.alert(submitted).review_by_at == desk.now + timedelta(hours=24)
    desk.later(hours=23)
    desk.clockwork().work_off()
    assert steps(desk) == []
    desk.later(days=10)
    desk.clockwork().work_off()
    assert (steps(desk), colours(desk)) == ([("review", "city", "province")], [])
    assert [row.change for row in desk.rows(AlertChange)][-1] == "escalate"
    desk.move(submitted, "accept", "regulator")
    desk.later(days=10)
    desk.clockwork().work_off()
    assert len(steps(desk)) == 1


def test_what_is_reviewed_in_time_or_ended_does_not_climb(desk: Desk) -> None:
    submitted, dismissed = desk.raised("unattended_flame"), desk.raised("unattended_flame", source="cam-2")
    desk.submit(submitted)
    desk.move(dismissed, "dismiss", "regulator", "a candle")
    desk.later(hours=20)
    desk.clockwork().work_off()
    assert (steps(desk), colours(desk)) == ([], [])
    desk.move(submitted, "reject", "regulator", "still burning")
    rejected = desk.alert(submitted)
    assert rejected.deadline_at == desk.now + timedelta(minutes=15), "a rejection brings a new deadline"
    told = desk.rows(AlertChange)[-1]
    assert (told.change, told.data["deadline_at"]) == ("reject", rejected.deadline_at.isoformat())
    desk.later(minutes=20)
    desk.clockwork().work_off()
    assert steps(desk) == [("rectify", "city", "province")]


def test_general_alerts_wait_over_the_night_and_climb_one_level_at_a_time(desk: Desk) -> None:
    desk.later(hours=10)  # 19:00 at the site, which closes at 19:30
    alert_id = desk.raised("no_mask")
    desk.move(alert_id, "acknowledge")
    desk.later(hours=10)
    desk.clockwork().work_off()
    assert steps(desk) == []
    desk.later(hours=3, minutes=1)
    desk.clockwork().work_off()
    assert steps(desk) == [("rectify", "district", "city")]
    desk.later(days=9)
    desk.clockwork().work_off()
    assert steps(desk)[1:] == [("rectify", "city", "province")]
    told = [(row.change, row.data["level"]) for row in desk.rows(AlertChange)]
    assert told == [("raise", "district"), ("acknowledge", "district"), ("escalate", "city"), ("escalate", "province")]
    assert colours(desk) == [], "cards are for class I"


def test_an_alert_that_nobody_confirms_climbs_and_a_confirmed_one_does_not(desk: Desk) -> None:
    seen, unseen = desk.raised("rodent"), desk.raised("rodent", source="cam-2")
    desk.move(seen, "confirm")
    desk.move(unseen, "acknowledge")
    desk.later(minutes=31)
    desk.clockwork().work_off()
    assert [(row.alert_id, row.name) for row in desk.rows(OverdueStep)] == [(unseen, "confirm")]


def test_a_fault_that_comes_again_is_a_repeat_and_three_of_them_bring_the_interview(desk: Desk) -> None:
    first = desk.raised()
    desk.later(days=1)
    false = desk.raised(source="cam-2")
    desk.move(false, "dismiss", "regulator", "a shadow")
    other = [desk.raised("no_hat"), desk.raised(site="B"), desk.raised(source="cam-2")]
    assert [desk.alert(number).repeat_of_id for number in other] == [None] * 3
    second = desk.raised()
    assert (desk.alert(second).repeat_of_id, desk.alert(second).repeats) == (first, 1)
    desk.later(days=8)
    assert desk.alert(desk.raised()).repeat_of_id is None, "the window is over"
    assert desk.rows(Interview) == []
    for _ in range(4):
        desk.later(hours=1)
        desk.raised()
    listed = desk.rows(Interview)
    assert [(entry.reason, entry.count, entry.held_at) for entry in listed] == [("repeat", 3, None)]


def test_after_an_interview_a_site_is_counted_anew(desk: Desk) -> None:
    from server.life_cycle.interviews import hold_interview

    for _ in range(4):
        desk.raised()
        desk.later(hours=1)
    (entry,) = desk.rows(Interview)
    with desk.changing() as db:
        hold_interview(db, desk.hand("regulator").user, entry.id, "agreed", desk.now, "")
    for count in (1, 2, 3):
        desk.later(hours=1)
        desk.raised()
        assert len(desk.rows(Interview)) == (2 if count == 3 else 1)


def test_the_clockwork_waits_for_the_next_alert_and_no_longer_than_half_a_minute(desk: Desk) -> None:
    assert desk.clockwork().work_off() == WAIT_S_MAX
    alert_id = desk.raised("unattended_flame")
    assert desk.clockwork().work_off() == WAIT_S_MAX
    desk.later(minutes=4, seconds=50)
    assert 9 < desk.clockwork().work_off() <= 10
    with desk.changing() as db:
        assert db.get_one(Alert, alert_id).next_step_at == desk.now + timedelta(seconds=10)
