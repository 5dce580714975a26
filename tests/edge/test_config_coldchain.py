"""The section `cold_chain`: the words of a replay for sensors of the box; every problem has its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import ConfigurationError, load
from edge.config_coldchain import probe_settings
from edge.replay_config import load_replay
from tests.edge.console import ROOT, RunEdge

GOOD = """\
box: {name: canteen-1, data_dir: data, time_zone: Asia/Shanghai}
server: {url: https://centre.example}
serial_ports:
  - {id: rs485, device: /dev/ttyUSB0}
sensors:
  - {type: modbus, id: air, name: 空气, place: 冷库, port: rs485, unit: 1, register: 0}
  - {type: modbus, id: core, name: 中心, place: 冷库, port: rs485, unit: 2, register: 0}
  - {type: modbus, id: door, name: 门, place: 冷库, port: rs485, unit: 3, register: 0, quantity: door}
  - {type: modbus, id: far, name: 外, place: 走廊, port: rs485, unit: 4, register: 0, unit_of_measure: °F}
limits:
  - {sensor: far, high_c: 80, delay_s: 60}
cold_chain:
  air:
    limit_set: canteen-refrigerator
    high_c: 9
    loosen_reason: 改造期间
    defrost_schedule: ["06:00-06:45"]
    twin: core
  core: {limits: [{from: 2026-01-01, high_c: 8}, {from: 2026-06-01, low_c: 1}], product_lag_s: 900}
"""

# what is changed in GOOD → the line and path and a part of the problem
WRONG: dict[str, tuple[str, str, int, str, str]] = {
    "unknown sensor": ("  core: {limits", "  soup: {limits", 19, "cold_chain.soup", "is no id in sensors"),
    "no temperature": ("  core: {limits", "  door: {limits", 19, "cold_chain.door", "is a sensor of door"),
    "no degrees Celsius": ("  core: {limits", "  far: {limits", 19, "cold_chain.far", "measures in '°F'"),
    "also in limits": ("{sensor: far,", "{sensor: core,", 19, "cold_chain.core", "take out one of the two"),
    "looser without a reason": ("    loosen_reason: 改造期间\n", "", 13, "cold_chain.air", "state a loosen_reason"),
    "unknown set": ("canteen-refrigerator", "canteen-fridge", 13, "cold_chain.air", "no limit set 'canteen-fridge'"),
    "unknown key": ("product_lag_s: 900", "product_lag: 900", 19, "cold_chain.core.product_lag", "unknown key"),
    "unknown key of a dated limit": ("high_c: 8}", "hihg_c: 8}", 19, "cold_chain.core.limits.0.hihg_c", "unknown key"),
    "no date": ("from: 2026-06-01", "from: June", 19, "cold_chain.core.limits.1", "'June' is not a date"),
    "no schedule": ("06:00-06:45", "06:00-6:75", 17, "cold_chain.air.defrost_schedule", "is not a time of day"),
    "twin of itself": ("twin: core", "twin: air", 18, "cold_chain.air.twin", "is no other sensor of cold_chain"),
    "twin that is not judged": ("twin: core", "twin: far", 18, "cold_chain.air.twin", "is no other sensor"),
    "twin at another place": (
        "name: 中心, place: 冷库", "name: 中心, place: 走廊", 18, "cold_chain.air.twin", "give both the same place"
    ),
    "kind of a replay": ("    twin: core\n", "    kind: door\n", 13, "cold_chain.air", "kind is for replays only"),
    "limit that never alarms": ("high_c: 9", "high_c: .nan", 15, "cold_chain.air.high_c", ""),
}  # fmt: skip


def test_entries_become_the_settings_that_a_replay_would_use(tmp_path: Path) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(GOOD, "utf-8")
    config = load(path)
    air, core = probe_settings(config, "air"), probe_settings(config, "core")
    assert [(span.high_c, span.low_c) for span in air.settings.limits] == [(9, 0)]
    assert air.changes == ["high limit loosened from 8 °C to 9 °C: 改造期间"]
    assert air.settings.schedule
    assert [(span.high_c, span.low_c) for span in core.settings.limits] == [(8, None), (8, 1)]
    assert core.settings.limits[0].from_s == 1_767_196_800.0  # midnight in Shanghai
    assert core.settings.product_lag_s == 900


def test_replay_reads_the_box_s_own_file_and_judges_by_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(GOOD, "utf-8")
    config, replay = load(path), load_replay(path)
    assert replay.sensors is not None
    for sensor_id in ("air", "core"):
        assert replay.sensors[sensor_id] == probe_settings(config, sensor_id).settings
    assert replay.twins == (("air", "core"),)
    assert replay.contacts == {"door": "door"}
    assert str(replay.zone) == "Asia/Shanghai"


def test_limit_set_of_the_site_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "limits").mkdir()
    (tmp_path / "limits" / "own.yaml").write_text(
        "id: own\ntitle: {zh: 自定, en: own}\nuse: storage\nhigh: {value_c: 3, source: site, certainty: official}\n"
    )
    path = tmp_path / "box.yaml"
    path.write_text(GOOD.replace("core: {limits", "core: {limit_set: own, limits"), "utf-8")
    assert probe_settings(load(path), "core").settings.limits[0].high_c == 3


@pytest.mark.parametrize("case", WRONG)
def test_wrong_section_is_told_with_line_and_path(case: str, tmp_path: Path) -> None:
    old, new, line, place, problem = WRONG[case]
    assert old in GOOD
    path = tmp_path / "box.yaml"
    path.write_text(GOOD.replace(old, new), "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert f"{path}:{line}: {place}: " in str(caught.value)
    assert problem in str(caught.value)


def test_sample_judges_the_cold_room_and_is_well(run_edge: RunEdge) -> None:
    done = run_edge("check", "configs/edge-sample.yaml", KITCHEN_CAMERA="rtsp://camera/1")
    assert done.returncode == 0, done.stderr
    text = (ROOT / "configs/edge-sample.yaml").read_text("utf-8")
    assert "limit_set: canteen-refrigerator" in text
