"""The replay configuration: many ways to write the same thing, and errors that name their line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.config import ConfigurationError
from edge.defrost_times import ScheduleError, moment_s, read_schedule
from edge.replay_config import load_replay
from edge.replay_schema import SensorEntry
from telemetry.coldchain.schedule import DailyWindow, FixedWindow, PeriodicWindow
from telemetry.coldchain.settings import LimitSpan, SensorSettings

SAMPLES = Path(__file__).resolve().parents[2] / "configs"
JUNE_S = datetime(2021, 6, 24, tzinfo=UTC).timestamp()
JULY_S = datetime(2021, 7, 19, 11, 45, tzinfo=UTC).timestamp()
EVER_S = float("-inf")


def spans(folder: Path, text: str, name: str = "a") -> tuple[LimitSpan, ...]:
    path = folder / "c.yaml"
    path.write_text(text, "utf-8")
    sensors = load_replay(path).sensors
    assert sensors is not None
    return sensors[name].limits


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "c.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_replay(path)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_every_setting_is_documented() -> None:
    text = (SAMPLES.parent / "telemetry" / "coldchain" / "README.md").read_text("utf-8")
    assert [name for name in SensorEntry.model_fields if name not in text] == []


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("replay-*.yaml")), ids=lambda path: path.stem)
def test_the_samples_load(path: Path) -> None:
    assert load_replay(path).sensors


@pytest.mark.parametrize(
    "text",
    [
        "sensors: {a: {limits: [{from: 2021-06-24, high_c: -19}, {from: 2021-07-19 11:45, high_c: -22, low_c: -24}]}}",
        "sensors: {a: {limits: [{from: 2021-07-19T11:45:00Z, high: -22, low: -24}, {from: 2021-06-24, high: -19}]}}",
        "sensors: {a: [{since: 2021-06-24, max_c: -19}, {since: '2021-07-19 11:45:00', max_c: -22, min_c: -24}]}",
        "sensors: [{id: a, limits: [{date: 2021-06-24, upper: -19},"
        " {date: 2021-07-19 11:45, upper: -22, lower: -24}]}]",
        "limits: {a: [{from: 2021-06-24, high_c: -19}, {from: 2021-07-19 11:45, high_c: -22, low_c: -24}]}",
        "limits: [{sensor: a, from: 2021-06-24, high_c: -19},"
        " {sensor: a, from: 2021-07-19 11:45, high_c: -22, low_c: -24}]",
    ],
)
def test_dated_limits_may_be_written_in_many_ways(tmp_path: Path, text: str) -> None:
    assert spans(tmp_path, text) == (LimitSpan(JUNE_S, -19.0, None), LimitSpan(JULY_S, -22.0, -24.0))


def test_a_limit_not_named_stays_in_force_and_null_or_until_ends_it(tmp_path: Path) -> None:
    text = "sensors: {a: {limits: [{from: 2021-06-24, high_c: 5, low_c: 0}, {from: 2021-07-19 11:45, low_c: null}]}}"
    assert spans(tmp_path, text) == (LimitSpan(JUNE_S, 5.0, 0.0), LimitSpan(JULY_S, 5.0, None))
    text = "sensors: {a: {limits: [{from: 2021-06-24, until: 2021-07-19 11:45, high_c: 5}]}}"
    assert spans(tmp_path, text) == (LimitSpan(JUNE_S, 5.0, None), LimitSpan(JULY_S, None, None))


def test_short_forms_and_defaults(tmp_path: Path) -> None:
    assert spans(tmp_path, "sensors: {a: {high_c: 5}}") == (LimitSpan(EVER_S, 5.0, None),)
    text = "defaults: {high_c: 8, delay_s: 60}\nsensors: {a: {}, b: {high_c: 5}}"
    assert spans(tmp_path, text) == (LimitSpan(EVER_S, 8.0, None),)
    assert spans(tmp_path, text, "b") == (LimitSpan(EVER_S, 5.0, None),)
    (tmp_path / "d.yaml").write_text("defaults: {high_c: 8, delay_s: 60}", "utf-8")
    only_defaults = load_replay(tmp_path / "d.yaml")
    assert only_defaults.sensors is None
    assert only_defaults.defaults == SensorSettings(limits=(LimitSpan(EVER_S, 8.0, None),), delay_s=60.0)


def test_a_box_s_own_limits_block_can_be_used(tmp_path: Path) -> None:
    text = (
        "box: {name: x, time_zone: Asia/Shanghai}\nserver: {url: https://c.example}\n"
        "sensors:\n  - {type: modbus, id: a, name: A, unit: 1, register: 0}\n"
        "limits:\n  - {sensor: a, high_c: 8, low_c: 0, delay_s: 900, hysteresis_c: 0.5, severity: critical}\n"
    )
    assert spans(tmp_path, text) == (LimitSpan(EVER_S, 8.0, 0.0),)
    config = load_replay(tmp_path / "c.yaml")
    assert config.sensors is not None
    assert config.sensors["a"].delay_s == 900.0
    assert str(config.zone) == "Asia/Shanghai"


def test_a_limit_set_is_found_tightened_and_loosened_only_with_a_reason(tmp_path: Path) -> None:
    assert spans(tmp_path, "sensors: {a: {limit_set: canteen-refrigerator}}") == (LimitSpan(EVER_S, 8.0, 0.0),)
    assert spans(tmp_path, "sensors: {a: {limit_set: canteen-refrigerator, high_c: 5}}") == (
        LimitSpan(EVER_S, 5.0, 0.0),
    )
    assert problems(tmp_path, "sensors:\n  a:\n    limit_set: canteen-refrigerator\n    high_c: 10\n") == [
        "2: sensors.a: high_c 10 is looser than 8 of canteen-refrigerator; state a loosen_reason"
    ]
    text = "sensors: {a: {limit_set: canteen-refrigerator, high_c: 10, loosen_reason: fruit only}}"
    assert spans(tmp_path, text) == (LimitSpan(EVER_S, 10.0, 0.0),)
    assert load_replay(tmp_path / "c.yaml").changes == ("a: high limit loosened from 8 °C to 10 °C: fruit only",)
    (line,) = problems(tmp_path, "sensors: {a: {limit_set: ../secrets}}")
    assert "only letters, digits and dashes" in line


def test_problems_name_their_line_all_at_once(tmp_path: Path) -> None:
    text = "sensors:\n  a:\n    limits:\n      - {from: soon, high_c: 5}\n  b:\n    delay_s: -1\ncolour: red\n"
    found = problems(tmp_path, text)
    assert len(found) == 3
    assert any(line.startswith("4: ") and "'soon' is not a date" in line for line in found)
    assert any(line.startswith("6: sensors.b.delay_s") for line in found)
    assert any(line.startswith("7: colour: unknown key") for line in found)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "needs a `sensors:`"),
        ("[1, 2]", "needs a `sensors:`"),
        ("sensors: {a: {limits: [{from: 2021-06-24, high_c: 1, low_c: 2}]}}", "low_c must be below high_c"),
        ("time_zone: Mars\nsensors: {a: {high_c: 1}}", "not a time zone"),
        ("twins: [[a, b]]\nsensors: {a: {high_c: 1}}", "two different sensors"),
        ("sensors: {a: {high_c: 1, defrost_schedule: [{start: '25:00'}]}}", "not a time of day"),
        ("sensors: {a: {high_c: 5, max_c: 6}}", "names the same limit twice"),
        ("sensors: [", "c.yaml"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_replay(path)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "window"),
    [
        ("06:00", DailyWindow(21_600.0, 3_600.0)),
        ("06:00-06:45", DailyWindow(21_600.0, 2_700.0)),
        ("23:30-00:15", DailyWindow(84_600.0, 2_700.0)),
        ({"start": "06:00", "duration_min": 30, "days": ["mon", 7]}, DailyWindow(21_600.0, 1_800.0, frozenset({1, 7}))),
        ({"from": "06:00", "to": "06:20"}, DailyWindow(21_600.0, 1_200.0)),
        ("2021-06-24T00:00:00Z", FixedWindow(JUNE_S, 3_600.0)),
        ("2021-06-24T00:00:00Z/2021-06-24T00:30:00Z", FixedWindow(JUNE_S, 1_800.0)),
        (["2021-06-24 00:00", "2021-06-24 00:40"], FixedWindow(JUNE_S, 2_400.0)),
        ({"start": "2021-06-24", "every_h": 40, "duration_s": 4_500}, PeriodicWindow(JUNE_S, 144_000.0, 4_500.0)),
        (390, DailyWindow(23_400.0, 3_600.0)),  # what YAML 1.1 makes of 6:30
    ],
)
def test_defrost_schedules_may_be_written_as_people_write_them(raw: object, window: object) -> None:
    assert read_schedule([raw], UTC).windows == (window,)


@pytest.mark.parametrize(
    "raw", [{"duration_min": 5}, {"start": "06:00", "colour": 1}, "soon", {"start": "06:00", "minutes": 0}]
)
def test_a_schedule_that_cannot_be_read_is_refused(raw: object) -> None:
    with pytest.raises(ScheduleError):
        read_schedule([raw], UTC)


def test_dates_without_a_zone_are_meant_in_the_site_s_zone() -> None:
    assert moment_s("2021-06-24", UTC) == JUNE_S
    with pytest.raises(ScheduleError):
        moment_s(None, UTC)
