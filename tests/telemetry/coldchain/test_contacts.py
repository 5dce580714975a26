"""Door, power, battery and defrost contacts: timers, one message per trouble, and what the hints make of them."""

from __future__ import annotations

import json
from math import nan

import pytest

from telemetry.coldchain.contacts import Contacts
from telemetry.coldchain.engine import Engine
from telemetry.coldchain.settings import SensorSettings
from telemetry.coldchain.state import StateError
from tests.telemetry.coldchain.made import HOUR_S, START_S, add, always, room, told, towards


def test_a_door_open_too_long_is_told_once_and_again_after_it_was_closed() -> None:
    contacts = Contacts(door_open_s=600.0)
    assert contacts.feed("door", 0.0, 1) == []
    assert contacts.tick(599.0) == []
    assert contacts.tick(600.0) == ["door_open_long"]
    assert contacts.tick(9_000.0) == []
    assert contacts.feed("door", 9_100.0, 0) == []
    assert contacts.feed("door", 9_200.0, 1) == []
    assert contacts.feed("door", 9_800.0, 1) == ["door_open_long"]


def test_power_and_battery_are_told_once() -> None:
    contacts = Contacts()
    assert contacts.feed("power", 0.0, 0) == ["power_failed"]
    assert contacts.feed("power", 60.0, 0) == []
    assert contacts.feed("power", 120.0, 1) == []
    assert contacts.feed("power", 180.0, 0) == ["power_failed"]
    assert contacts.feed("battery_pct", 0.0, 14) == ["battery_low"]
    assert contacts.feed("battery_pct", 60.0, 16) == []  # not well yet: no flutter at the limit
    assert contacts.feed("battery_pct", 120.0, 14) == []


def test_mains_that_flicker_are_told_once_and_again_after_a_calm() -> None:
    contacts = Contacts()
    news = [contacts.feed("power", START_S + second, float(second % 2)) for second in range(600)]
    assert [item for items in news for item in items] == ["power_failed"]
    assert contacts.feed("power", START_S + 700, 0.0) == ["power_failed"]


def test_a_defrost_contact_that_stays_closed_stops_explaining_and_is_told() -> None:
    contacts = Contacts(defrost_s_max=3_600.0)
    contacts.feed("defrost", 0.0, 1)
    assert contacts.defrosting(3_500.0)
    assert contacts.tick(3_600.0) == ["defrost_stuck"]
    assert not contacts.defrosting(3_600.0)


def test_the_door_timer_survives_a_power_cut() -> None:
    first, second = Contacts(), Contacts()
    first.feed("door", 0.0, 1)
    second.restore(json.loads(json.dumps(first.state())))
    assert second.tick(600.0) == ["door_open_long"]
    with pytest.raises(StateError):
        second.restore({"door": 1})


@pytest.mark.parametrize(
    ("kind", "value", "cause"), [("door", 1.0, "door_open"), ("power", 0.0, "power_failed")], ids=["door", "power"]
)
def test_a_contact_is_the_first_hint_and_names_its_evidence(kind: str, value: float, cause: str) -> None:
    engine = Engine({"p": SensorSettings(limits=always(8.0))})
    since_s = START_S + 40 * HOUR_S
    findings = []
    for at_s, value_c in add(room(46), since_s, 6 * HOUR_S, towards(9.0, 1_200.0)):
        if at_s == since_s:
            findings += engine.feed_contact(kind, at_s, value)  # type: ignore[arg-type]
        findings += engine.feed("p", at_s, value_c)
    warning = next(finding for finding in told(findings) if finding.sensor == "p")
    assert warning.causes[0].code == cause
    assert "16:00" in warning.causes[0].evidence


def test_the_warning_explains_itself_in_one_sentence_with_the_time_of_crossing() -> None:
    engine = Engine({"p": SensorSettings(limits=always(8.0))})
    since_s = START_S + 40 * HOUR_S
    findings = engine.feed_contact("door", START_S, 0)
    for at_s, value_c in add(room(46), since_s, 6 * HOUR_S, lambda t: 6.0 * t / HOUR_S):
        findings += engine.feed("p", at_s, value_c)
    warning = told(findings)[0]
    assert warning.kind == "warning"
    assert warning.forecast_at_s is not None
    assert "door closed; no defrost due; product limit at about" in warning.reason
    opened_s = next(f.at_s for f in findings if f.code == "opened_product" or f.kind == "excursion_updated")
    assert warning.forecast_at_s - warning.at_s >= 20 * 60
    assert abs(opened_s - warning.forecast_at_s) < 0.5 * (opened_s - warning.at_s)


def test_probes_that_rise_together_hint_at_what_they_share() -> None:
    engine = Engine({name: SensorSettings(limits=always(8.0)) for name in ("a", "b")})
    findings = []
    for at_s, value_c in add(room(46), START_S + 40 * HOUR_S, 6 * HOUR_S, towards(15.0, 4 * HOUR_S)):
        findings += [*engine.feed("a", at_s, value_c), *engine.feed("b", at_s, value_c)]
    last = [finding for finding in told(findings) if finding.sensor == "b"][-1]
    assert last.causes[-1].code == "power_or_plant"
    assert "a" in last.causes[-1].evidence


def test_a_probe_that_rises_beside_a_calm_twin_is_suspected_itself() -> None:
    engine = Engine({name: SensorSettings(limits=always(8.0)) for name in ("a", "b")}, twins=(("a", "b"),))
    findings = []
    calm = room(46)
    risen = add(calm, START_S + 40 * HOUR_S, 6 * HOUR_S, towards(15.0, 4 * HOUR_S))
    for (at_s, calm_c), (_, risen_c) in zip(calm, risen, strict=True):
        findings += [*engine.feed("a", at_s, calm_c), *engine.feed("b", at_s, risen_c)]
    warning = told(findings)[0]
    assert warning.sensor == "b"
    assert warning.causes[-1].code == "sensor_fault"
    assert "twin a reads" in warning.causes[-1].evidence


@pytest.mark.parametrize("silent", [True, False])
def test_a_twin_that_fell_silent_or_stuck_does_not_cast_suspicion_on_the_other(silent: bool) -> None:
    engine = Engine({name: SensorSettings(limits=always(8.0)) for name in ("a", "b")}, twins=(("a", "b"),))
    findings = []
    since_s = START_S + 60 * HOUR_S
    for at_s, value_c in add(room(66), since_s, 6 * HOUR_S, towards(15.0, 4 * HOUR_S)):
        if at_s < since_s - 8 * HOUR_S:
            findings += engine.feed("a", at_s, value_c)
        elif not silent:
            findings += engine.feed("a", at_s, 4.0)
        findings += engine.feed("b", at_s, value_c)
    warning = next(finding for finding in told(findings) if finding.sensor == "b")
    assert [cause.code for cause in warning.causes] == ["compressor_stopped"]


def test_what_is_no_number_says_nothing_of_a_door() -> None:
    engine = Engine({"p": SensorSettings(limits=always(8.0))})
    assert engine.feed_contact("door", START_S, nan) == []
    assert engine.feed_contact("door", START_S + HOUR_S, nan) == []
    assert Engine({}).feed_contact("door", START_S, 1.0) == []
