"""The real warehouse: what its own log says, and what the judgement makes of the same readings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from edge.replay import judge_plain
from edge.replay_table import read_table
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.comparison import Match, judge, match_log, stray, sustained, unfound
from tests.telemetry.coldchain.warehouse import Series, dated_limits, needs, read_log, read_wide

MONTH_S = 30.4 * 86_400


@dataclass(frozen=True)
class Warehouse:
    series: dict[str, Series]
    settings: dict[str, SensorSettings]
    match: Match
    plain: list[Finding]
    smart: list[Finding]


@pytest.fixture(scope="module")
def warehouse() -> Warehouse:
    path = needs("warehouse_readings.csv")
    series = read_wide(path)
    events = read_log(needs("warehouse_alarms.csv"), series)
    settings = {name: SensorSettings(limits=spans) for name, spans in dated_limits(events, series).items()}
    plain = list(judge_plain(read_table(path, list(series)), settings))
    return Warehouse(series, settings, match_log(events, plain), plain, judge(series, settings))


def test_the_plain_rule_reproduces_the_warehouse_s_own_log(warehouse: Warehouse) -> None:
    assert warehouse.match.share >= 0.95
    assert warehouse.match.found.total() + warehouse.match.missed.total() == 3_323


def test_the_judgement_notifies_ten_times_less_than_the_bare_threshold(warehouse: Warehouse) -> None:
    plain = sum(finding.notifies for finding in warehouse.plain)
    smart = sum(finding.notifies for finding in warehouse.smart)
    assert plain >= 10 * smart


def test_no_sustained_excursion_is_missed_and_none_opens_after_the_45_minute_rule(warehouse: Warehouse) -> None:
    runs = [
        run
        for name, readings in warehouse.series.items()
        for run in sustained(name, readings, warehouse.settings[name])
    ]
    assert len(runs) > 1_000
    assert unfound(runs, warehouse.smart) == []


def test_false_notifications_stay_below_one_per_probe_and_month(warehouse: Warehouse) -> None:
    readings = next(iter(warehouse.series.values()))
    months = (readings[-1][0] - readings[0][0]) / MONTH_S
    runs = [run for name, own in warehouse.series.items() for run in sustained(name, own, warehouse.settings[name])]
    false = Counter(finding.sensor for finding in stray(warehouse.smart, runs))
    assert max(false.values()) / months <= 1.0
