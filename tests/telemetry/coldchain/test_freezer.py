"""The real freezer at one-minute steps: regular defrosts and nothing wrong."""

from __future__ import annotations

import csv

import pytest

from telemetry.coldchain.schedule import DefrostSchedule, FixedWindow
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.made import DAY_S, always, judge, told
from tests.telemetry.coldchain.warehouse import Series, needs, seconds

DEFROSTS = ("2022-07-08T23:31", "2022-07-10T16:57", "2022-07-12T07:06", "2022-07-13T23:38")


@pytest.fixture(scope="module")
def freezer() -> Series:
    with needs("freezer_1min.csv").open(newline="") as file:
        return [(seconds(row["time_utc"]), float(row["temperature_c"])) for row in csv.DictReader(file)]


@pytest.mark.parametrize("limit_c", [-18.0, -15.0, -12.0])
def test_from_the_fourth_day_on_no_defrost_notifies_without_any_configuration(freezer: Series, limit_c: float) -> None:
    findings = judge(freezer, SensorSettings(limits=always(limit_c)))
    assert told(findings, freezer[0][0] + 3 * DAY_S) == []
    known = [finding.at_s for finding in findings if finding.kind == "defrost"]
    assert len(known) == len(DEFROSTS)
    assert all(0 < at_s - seconds(start) < 80 * 60 for at_s, start in zip(known, DEFROSTS, strict=True))


@pytest.mark.parametrize("hours", [6, 12, 18, 24, 30, 36, 48])
def test_it_does_not_matter_when_the_record_begins(freezer: Series, hours: int) -> None:
    later = freezer[hours * 60 :]
    findings = judge(later, SensorSettings(limits=always(-18.0)))
    assert told(findings, later[0][0] + 3 * DAY_S) == []


@pytest.mark.parametrize("learn", [True, False])
def test_with_a_schedule_nothing_notifies_at_all(freezer: Series, learn: bool) -> None:
    schedule = DefrostSchedule(tuple(FixedWindow(seconds(start), 3_600.0) for start in DEFROSTS))
    settings = SensorSettings(limits=always(-18.0), schedule=schedule, learn_defrosts=learn)
    assert told(judge(freezer, settings)) == []
