"""Faults over the real series: found, early enough, and without crying wolf on the clean ones."""

from __future__ import annotations

import csv

from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.faults import Case, median_lead_min, recall, study
from tests.telemetry.coldchain.made import DAY_S, always
from tests.telemetry.coldchain.warehouse import needs, read_wide, seconds

FROZEN_C, CHILLED_C = -18.0, 8.0


def all_cases(per_probe: int, seed: int) -> list[Case]:
    """The ten probes of the warehouse under storage limits, and the freezer at one-minute steps."""
    cases: list[Case] = []
    for index, (name, series) in enumerate(read_wide(needs("warehouse_readings.csv")).items()):
        limit_c = FROZEN_C if "freezer" in name else CHILLED_C
        settings = SensorSettings(limits=always(limit_c))
        cases += study(name, series, settings, per_probe, seed + index, 7 * DAY_S).cases
    with needs("freezer_1min.csv").open(newline="") as file:
        series = [(seconds(row["time_utc"]), float(row["temperature_c"])) for row in csv.DictReader(file)]
    settings = SensorSettings(limits=always(-15.0))
    return cases + study("freezer", series, settings, per_probe, seed, 3 * DAY_S).cases


def test_hundreds_of_injected_faults_are_found_in_time() -> None:
    cases = all_cases(per_probe=60, seed=1_000)
    assert len(cases) >= 500
    assert recall(cases) >= 0.99, [case for case in cases if case.found_by is None]
    assert median_lead_min(cases) >= 20
