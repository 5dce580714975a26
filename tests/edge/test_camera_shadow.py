"""A promotion, and its end, reach the centre as events: who reads verdicts later must know which model gave them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.camera import _changed, _settings
from edge.camera_task import CameraTask
from edge.config_cameras import Camera
from tests.edge.test_camera_process import Bench
from vision.happenings import ModelChanged

AT = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_model_that_changed_is_an_event_with_its_digest_and_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    changed = ModelChanged("kitchen", False, AT, "60 of 60 pictures differ", "ab" * 32, "cd" * 32)
    line: dict[str, Any] = json.loads(_changed(changed).model_dump_json(exclude_none=True))

    asyncio.run(bench.run_until(bench.camera(json.dumps(line), "obey"), 1))
    (event,) = bench.recorder.events
    assert (event.type, event.source_id, event.at) == ("box_status", "kitchen", AT)
    assert event.data["kind"] == "model"
    assert event.data["change"] == "rolled_back"
    assert event.data["model_sha256"] == "ab" * 32
    assert event.data["reason"] == "60 of 60 pictures differ"


def test_a_shadow_of_the_configuration_reaches_the_watch_with_its_folder_beside_the_spool() -> None:
    camera = Camera.model_validate(
        {"id": "kitchen", "name": "k", "source": "x", "models": [{"shadow": {"path": "new.onnx", "cpu_share": 0.05}}]}
    ).located(Path("/box"))
    task = CameraTask(
        box_id="b", camera=camera, key_file=Path("k"), spool_dir=Path("/data/spool"), open_incidents={}
    )  # fmt: skip
    settings = _settings(CameraTask.model_validate_json(task.model_dump_json(by_alias=True)))
    (use,) = settings.models
    assert use.shadow is not None
    assert (use.shadow.path, use.shadow.share, use.shadow.cpu_share) == (Path("/box/new.onnx"), 0.1, 0.05)
    assert settings.shadow_dir == Path("/data/shadow/kitchen")
