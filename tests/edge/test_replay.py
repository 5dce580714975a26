"""`brightline-edge replay`: the exact shape of its output, its determinism, its errors and its speed."""

from __future__ import annotations

import csv
import io
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from edge.cli import main
from edge.replay import Rules, replay
from tests.warm import run_warm

KEYS = ["at", "sensor", "event", "limit_c", "value_c", "side", "reason"]
EVENTS = {"excursion_opened", "excursion_closed", "warning", "sensor_fault", "data_gap", "defrost"}
CONFIG = """\
sensors:
  cold:
    limits:
      - {from: 2024-01-01, high_c: 8, low_c: 0}
      - {from: 2024-01-03, high_c: 5}
"""


def rows(hours: int = 96, step_min: int = 5) -> list[list[str]]:
    """A refrigerator near 4 °C; a door open from the 60th to the 64th hour, nothing from the 70th to the 74th."""
    made = []
    for index in range(hours * 60 // step_min):
        minutes = index * step_min
        value_c = 4 + 0.5 * (index % 6) / 5 + (8 if 3_600 <= minutes < 3_840 else 0)
        cell = "" if 4_200 <= minutes < 4_440 else f"{value_c:.1f}"
        day, rest = divmod(minutes, 1_440)
        made.append([f"2024-01-{day + 1:02d} {rest // 60:02d}:{rest % 60:02d}:00", cell, "55"])
    return made


def write(folder: Path, lines: list[list[str]], config: str = CONFIG) -> tuple[Path, Path]:
    readings, settings = folder / "readings.csv", folder / "config.yaml"
    with readings.open("w", newline="") as file:
        csv.writer(file).writerows([["date", "cold", "humidity_pct"], *lines])
    settings.write_text(config, "utf-8")
    return readings, settings


def run(folder: Path, lines: list[list[str]], rules: Rules = "smart", config: str = CONFIG) -> list[dict[str, Any]]:
    out = io.StringIO()
    assert replay(*write(folder, lines, config), rules, True, out) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_line_is_an_object_of_the_stated_shape(tmp_path: Path) -> None:
    records = run(tmp_path, rows())
    assert {record["event"] for record in records} >= {"excursion_opened", "data_gap"}
    for record in records:
        assert list(record)[:7] == KEYS
        assert set(record) <= {*KEYS, "forecast_at"}
        assert record["event"] in EVENTS
        assert record["side"] in ("high", "low")
    times = [record["at"] for record in records]
    assert times == sorted(times)
    opened = next(record for record in records if record["event"] == "excursion_opened")
    assert (opened["sensor"], opened["limit_c"], opened["side"]) == ("cold", 5.0, "high")
    assert "2024-01-03T12:00:00Z" < opened["at"] <= "2024-01-03T12:45:00Z"


def test_plain_is_a_bare_threshold_without_delay(tmp_path: Path) -> None:
    records = run(tmp_path, rows(), "plain")
    assert [(r["event"], r["at"], r["limit_c"], r["value_c"]) for r in records] == [
        ("excursion_opened", "2024-01-03T12:00:00Z", 5.0, 12.0),
        ("excursion_closed", "2024-01-03T16:00:00Z", 5.0, 4.0),
    ]


def test_a_value_on_the_limit_is_inside_and_sides_change_over_in_one_reading(tmp_path: Path) -> None:
    lines = [[f"2024-01-01T0{hour}:00:00Z", value, ""] for hour, value in enumerate(["8.0", "8.1", "-1", "0.0"])]
    assert [(r["event"], r["side"], r["at"][11:13]) for r in run(tmp_path, lines, "plain")] == [
        ("excursion_opened", "high", "01"),
        ("excursion_closed", "high", "02"),
        ("excursion_opened", "low", "02"),
        ("excursion_closed", "low", "03"),
    ]


@pytest.mark.parametrize("rules", ["plain", "smart"])
def test_the_order_of_the_rows_does_not_matter_and_runs_are_alike(tmp_path: Path, rules: Rules) -> None:
    lines = rows()
    first = run(tmp_path, lines, rules)
    shuffled = random.Random(7).sample([*lines, lines[100]], len(lines) + 1)
    assert run(tmp_path, lines, rules) == first
    assert run(tmp_path, shuffled, rules) == first


def test_times_are_read_with_and_without_zone_and_as_seconds(tmp_path: Path) -> None:
    lines = rows()
    base = run(tmp_path, lines)
    as_zulu = [[line[0].replace(" ", "T") + ".000Z", *line[1:]] for line in lines]
    assert run(tmp_path, as_zulu) == base
    as_seconds = [[str(1_704_067_200 + index * 300), *line[1:]] for index, line in enumerate(lines)]
    assert run(tmp_path, as_seconds) == base
    local = run(tmp_path, lines, config="time_zone: Asia/Shanghai\n" + CONFIG)
    opened = next(record["at"] for record in local if record["event"] == "excursion_opened")
    assert opened.startswith("2024-01-03T04:")


def test_the_hour_that_a_zone_repeats_is_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = [[f"2024-11-03 {clock}", "3.0", ""] for clock in ("00:30", "01:00", "01:30", "01:00", "01:30", "02:00")]
    lines[3][1] = "20.0"
    config = "time_zone: America/Chicago\nsensors: {cold: {high_c: 8}}\n"
    records = run(tmp_path, lines, "plain", config)
    assert [record["at"] for record in records] == ["2024-11-03T07:00:00Z", "2024-11-03T07:30:00Z"]


def test_blank_cells_are_a_gap_and_words_for_nothing_are_blanks(tmp_path: Path) -> None:
    lines = rows(48)
    for index in range(400, 460):
        lines[index][1] = ["", "NaN", "null", "-"][index % 4]
    gaps = [record for record in run(tmp_path, lines) if record["event"] == "data_gap"]
    assert len(gaps) == 1
    assert gaps[0]["value_c"] is None


def test_a_cell_that_is_no_number_is_an_error_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = rows(2)
    lines[5][1] = "warm"
    assert replay(*write(tmp_path, lines), "smart", True, io.StringIO()) == 1
    assert "readings.csv:7: 'warm' is neither a number nor blank" in capsys.readouterr().err
    lines[5] = ["yesterday", "4.0", ""]
    assert replay(*write(tmp_path, lines), "smart", True, io.StringIO()) == 1
    assert "readings.csv:7: 'yesterday' is not a time" in capsys.readouterr().err


def test_columns_without_a_sensor_are_named_and_a_file_without_any_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, rows(2))
    assert "humidity_pct" in capsys.readouterr().err
    assert replay(*write(tmp_path, rows(2), "sensors: {other: {high_c: 5}}"), "smart", True, io.StringIO()) == 2
    assert "no column is configured; columns: cold, humidity_pct; sensors: other" in capsys.readouterr().err


