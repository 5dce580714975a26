"""A centre, a box with its service manager, and an administrator who rolls releases out; all through real doors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.config import load
from edge.enrolment import enrol
from tests.server.centre import ROOT, Centre, Person
from tests.waiting import wait_for

BOX = Path(__file__).with_name("released_box.py")
SOAK_S = 900  # more than a box's silence may last; nothing here waits for it
DEADLINE_S = 120.0


class Site:
    """``kill`` is the file of `released_box.py`."""

    def __init__(self, folder: Path, centre: Centre, config: str) -> None:
        self.centre = centre
        self.folder = folder
        self.kill = folder / "kill"
        file = folder / "box.yaml"
        file.write_text(config.format(url=centre.url), "utf-8")
        enrol(load(file), centre.enrol_code())
        self.admin: Person = centre.person("administrator")
        self.box_id = self.admin.get("/api/v1/boxes").json()["boxes"][0]["id"]
        with (folder / "box.log").open("wb") as log:
            self.box = subprocess.Popen(
                [sys.executable, str(BOX), str(file), str(self.kill)], cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=log,
            )  # fmt: skip

    def stop(self) -> None:
        self.box.terminate()
        self.box.wait(30)

    def post(self, path: str, **said: Any) -> dict[str, Any]:
        answer = self.admin.post(path, headers=self.admin.csrf, **said)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def begin(self, release: dict[str, Any], **said: Any) -> int:
        wanted = {"release": release["id"], "boxes": [self.box_id], "stages": ["100%"], "soak_s": SOAK_S, **said}
        return int(self.post("/api/v1/rollouts", json=wanted)["id"])

    def take_back(self, rollout: int) -> None:
        self.post(f"/api/v1/rollouts/{rollout}/roll_back")
        self.wait_for(rollout, "rolled_back", "back")

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


@contextmanager
def running_site(folder: Path, config: str) -> Iterator[Site]:
    """*config* is the box's file, the centre's address left open as ``{url}``."""
    (folder / "centre").mkdir()
    (folder / "centre/boxes.yaml").write_text("rollout_look_s: 0.2\n")
    centre = Centre(folder / "centre")
    try:
        made = Site(folder, centre, config)
        try:
            yield made
        finally:
            made.stop()
    finally:
        assert centre.stop() == 0
