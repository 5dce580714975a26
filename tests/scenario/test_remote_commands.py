"""A real box fetches commands from a real centre, refuses what it does not allow, and its word is on record there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.centre import Centre
from tests.waiting import wait_for
from tests.warm import WarmProcess, run_warm

CONFIG = """
box: {{name: b, data_dir: data}}
server: {{url: "{url}"}}
remote: {{allow: [restart]}}
"""


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    running = Centre(tmp_path / "centre")
    yield running
    assert running.stop() == 0


def test_commands_are_fetched_refused_or_done_and_told(centre: Centre, tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text(CONFIG.format(url=centre.url))
    enrolled = run_warm("edge.cli", "enrol", "--code", centre.enrol_code(), str(file))
    assert enrolled.returncode == 0, enrolled.stderr
    regulator = centre.person("regulator")
    box_id = regulator.get("/api/v1/boxes").json()["boxes"][0]["id"]
    path = f"/api/v1/boxes/{box_id}/commands"
    box = WarmProcess("edge.cli", "run", str(file))
    try:
        for body in ({"kind": "restart"}, {"kind": "snapshot", "arguments": {"camera": "cam"}}):
            assert regulator.post(path, json=body, headers=regulator.csrf).status_code == 202

        def results() -> dict[str, str]:
            rows = regulator.get(path).json()["commands"]
            return {row["kind"]: row["result"]["reason"] for row in rows if row["state"] == "refused"}

        found = wait_for("both are answered", lambda: results() if len(results()) == 2 else None, 60)
        assert "at most one restart a minute" in found["restart"]
        assert "does not allow it" in found["snapshot"]
        assert box.poll() is None
    finally:
        box.terminate()
        assert box.wait(30) == 0
