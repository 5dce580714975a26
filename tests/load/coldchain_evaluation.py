"""Prints what the cold-chain judgement shows on the real records: `python -m tests.load.coldchain_evaluation`.

Needs ../shared/data/coldchain (or BRIGHTLINE_SHARED). The tests assert the same figures; this says them in full.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from statistics import median

from edge.replay import judge_plain
from edge.replay_table import read_table
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.comparison import judge, match_log, stray, sustained, unfound
from tests.telemetry.coldchain.faults import KINDS, Case, median_lead_min, recall, study
from tests.telemetry.coldchain.made import DAY_S, always, told
from tests.telemetry.coldchain.test_faults import CHILLED_C, FROZEN_C
from tests.telemetry.coldchain.warehouse import FOLDER, Series, dated_limits, read_log, read_wide, seconds

CASES_PER_PROBE = 60


def say(*parts: object) -> None:
    sys.stdout.write(" ".join(map(str, parts)) + "\n")


def evaluate_warehouse(series: dict[str, Series]) -> None:
    events = read_log(FOLDER / "warehouse_alarms.csv", series)
    settings = {name: SensorSettings(limits=spans) for name, spans in dated_limits(events, series).items()}
    plain = list(judge_plain(read_table(FOLDER / "warehouse_readings.csv", list(series)), settings))
    match = match_log(events, plain)
    say(f"plain against the log: {match.share:.1%} of {len(events)} events reproduced")
    for title, counts in (("reproduced", match.found), ("logged only", match.missed), ("plain only", match.extra)):
        for label, count in counts.most_common():
            say(f"  {title:12} {count:5}  {label}")
    begun = time.process_time()
    smart = judge(series, settings)
    spent_s = time.process_time() - begun
    readings = sum(map(len, series.values()))
    runs = [run for name, own in series.items() for run in sustained(name, own, settings[name])]
    lost = unfound(runs, smart)
    false = Counter(finding.sensor for finding in stray(smart, runs))
    months = readings / len(series) * 900 / 86_400 / 30.4
    say(f"engine: {spent_s / readings * 1e6:.1f} µs of CPU time a reading")
    say(f"{'probe':14} {'plain':>6} {'smart':>6} {'sustained':>9} {'missed':>6} {'false/month':>11}")
    for name in series:
        counts = [sum(f.notifies and f.sensor == name for f in found) for found in (plain, smart)]
        own = sum(run.sensor == name for run in runs)
        missed = sum(run.sensor == name for run in lost)
        say(f"{name:14} {counts[0]:6} {counts[1]:6} {own:9} {missed:6} {false[name] / months:11.2f}")
    totals = [sum(f.notifies for f in found) for found in (plain, smart)]
    say(f"{'all':14} {totals[0]:6} {totals[1]:6} {len(runs):9} {len(lost):6}   {totals[0] / totals[1]:.1f} times fewer")
    say("smart by code:", dict(Counter(finding.code for finding in smart if finding.notifies)))


def read_freezer() -> Series:
    with (FOLDER / "freezer_1min.csv").open(newline="") as file:
        return [(seconds(row["time_utc"]), float(row["temperature_c"])) for row in csv.DictReader(file)]


def evaluate_freezer(freezer: Series) -> None:
    for limit_c in (-18.0, -15.0, -12.0):
        findings = judge({"freezer": freezer}, {"freezer": SensorSettings(limits=always(limit_c))})
        late = told(findings, freezer[0][0] + 3 * DAY_S)
        defrosts = sum(finding.kind == "defrost" for finding in findings)
        say(f"freezer, limit {limit_c:g} °C: {len(told(findings))} told, {len(late)} after day 3, {defrosts} defrosts")


def evaluate_faults(series: dict[str, Series], freezer: Series) -> None:
    cases: list[Case] = []
    for index, (name, own) in enumerate(series.items()):
        settings = SensorSettings(limits=always(FROZEN_C if "freezer" in name else CHILLED_C))
        cases += study(name, own, settings, CASES_PER_PROBE, 1_000 + index, 7 * DAY_S).cases
    cases += study("freezer", freezer, SensorSettings(limits=always(-15.0)), CASES_PER_PROBE, 1_000, 3 * DAY_S).cases
    say(f"faults: {len(cases)} cases, recall {recall(cases):.2%}, median lead {median_lead_min(cases):.0f} min")
    for kind in KINDS:
        own_cases = [case for case in cases if case.kind == kind]
        leads = [case.lead_min for case in own_cases if case.lead_min is not None]
        delay = median(case.delay_min for case in own_cases if case.delay_min is not None)
        lead = f"{median(leads):.0f} min over {len(leads)}" if leads else "-"
        say(f"  {kind:16} recall {recall(own_cases):.2%}, median delay {delay:.0f} min, median lead {lead}")


def main() -> int:
    if not FOLDER.exists():
        say("no data at", FOLDER)
        return 1
    series, freezer = read_wide(FOLDER / "warehouse_readings.csv"), read_freezer()
    evaluate_warehouse(series)
    evaluate_freezer(freezer)
    evaluate_faults(series, freezer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
