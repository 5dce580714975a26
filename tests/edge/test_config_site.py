"""Opening hours and meals of the site reach every camera that gives none of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import ConfigurationError, load

CONFIG = """\
box: {name: b, data_dir: box, time_zone: Asia/Urumqi}
server: {url: 'http://127.0.0.1:9'}
site:
  times:
    open: [{from: "05:30", to: "19:00"}]
    meals: {lunch: [{from: "10:30", to: "13:00"}]}
cameras:
  - {id: a, name: A, source: a.mp4}
  - {id: b, name: B, source: b.mp4, times: {open: [], time_zone: Asia/Shanghai}}
  - {id: c, name: C, source: c.mp4, times: {meals: {supper: [{from: "17:00", to: "18:30"}]}}}
"""


def test_cameras_inherit_the_sites_times_and_overrule_them_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG, "utf-8")
    inheriting, always_open, own_meals = (camera.times for camera in load(tmp_path / "c.yaml").cameras)
    assert inheriting.open[0].start == "05:30"
    assert list(inheriting.meals) == ["lunch"]
    assert inheriting.time_zone == "Asia/Urumqi"
    assert (always_open.open, list(always_open.meals), always_open.time_zone) == ((), ["lunch"], "Asia/Shanghai")
    assert (own_meals.open, list(own_meals.meals)) == (inheriting.open, ["supper"])


def test_a_wrong_time_of_the_site_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace('"05:30"', '"25:30"'), "utf-8")
    with pytest.raises(ConfigurationError, match=r"c\.yaml:5: site\.times\.open\.0\.from: "):
        load(tmp_path / "c.yaml")
