"""The cameras' part of the configuration: what is refused, and how it reaches the camera process whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from edge.camera import _settings
from edge.camera_task import CameraTask
from edge.config_cameras import Camera
from vision.site_times import Span

TRIANGLE = [[0, 0], [0.5, 0], [0.5, 1]]
GOOD: dict[str, Any] = {
    "id": "kitchen", "name": "备餐间", "source": "rtsp://c/1", "dwell_s": 4,
    "models": [{}, {"path": "small.onnx", "rate_fps": 2, "regions": ["line"]}],
    "zones": [{"id": "line", "kind": "serving", "polygon": TRIANGLE, "anchor": "top"}],
    "masks": [TRIANGLE],
    "violations": ["no_mask", {"code": "rodent", "zones": ["line"], "dwell_s": 2, "active": ["night"]}],
    "times": {
        "open": [{"from": "05:30", "to": "19:00", "days": ["mon"]}],
        "meals": {"lunch": [{"from": "10:30", "to": "13:00"}]},
    },
}  # fmt: skip


def camera(**changes: Any) -> Camera:
    return Camera.model_validate({**GOOD, **changes})


def test_everything_reaches_the_watch_as_it_stands_in_the_file() -> None:
    task = CameraTask(
        box_id="b", camera=camera().located(Path("/box")), key_file=Path("k"), spool_dir=Path("s"),
        open_incidents={"no_mask": "i1", "rodent@line": "i2"},
    )  # fmt: skip
    sent = CameraTask.model_validate_json(task.model_dump_json(by_alias=True))  # as over the pipe
    settings = _settings(sent)
    assert [(use.rate_fps, use.regions) for use in settings.models] == [(None, ()), (2, ("line",))]
    assert settings.models[1].path == Path("/box/small.onnx")
    assert [(item.code, item.zones, item.changes) for item in settings.violations] == [
        ("no_mask", (), {"dwell_s": 4}),
        ("rodent", ("line",), {"dwell_s": 2, "active": ("night",)}),
    ]
    (zone,) = settings.zones
    assert (zone.zone_id, zone.kind, zone.anchor, zone.polygon) == (
        "line", "serving", "top", ((0, 0), (0.5, 0), (0.5, 1)),
    )  # fmt: skip
    assert settings.times.open == (Span("05:30", "19:00", ("mon",)),)
    assert settings.times.meals["lunch"][0].end == "13:00"
    assert [(item.kind, item.zone, item.incident_id) for item in settings.open_incidents] == [
        ("no_mask", "", "i1"), ("rodent", "line", "i2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "a.onnx"}, "give model or models, not both"),
        ({"violations": []}, "violations"),
        ({"violations": ["no_mask", "no_mask"]}, "stands twice"),
        ({"violations": [{"code": "rodent", "zones": ["gone"]}]}, "gone is no id in its zones"),
        ({"models": [{"regions": ["gone"]}], "zones": []}, "is no id in its zones"),
        ({"zones": [GOOD["zones"][0]] * 2}, "two zones have the same id"),
        ({"zones": [{"id": "line", "polygon": [[0, 0], [2, 0], [1, 1]]}]}, "less than or equal to 1"),
        ({"masks": [[[0, 0], [1, 1]]]}, "at least 3"),
        ({"times": {"open": [{"from": "5:30", "to": "19:00"}]}}, "pattern"),
        ({"confidence": 0.05}, "greater than or equal to 0.15"),
        ({"colour": "red"}, "Extra inputs"),
        ({"rate_fps": 0.5}, "rate_fps below 1 needs keyframes_only"),
        ({"hardware": "gpu"}, "hardware"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        camera(**changes)


def test_the_example_in_the_documentation_can_be_loaded() -> None:
    text = (Path(__file__).resolve().parents[2] / "vision" / "README.md").read_text("utf-8")
    block = re.search(r"^    cameras:\n(?:    .*\n)+", text, re.MULTILINE)
    assert block is not None
    (example,) = yaml.safe_load(block.group())["cameras"]
    loaded = Camera.model_validate({**example, "source": "rtsp://c/1", "sub_source": "rtsp://c/2"})
    assert [zone.id for zone in loaded.zones] == ["line", "floor"]
    assert [item.code for item in loaded.violations] == ["no_mask", "rodent"]


@pytest.mark.parametrize(
    ("changes", "watched", "films"),
    [
        ({}, "rtsp://c/1", "rtsp://c/1"),
        ({"sub_source": "rtsp://c/2"}, "rtsp://c/2", "rtsp://c/2"),
        ({"sub_source": "rtsp://c/2", "films_from": "main"}, "rtsp://c/2", "rtsp://c/1"),
        ({"sub_source": "rtsp://c/2", "detect_on": "main"}, "rtsp://c/1", "rtsp://c/2"),
    ],
)
def test_the_roles_of_the_streams_are_as_configured(changes: dict[str, Any], watched: str, films: str) -> None:
    task = CameraTask(box_id="b", camera=camera(**changes), key_file=Path("k"), spool_dir=Path("s"), open_incidents={})
    settings = _settings(task)
    assert (settings.source, settings.clip_source) == (watched, films)
