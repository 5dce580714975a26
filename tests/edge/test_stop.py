"""The box stops in bounded time on SIGTERM, whatever its cameras, its probes and its threads do, and loses nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edge.clock import boot_id
from telemetry.outbox import Outbox
from telemetry.outbox.inspection import verify_outbox
from telemetry.signing import Signer
from tests.edge.console import ROOT
from tests.edge.serial_line import NoisyLine, serial_line

STOP_S_MAX = 14.5  # 13 s by the box's own bound, and the time to end a process on a busy machine
DEADLINE_S = 30
OPENED = [
    json.dumps(
        {"camera": f"kitchen-{number}", "type": "violation_opened", "at": "2026-01-02T00:00:00Z", "kind": "no_mask",
         "incident_id": f"i{number}", "evidence": []}
    )
    for number in (1, 2)
]  # fmt: skip


@contextmanager
def running(folder: Path, config: Path, script: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(ROOT / "tests/edge/stubborn_box.py"), str(config), str(script)]
    with (folder / "box.log").open("wb") as log:
        box = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, stderr=log
        )
    try:
        yield box
    finally:
        box.kill()
        box.wait()
        for name in ("script.started", "script.holder"):
            for line in (folder / name).read_text().splitlines() if (folder / name).exists() else ():
                with suppress(OSError):
                    os.kill(json.loads(line)["pid"] if line.startswith("{") else int(line), signal.SIGKILL)


def wait_until(box: subprocess.Popen[bytes], log: Path, text: str) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while text not in log.read_text("utf-8"):
        assert box.poll() is None, log.read_text("utf-8")
        assert time.monotonic() < until_s, log.read_text("utf-8")
        with suppress(subprocess.TimeoutExpired):
            box.wait(0.05)


def stop(box: subprocess.Popen[bytes], *, signals: int = 1) -> tuple[int, float]:
    """The exit status and the seconds that the stop took."""
    start_s = time.monotonic()
    for _ in range(signals):
        box.send_signal(signal.SIGTERM)
    return box.wait(DEADLINE_S), time.monotonic() - start_s


@pytest.fixture
def hung_centre() -> Iterator[str]:
    """The address of a centre that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def write_config(folder: Path, url: str, more: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(f"box: {{name: b, data_dir: box}}\nserver: {{url: '{url}'}}\n{more}", "utf-8")
    return path


CAMERAS = """\
cameras:
  - {id: kitchen-1, name: one, source: 'rtsp://127.0.0.1:9/1'}
  - {id: kitchen-2, name: two, source: 'rtsp://127.0.0.1:9/2'}
"""


@pytest.mark.parametrize(("hang", "end", "signals"), [("", "ignore", 1), ("threads", "ignore", 1), ("", "flood", 3)])
def test_box_stops_in_time_with_cameras_that_ignore_everything_and_a_hung_centre(
    tmp_path: Path, enrolled: Path, hung_centre: str, hang: str, end: str, signals: int
) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([*OPENED, end]))
    config = write_config(tmp_path, hung_centre, CAMERAS)
    with running(tmp_path, config, script, HANG=hang) as box:
        wait_until(box, tmp_path / "box.log", "camera kitchen-1: no_mask confirmed")
        wait_until(box, tmp_path / "box.log", "camera kitchen-2: no_mask confirmed")
        status, took_s = stop(box, signals=signals)
        assert (status, took_s < STOP_S_MAX) == (0, True), (took_s, (tmp_path / "box.log").read_text())
    signer = Signer.load(enrolled / "box.key")
    with Outbox.open(enrolled / "outbox.sqlite", "box-1", signer, boot_id=boot_id()) as outbox:
        assert outbox.status().lanes["events"].records == 2
        assert outbox.load_state("camera/kitchen-1") == {"camera/kitchen-1": '{"no_mask": "i1"}'}
    assert verify_outbox(enrolled / "outbox.sqlite", lambda _: signer.public_key).problems == []


def test_box_that_waits_for_a_dead_probe_stops_at_once(tmp_path: Path, enrolled: Path) -> None:
    del enrolled
    line = NoisyLine({})
    with serial_line(tmp_path, line) as (device, _):
        more = f"serial_ports: [{{id: p, device: {device}, timeout_s: 10}}]\n"
        more += "sensors: [{type: modbus, id: s, name: s, port: p, unit: 9, register: 0}]\n"
        config = write_config(tmp_path, "http://127.0.0.1:9", more)
        with running(tmp_path, config, tmp_path / "script.json") as box:
            wait_until(box, tmp_path / "box.log", "box box-1 runs")
            until_s = time.monotonic() + DEADLINE_S
            while not line.requests and time.monotonic() < until_s:
                with suppress(subprocess.TimeoutExpired):
                    box.wait(0.05)
            assert line.requests == [9]
            status, took_s = stop(box)
    assert (status, took_s < 5) == (0, True), took_s


def test_systemd_is_told_of_readiness_life_and_stop(tmp_path: Path, enrolled: Path) -> None:
    del enrolled
    config = write_config(tmp_path, "http://127.0.0.1:9", "")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(DEADLINE_S)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        with running(tmp_path, config, tmp_path / "script.json", **environment) as box:
            told = {systemd.recv(100) for _ in range(4)}
            assert told == {b"READY=1", b"WATCHDOG=1"}
            box.send_signal(signal.SIGTERM)
            while (message := systemd.recv(100)) == b"WATCHDOG=1":
                pass
            assert message == b"STOPPING=1"
            assert box.wait(DEADLINE_S) == 0
