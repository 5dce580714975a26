"""A release goes from a real centre to a real box: proved there, or taken back by the box itself, over any kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.config import load
from edge.enrolment import enrol
from tests.server.centre import ROOT, Centre, Person
from tests.waiting import wait_for

BOX = Path(__file__).with_name("released_box.py")
BOXES = "silent_after_s: 60\nrollout_look_s: 0.2\n"
CONFIG = """
box: {{name: b, data_dir: data}}
server: {{url: "{url}"}}
remote: {{allow: [apply], trial_s: 0.5}}
replays: [{{id: day, file: day.csv}}]
sensors: [{{type: replay, id: cold-1, name: 冷库, file: day, column: cold}}]
limits: [{{sensor: cold-1, high_c: 8, delay_s: 600}}]
"""
LIMIT = "limits: [{{sensor: cold-1, high_c: {}, delay_s: 600}}]"
DEADLINE_S = 60.0


class Site:
    """One centre, one box with its service manager, and an administrator who rolls out."""

    def __init__(self, folder: Path, centre: Centre) -> None:
        self.centre = centre
        self.kill = folder / "kill"
        self.file = folder / "box.yaml"
        self.file.write_text(CONFIG.format(url=self.centre.url), "utf-8")
        begun = datetime(2026, 1, 2, tzinfo=UTC)
        rows = [f"{(begun + timedelta(seconds=second)).isoformat()},4.0" for second in range(600)]
        (folder / "day.csv").write_text("time,cold\n" + "\n".join(rows))
        enrol(load(self.file), self.centre.enrol_code())
        self.admin: Person = self.centre.person("administrator")
        self.box_id = self.admin.get("/api/v1/boxes").json()["boxes"][0]["id"]
        self.box = subprocess.Popen(
            [sys.executable, str(BOX), str(self.file), str(self.kill)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self) -> None:
        self.box.terminate()
        self.box.wait(30)

    def post(self, path: str, **said: Any) -> dict[str, Any]:
        answer = self.admin.post(path, headers=self.admin.csrf, **said)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def roll_out(self, high_c: float) -> int:
        document = LIMIT.format(high_c).encode()
        release = self.post("/api/v1/releases", params={"name": f"{high_c} C"}, content=document)
        wanted = {"release": release["id"], "boxes": [self.box_id], "stages": ["100%"], "soak_s": 60}
        return int(self.post("/api/v1/rollouts", json=wanted)["id"])

    def wait_for(self, rollout: int, state: str, box: str) -> dict[str, Any]:
        """The roll-out as it stands once it and its box are in these states."""
        shown: dict[str, Any] = {}

        def has_come() -> bool:
            shown.update(self.admin.get(f"/api/v1/rollouts/{rollout}").json())
            return (shown["state"], shown["boxes"][0]["state"]) == (state, box)

        try:
            wait_for(f"the roll-out is {state}, its box {box}", has_come, DEADLINE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {shown}") from error
        return shown


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rollout")
    (folder / "centre").mkdir()
    (folder / "centre/boxes.yaml").write_text(BOXES)
    centre = Centre(folder / "centre")
    try:
        made = Site(folder, centre)
        yield made
        made.stop()
    finally:
        assert centre.stop() == 0


def test_release_is_proved_over_a_kill_and_one_that_kills_the_box_is_taken_back_by_itself(site: Site) -> None:
    site.kill.write_text("rename")
    good = site.roll_out(6)
    site.wait_for(good, "running", "applied")
    assert not site.kill.exists()
    site.post(f"/api/v1/rollouts/{good}/roll_back")
    site.wait_for(good, "rolled_back", "back")
    bad = site.roll_out(5)
    shown = site.wait_for(bad, "rolled_back", "failed")
    assert "started 3 times and did not stay up" in shown["boxes"][0]["reason"]
    assert site.box.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("step", ["start", "confirmation"])
def test_kill_after_the_release_is_on_the_disk_is_made_good_by_the_next_start(site: Site, step: str) -> None:
    site.kill.write_text(step)
    rollout = site.roll_out(6)
    site.wait_for(rollout, "running", "applied")
    assert not site.kill.exists()
    site.post(f"/api/v1/rollouts/{rollout}/roll_back")
    site.wait_for(rollout, "rolled_back", "back")


@pytest.mark.slow
def test_kill_before_the_release_is_on_the_disk_pauses_the_rollout_until_a_person_goes_on(site: Site) -> None:
    site.kill.write_text("download")
    rollout = site.roll_out(7)
    shown = site.wait_for(rollout, "paused", "refused")
    assert shown["boxes"][0]["reason"] == "the box was interrupted"
    assert not site.kill.exists()
    site.post(f"/api/v1/rollouts/{rollout}/resume")
    site.wait_for(rollout, "running", "applied")
    site.post(f"/api/v1/rollouts/{rollout}/roll_back")
    site.wait_for(rollout, "rolled_back", "back")
