"""The parent's side of a camera, with a scripted child process that prints reports."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge.camera_desk import CameraDesk
from edge.camera_process import CameraProcess
from edge.config import Camera
from telemetry.messages import Event
from telemetry.outbox import OutboxError

CHILD = Path(__file__).with_name("camera_child.py")
CAMERA = Camera(id="kitchen", name="备餐间 1", place="备餐间", source="rtsp://a:b@camera/1")
DEADLINE_S = 20
AT = "2026-01-02T00:00:00Z"
STATS = json.dumps({"camera": "kitchen", "type": "stats", "judged": 1, "drops": {"overload": 0}})
OPENED = json.dumps(
    {"camera": "kitchen", "type": "violation_opened", "at": AT, "incident_id": "i1", "kind": "no_mask",
     "confidence": 0.9, "duration_s": 3.2,
     "model_sha256": "ab", "evidence": ["d1", "d2"]}
)  # fmt: skip
CLOSED = json.dumps({"camera": "kitchen", "type": "violation_closed", "at": AT, "incident_id": "i1", "kind": "no_mask"})
BLIND = json.dumps({"camera": "kitchen", "type": "camera_blind", "at": AT, "reason": "offline: timed out"})
RECOVERED = json.dumps({"camera": "kitchen", "type": "camera_recovered", "at": AT})


class ScriptedRecorder:
    """Keeps events and states; raises OutboxError for the first *failures* of them."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.events: list[Event] = []
        self.states: list[dict[str, str | None]] = []
        self.told = asyncio.Event()

    async def record(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        if self.failures:
            self.failures -= 1
            raise OutboxError("disk full")
        self.events += events
        self.states.append(state)
        self.told.set()

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


class Bench:
    """One camera with its scripted child."""

    def __init__(self, folder: Path, *, failures: int = 0) -> None:
        self.folder = folder
        self.script = folder / "script.json"
        self.recorder = ScriptedRecorder(failures)
        self.wakes = 0

    def _wake(self) -> None:
        self.wakes += 1

    def desk(self, saved: str | None = None) -> CameraDesk:
        return CameraDesk(
            CAMERA, box_id="box-1", key_file=Path("k"), spool_dir=self.folder / "spool", saved=saved,
            record=self.recorder.record, wake=self._wake,
        )  # fmt: skip

    def camera(self, *script: str, desk: CameraDesk | None = None, silent_s: float = DEADLINE_S) -> CameraProcess:
        self.script.write_text(json.dumps(script), "utf-8")
        return CameraProcess(
            [desk or self.desk()], crumbs_file=self.folder / "vision" / "c.crumbs",
            command=(sys.executable, str(CHILD), str(self.script)), silent_s=silent_s, end_s=1.0,
        )  # fmt: skip

    def starts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.script.with_suffix(".started").read_text("utf-8").splitlines()]

    async def run_to_its_end(self, camera: CameraProcess) -> str:
        with pytest.raises(OSError, match="camera kitchen: ") as caught:
            await asyncio.wait_for(camera.run(), DEADLINE_S)
        return str(caught.value)

    async def run_until(self, camera: CameraProcess, count: int) -> None:
        """Run until *count* events are recorded, then stop it."""
        task = asyncio.create_task(camera.run())
        async with asyncio.timeout(DEADLINE_S):
            while len(self.recorder.events) < count and not task.done():
                await asyncio.wait(
                    {task, asyncio.create_task(self.recorder.told.wait())}, return_when="FIRST_COMPLETED"
                )
                self.recorder.told.clear()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE_S)


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_what_could_not_be_kept_and_a_film_that_comes_late_stand_in_events_of_their_own(tmp_path: Path) -> None:
    opened = json.dumps(
        {**json.loads(OPENED), "evidence": [], "evidence_missing": ["snapshot: No space left on device"]}
    )
    updated = {"camera": "kitchen", "type": "violation_updated", "at": AT, "incident_id": "i1", "kind": "no_mask"}
    lines = [
        opened, json.dumps({"camera": "kitchen", "type": "storage", "reason": "storage_full"}),
        json.dumps({**updated, "evidence": ["d1"]}),
        json.dumps({**updated, "evidence": ["d1", "d2"], "is_film": True}),
    ]  # fmt: skip

    async def scenario() -> Bench:
        bench = Bench(tmp_path)
        await bench.run_until(bench.camera(*lines, "obey"), 4)
        return bench

    told, storage, clip, film = asyncio.run(scenario()).recorder.events
    assert told.data["evidence_missing"] == ["snapshot: No space left on device"]
    assert (storage.type, storage.data["status"]) == ("box_status", "storage_full")
    assert (clip.event_id, clip.data["evidence"]) == ("i1.updated", ["d1"])
    assert (film.event_id, film.type, film.data["evidence"]) == ("i1.film", "violation_updated", ["d1", "d2"])


