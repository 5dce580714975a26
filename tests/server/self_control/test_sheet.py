"""Periods, what the boxes may answer, and what samples must be: pure, with given times."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.self_control.catalogue import FOLDER, load_sheet, sample_rules, sheets
from server.self_control.document import Answer, Form, Seen, SeenAlert, SeenCamera, SeenSample, SeenSensor
from server.self_control.periods import bounds, due_at, period_of, periods_between
from server.self_control.samples import judge_series
from server.self_control.sheet import boxes_say, fill_in, incomplete, zero_risk_lacks
from server.series.port import Point

START = datetime(2026, 1, 1, 16, tzinfo=UTC)
DAILY = sheets()["daily"]
ITEMS = {item.code: item for item in DAILY.items}
SENSOR = SeenSensor(
    box_id="b", sensor_id="s", name="s", readings=9, min_c=1, max_c=2, covered_pct=99, excursions=0, excursion_s=0
)
CAMERA = SeenCamera(camera_id="c", name="c", due_s=100, judged_s=95, share_pct=95)


def seen(**changes: Any) -> Seen:
    fields: dict[str, Any] = {
        "since": START, "until": START + timedelta(days=1), "opened": 0, "closed": 0, "standing": 0, "alerts": [],
        "closures": [], "sensors": [SENSOR], "uncounted_sensors": 0, "cameras": [CAMERA], "samples": [],
        "daily_due": 1, "daily_signed": 0,
    }  # fmt: skip
    return Seen.model_validate({**fields, **changes})


def alert(kind: str, outcome: str = "pending") -> SeenAlert:
    return SeenAlert(
        alert_id=7, kind=kind, tier=2, place="", source="", opened_at=START, ended_at=None, deadline_at=START,
        state="open", outcome=outcome, closed_at=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [("daily", date(2028, 2, 29), date(2028, 2, 29)), ("weekly", date(2028, 2, 28), date(2028, 3, 5)),
     ("monthly", date(2028, 2, 1), date(2028, 2, 29))],
)  # fmt: skip
def test_a_leap_day_lies_in_its_day_week_and_month(kind: Any, first: date, last: date) -> None:
    period = period_of(kind, date(2028, 2, 29))
    assert (period.first, period.last) == (first, last)


@given(
    st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.integers(0, 400), st.sampled_from(["daily", "weekly", "monthly"])
)
def test_periods_follow_each_other_without_gap_or_overlap(first: date, days: int, kind: Any) -> None:
    found = list(periods_between(kind, first, first + timedelta(days=days)))
    assert found[0].first <= first <= found[0].last
    assert found[-1].last >= first + timedelta(days=days)
    assert all(after.first == before.last + timedelta(days=1) for before, after in pairwise(found))


@given(
    st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.sampled_from(["Europe/Berlin", "Asia/Shanghai", "America/Lima"])
)
def test_a_day_is_from_midnight_to_midnight_of_the_site_whatever_the_clock_does(day: date, zone: str) -> None:
    start, end = bounds(period_of("daily", day), zone)
    assert start.astimezone(ZoneInfo(zone)).date() == day
    assert (end - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() == day
    assert timedelta(hours=23) <= end - start <= timedelta(hours=25)
    assert due_at(period_of("daily", day), zone, DAILY) == end + timedelta(hours=DAILY.due_after_h)


def test_an_alert_speaks_against_its_item_and_a_false_alarm_does_not() -> None:
    assert boxes_say(DAILY, ITEMS["D02"], seen(alerts=[alert("no_mask")])) == "fault"
    assert boxes_say(DAILY, ITEMS["D02"], seen(alerts=[alert("no_mask", "dismissed")])) == "ok"


def test_silence_says_ok_only_of_what_was_watched() -> None:
    assert boxes_say(DAILY, ITEMS["D02"], seen()) == "ok"
    assert boxes_say(DAILY, ITEMS["D02"], seen(cameras=[])) == ""
    dark = CAMERA.model_copy(update={"share_pct": 60.0})
    assert boxes_say(DAILY, ITEMS["D02"], seen(cameras=[CAMERA, dark])) == ""
    assert boxes_say(DAILY, ITEMS["D04"], seen(sensors=[SENSOR.model_copy(update={"covered_pct": 10.0})])) == ""
    assert boxes_say(DAILY, ITEMS["D09"], seen()) == ""  # no device judges deliveries


def test_looking_again_overwrites_nothing_that_a_person_wrote() -> None:
    written = Form(answers=[Answer(code="D02", result="none", nonconformity="休息日")], fields={"remarks": "x"})
    form = fill_in(DAILY, seen(alerts=[alert("no_mask")]), written)
    assert next(answer for answer in form.answers if answer.code == "D02") == written.answers[0]
    assert form.fields == {"remarks": "x"}
    assert [finding.alert_id for finding in form.findings] == [7]


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({}, []),
        ({"alerts": [alert("no_mask")]}, ["findings"]),
        ({"alerts": [alert("no_mask", "dismissed")]}, []),
        ({"cameras": [], "sensors": []}, ["nothing_watched"]),
        ({"cameras": [CAMERA.model_copy(update={"share_pct": 10.0})]}, ["cameras"]),
        ({"uncounted_sensors": 1}, ["sensors"]),
        ({"cameras": []}, []),
        ({"standing": 1}, ["standing"]),
    ],
)
def test_no_findings_is_a_zero_risk_report_only_together_with_coverage(changes: Any, lacks: list[str]) -> None:
    assert zero_risk_lacks(DAILY, seen(**changes), Form()) == lacks


def test_a_person_who_finds_a_fault_ends_the_zero_risk() -> None:
    assert zero_risk_lacks(DAILY, seen(), Form(answers=[Answer(code="D09", result="fault")])) == ["findings"]


def test_a_fault_needs_what_whom_and_how_to_prevent_it_and_a_closed_day_needs_nothing() -> None:
    form = fill_in(DAILY, seen(alerts=[alert("no_mask")]))
    lacks = incomplete(DAILY, seen(alerts=[alert("no_mask")]), form)
    assert {"item.D02.nonconformity", "item.D02.action", "item.D09.result", "finding.7.responsible"} <= set(lacks)
    assert incomplete(DAILY, seen(), form.model_copy(update={"operating": False})) == []


def test_a_choice_that_is_none_is_told() -> None:
    weekly = sheets()["weekly"]
    form = fill_in(weekly, seen(daily_signed=1)).model_copy(
        update={"operating": False, "fields": {"to": "局", "summary": "x", "grade": "Z"}}
    )
    assert incomplete(weekly, seen(), form) == ["field.grade"]


def test_a_sheet_that_is_wrong_is_refused_with_its_place(tmp_path: Path) -> None:
    broken = tmp_path / "daily.yaml"
    text = (FOLDER / "daily.yaml").read_text("utf-8")
    for old, new, said in (
        ("sign_from_h: 14", "sign_from_h: 99", "sign_from_h"),
        ("code: D02", "code: D01", "same code"),
    ):
        broken.write_text(text.replace(old, new, 1), "utf-8")
        with pytest.raises(ValueError, match=said):
            load_sheet(broken)


def judged(values: dict[int, float | None], until_min: int = 48 * 60) -> Any:
    points = [
        Point("b", "s", "temperature", minute * 60_000, value, "good" if value is not None else "bad")
        for minute, value in sorted(values.items())
    ]
    return judge_series(points, 0, until_min * 60_000, sample_rules())


def test_a_refrigerator_is_judged_by_the_sum_of_its_time_outside() -> None:
    steady: dict[int, float | None] = dict.fromkeys(range(0, 48 * 60, 5), 4.0)
    assert judged(steady).codes == []
    door = judged({**steady, 100: 9.5, 105: 9.0})
    assert (door.codes, door.max_c, door.outside_min) == ([], 9.5, 10.0)
    assert judged({**steady, 100: 9.5, 105: 9.0, 300: 8.1}).codes == ["warm"]
    assert judged({**steady, 100: -1.0, 105: -1.0, 110: -0.5}).codes == ["cold"]
    assert judged({**steady, 100: 8.0, 105: 0.0, 110: 8.0}).codes == []  # the limits themselves are allowed


def test_a_silent_refrigerator_is_no_good_one() -> None:
    assert judged({}).codes == ["silent"]
    steady: dict[int, float | None] = dict.fromkeys(range(0, 48 * 60, 5), 4.0)
    gone = {minute: value if not 500 <= minute < 560 else None for minute, value in steady.items()}
    assert judged(gone).codes == ["silent"]


def test_a_sample_with_a_warning_is_a_fault_of_its_item() -> None:
    sample = SeenSample(
        sample_id=1, meal="lunch", dish="x", weight_g=100, taken_at=START, taken_by="王", warnings=["underweight"]
    )
    assert boxes_say(DAILY, ITEMS["D11"], seen(samples=[sample])) == "fault"
    assert boxes_say(DAILY, ITEMS["D11"], seen(samples=[sample.model_copy(update={"warnings": ["no_sensor"]})])) == "ok"
    assert boxes_say(DAILY, ITEMS["D11"], seen()) == ""