def test_with_defaults_alone_every_temperature_column_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = run(tmp_path, rows(), "plain", "defaults: {high_c: 8}\n")
    assert {record["sensor"] for record in records} == {"cold"}
    assert "not temperatures by their names: humidity_pct" in capsys.readouterr().err
    assert replay(*write(tmp_path, rows(1), "defaults: {delay_s: 60}"), "smart", True, io.StringIO()) == 2


def test_a_door_column_is_a_contact_and_its_finding_names_it(tmp_path: Path) -> None:
    lines = [[*line[:2], str(int(3_600 <= index * 5 < 3_840))] for index, line in enumerate(rows())]
    readings, config = write(tmp_path, lines, CONFIG + "  humidity_pct: {kind: door}\n")
    out = io.StringIO()
    assert replay(readings, config, "smart", True, out) == 0
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    door = next(record for record in records if record["sensor"] == "humidity_pct")
    assert (door["event"], door["at"]) == ("warning", "2024-01-03T12:10:00Z")
    opened = next(record for record in records if record["event"] == "excursion_opened")
    assert "the door has been open since 12:00" in opened["reason"]


def test_the_command_itself_writes_json_lines(tmp_path: Path) -> None:
    readings, config = write(tmp_path, rows())
    done = run_warm("edge.cli", "replay", str(readings), "--config", str(config), "--rules", "plain", "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["excursion_opened", "excursion_closed"]


def test_the_command_answers_2_for_a_wrong_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readings, config = write(tmp_path, rows(1), "sensors:\n  cold:\n    hihg_c: 5\n")
    assert main(["replay", str(readings), "--config", str(config)]) == 2
    assert f"{config}:3: sensors.cold.hihg_c: unknown key" in capsys.readouterr().err


def test_a_reading_costs_little_enough_for_a_million_in_twenty_seconds(tmp_path: Path) -> None:
    readings, config = write(tmp_path, rows(24 * 28))
    begun = time.process_time()
    assert replay(readings, config, "smart", True, io.StringIO()) == 0
    assert (time.process_time() - begun) / (28 * 288) < 20e-6 * 3  # thrice the aim: the machine may be busy and slow