def test_reports_become_events_and_the_open_incidents_are_saved_with_them(tmp_path: Path) -> None:
    async def scenario() -> Bench:
        bench = Bench(tmp_path)
        await bench.run_until(
            bench.camera(STATS, OPENED, CLOSED, BLIND, BLIND, RECOVERED, RECOVERED, OPENED, "obey"), 5
        )
        return bench

    bench = asyncio.run(scenario())
    assert bench.recorder.types == [
        "violation_opened", "violation_closed", "camera_blind", "camera_recovered", "violation_opened"
    ]  # fmt: skip
    opened, closed, blind, recovered, _ = bench.recorder.events
    assert (opened.event_id, opened.source_id, opened.severity) == ("i1.opened", "kitchen", "warning")
    wanted = {
        "kind": "no_mask",
        "camera_name": "备餐间 1",
        "place": "备餐间",
        "evidence": ["d1", "d2"],
        "confidence": 0.9,
    }
    assert wanted.items() <= opened.data.items()
    assert (closed.event_id, closed.incident_id) == ("i1.closed", "i1")
    assert blind.data["reason"] == "offline: timed out"
    assert blind.incident_id == recovered.incident_id
    saved = [json.loads(str(state["camera/kitchen"])) for state in bench.recorder.states]
    expected = [{"no_mask": "i1"}, {}, {"camera_blind": blind.incident_id}, {}, {"no_mask": "i1"}]
    assert saved == expected
    assert bench.wakes == 5
    assert not is_alive(bench.starts()[0]["pid"]), "it ended when its input closed"


COVERAGE = json.dumps(
    {"camera": "kitchen", "type": "coverage", "at": AT, "started_at": "2026-01-01T23:45:00Z", "blind_s": 12.5,
     "coverage": [{"kind": "no_mask", "zone": "", "due_s": 900, "judged_s": 887.5}], "models": ["m" * 64]}
)  # fmt: skip
IN_ZONE = json.dumps({**json.loads(OPENED), "incident_id": "i2", "zone": "line"})
MISCONFIGURED = json.dumps(
    {"camera": "kitchen", "type": "misconfigured", "reason": "no_hat needs the classes person, hat; missing: hat"}
)


STATS_IN_FULL = json.dumps(
    {"camera": "kitchen", "type": "stats", "judged": 50, "drops": {"overload": 2, "blind": 3},
     "rate_fps": 4.9, "age_ms_max": 61.5,
     "inference_ms_mean": 24.8, "blind_s": 0.6}
)  # fmt: skip


def metrics(folder: Path) -> dict[str, float]:
    text = (folder / "metrics" / "camera-kitchen.prom").read_text("utf-8")
    rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("brightline_camera_"): float(value) for name, _, value in rows}


def test_the_figures_of_a_camera_are_there_for_prometheus(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    asyncio.run(bench.run_until(bench.camera(STATS_IN_FULL, COVERAGE, "obey"), 1))
    assert metrics(tmp_path) == {
        'up{camera="kitchen"}': 1, 'judged_total{camera="kitchen"}': 50, 'rate_fps{camera="kitchen"}': 4.9,
        'age_ms_max{camera="kitchen"}': 61.5, 'inference_ms_mean{camera="kitchen"}': 24.8,
        'blind_seconds_total{camera="kitchen"}': 0.6, 'dropped_total{camera="kitchen",cause="overload"}': 2,
        'dropped_total{camera="kitchen",cause="blind"}': 3,
    }  # fmt: skip


def test_a_dead_camera_process_is_down_in_the_metrics(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    asyncio.run(bench.run_to_its_end(bench.camera(STATS_IN_FULL, "exit")))
    assert metrics(tmp_path)['up{camera="kitchen"}'] == 0


def test_a_metrics_file_that_cannot_be_written_does_not_stop_the_watch(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("a file where the folder should be")
    bench = Bench(tmp_path)
    asyncio.run(bench.run_until(bench.camera(STATS_IN_FULL, STATS_IN_FULL, OPENED, "obey"), 1))
    assert bench.recorder.types == ["violation_opened"]


def test_coverage_becomes_a_record_that_leaves_no_incident_open(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    asyncio.run(bench.run_until(bench.camera(COVERAGE, "obey"), 1))
    [event] = bench.recorder.events
    assert (event.type, event.severity, event.data["rows"]) == ("coverage", "info", ["no_mask - 900.0 887.5"])
    assert (event.data["blind_s"], event.data["started_at"]) == (12.5, "2026-01-01T23:45:00+00:00")
    assert event.data["models"] == ["m" * 64]
    assert json.loads(str(bench.recorder.states[0]["camera/kitchen"])) == {}


def test_the_film_of_an_incident_follows_as_an_update_with_all_its_evidence(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    film = {
        "camera": "kitchen",
        "type": "violation_updated",
        "at": AT,
        "incident_id": "i1",
        "kind": "no_mask",
        "evidence": ["d1", "d2", "d3"],
    }
    asyncio.run(bench.run_until(bench.camera(OPENED, json.dumps(film), "obey"), 2))
    assert [(event.event_id, event.type) for event in bench.recorder.events] == [
        ("i1.opened", "violation_opened"), ("i1.updated", "violation_updated"),
    ]  # fmt: skip
    assert bench.recorder.events[1].data["evidence"] == ["d1", "d2", "d3"]
    assert json.loads(str(bench.recorder.states[1]["camera/kitchen"])) == {"no_mask": "i1"}


def test_incidents_of_two_zones_are_kept_apart(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    closed = json.dumps({**json.loads(CLOSED), "incident_id": "i2", "zone": "line", "reason": "period_over"})
    asyncio.run(bench.run_until(bench.camera(OPENED, IN_ZONE, closed, "obey"), 3))
    saved = [json.loads(str(state["camera/kitchen"])) for state in bench.recorder.states]
    assert saved == [{"no_mask": "i1"}, {"no_mask": "i1", "no_mask@line": "i2"}, {"no_mask": "i1"}]
    assert [event.data["kind"] for event in bench.recorder.events] == ["no_mask"] * 3
    assert (bench.recorder.events[2].data["zone"], bench.recorder.events[2].data["reason"]) == ("line", "period_over")


def test_a_camera_whose_model_lacks_a_class_says_which_and_counts_as_blind(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    said = asyncio.run(bench.run_to_its_end(bench.camera(MISCONFIGURED, "exit")))
    assert "missing: hat" in said
    [event] = bench.recorder.events
    assert event.type == "camera_blind"
    assert "missing: hat" in str(event.data["reason"])


def test_restart_hands_the_open_incidents_to_the_next_process(tmp_path: Path) -> None:
    async def scenario() -> Bench:
        bench = Bench(tmp_path)
        saved = json.dumps({"no_mask": "i1", "camera_blind": "b1"})
        await bench.run_until(bench.camera(BLIND, RECOVERED, CLOSED, "obey", desk=bench.desk(saved)), 2)
        return bench

    bench = asyncio.run(scenario())
    [start] = (camera for start in bench.starts() for camera in start["cameras"])
    assert (start["open_incidents"], start["blind"]) == ({"no_mask": "i1"}, True)
    assert start["camera"]["source"] == CAMERA.source
    assert [event.event_id for event in bench.recorder.events] == ["b1.recovered", "i1.closed"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (["exit"], "its process ended with status 3"),
        ([STATS, "words", "obey"], "said something that is no report"),
        (['{"camera": "kitchen", "type": "violation_opened"}', "obey"], "violation without kind or incident"),
        ([CLOSED.replace("Z", ""), "obey"], "said something that is no report"),
        (["x" * 100_000, "obey"], "chunk"),
    ],
    ids=["crash", "garbage", "incomplete", "no-time-zone", "endless-line"],
)
def test_failing_process_is_told_as_blind_once_over_all_restarts(
    tmp_path: Path, script: list[str], reason: str
) -> None:
    async def scenario() -> Bench:
        bench = Bench(tmp_path)
        camera = bench.camera(*script)
        for _ in range(2):
            assert reason in await bench.run_to_its_end(camera)
        return bench

    bench = asyncio.run(scenario())
    assert bench.recorder.types == ["camera_blind"]
    assert reason in str(bench.recorder.events[0].data["reason"])
    assert len(bench.starts()) == 2
    assert not any(is_alive(start["pid"]) for start in bench.starts())


def test_silent_process_is_told_as_blind_and_ended(tmp_path: Path) -> None:
    async def scenario() -> Bench:
        bench = Bench(tmp_path)
        camera = bench.camera("obey", silent_s=1.0)
        assert "silent for 1 s" in await bench.run_to_its_end(camera)
        return bench

    bench = asyncio.run(scenario())
    assert bench.recorder.types == ["camera_blind"]
    assert not any(is_alive(start["pid"]) for start in bench.starts())


def test_process_that_cannot_be_started_is_told_as_blind(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        bench = Bench(tmp_path)
        camera = CameraProcess([bench.desk()], crumbs_file=tmp_path / "c", command=(str(tmp_path / "gone"),))
        await bench.run_to_its_end(camera)
        return bench.recorder.types

    assert asyncio.run(scenario()) == ["camera_blind"]


@pytest.mark.parametrize("end", ["ignore", "flood"])
def test_child_that_ignores_its_closed_input_is_killed_in_time(tmp_path: Path, end: str) -> None:
    async def scenario() -> tuple[Bench, float]:
        bench = Bench(tmp_path)
        task = asyncio.create_task(bench.camera(OPENED, end).run())
        await asyncio.wait_for(bench.recorder.told.wait(), DEADLINE_S)
        start_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE_S)
        return bench, time.monotonic() - start_s

    bench, took_s = asyncio.run(scenario())
    assert took_s < 6, "one second to end by itself, one to die, the rest for a busy machine"
    assert not is_alive(bench.starts()[0]["pid"])
    with suppress(OSError):
        os.kill(int(bench.script.with_suffix(".holder").read_text()), 9)


def test_second_cancellation_kills_the_child_at_once(tmp_path: Path) -> None:
    async def scenario() -> Bench:
        bench = Bench(tmp_path)
        camera = bench.camera(OPENED, "flood")
        camera._end_s = 60.0
        task = asyncio.create_task(camera.run())
        await asyncio.wait_for(bench.recorder.told.wait(), DEADLINE_S)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE_S)
        return bench

    assert not is_alive(asyncio.run(scenario()).starts()[0]["pid"])


def test_event_that_was_not_kept_has_not_happened(tmp_path: Path) -> None:
    async def scenario() -> Bench:
        bench = Bench(tmp_path, failures=2)
        desk = bench.desk()
        with pytest.raises(OutboxError):
            await asyncio.wait_for(bench.camera(OPENED, "obey", desk=desk).run(), DEADLINE_S)
        assert desk.open == {}
        camera = bench.camera("exit", desk=desk)
        with pytest.raises(OutboxError):  # not even the blindness is kept
            await asyncio.wait_for(camera.run(), DEADLINE_S)
        assert desk.open == {}
        await bench.run_to_its_end(camera)  # so it is told at the next chance
        return bench

    assert asyncio.run(scenario()).recorder.types == ["camera_blind"]
