"""The demo: server, box, probes and camera as separate processes on this machine, exactly as they run in the field.

It only starts programs, waits, and asks the server over HTTP what arrived; nothing is staged. Every process it
starts is ended by it, whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

START_S = 60.0
END_S = 20.0
SITE = "阳光小学 食堂"
CONFIG = """\
box: {{name: demo-box, data_dir: box, time_zone: Asia/Shanghai}}
server: {{url: "{url}"}}
serial_ports:
  - {{id: rs485, device: {device}, baud: 9600, timeout_s: 0.5}}
sensors:
  - {{type: modbus, id: cold-room-air, name: 冷藏库 空气, place: 冷藏库 1, port: rs485, unit: 1, register: 0,
     scale: 0.1, poll_interval_s: 1, plausible: {{min: -45, max: 60}}}}
  - {{type: modbus, id: cold-room-core, name: 冷藏库 中心, place: 冷藏库 1, port: rs485, unit: 2, register: 0,
     scale: 0.1, poll_interval_s: 1, plausible: {{min: -45, max: 60}}}}
limits:
  - {{sensor: cold-room-air, high_c: 8, low_c: 0, delay_s: 10, hysteresis_c: 0.5}}
cameras:
  - {{id: kitchen-1, name: 备餐间 1, place: 备餐间, source: {{env: BRIGHTLINE_DEMO_CAMERA}}, dwell_s: 4, recover_s: 8}}
"""


class DemoError(Exception):
    """A link of the chain did not come up; the message says which and where its log is."""


class Programs:
    """The processes of the demo, ended in reverse order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[str]] = {}

    def run(self, name: str, *command: str, text: str = "") -> str:
        """Run a program to its end; gives what it printed. Raises DemoError."""
        done = subprocess.run(_python(*command), input=text, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise DemoError(
                f"{name} failed with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout.strip()

    def start(self, name: str, *command: str, announces: bool = True, **environment: str) -> dict[str, str]:
        """Start a program and, if it announces itself with a JSON line, wait for that line. Raises DemoError."""
        log = (self._folder / f"{name}.log").open("w")
        with log:
            process = subprocess.Popen(
                _python(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if announces else log, stderr=log,
                text=True, env={**os.environ, **environment}, start_new_session=True,
            )  # fmt: skip
        self._running[name] = process
        if not announces:
            return {}
        assert process.stdout is not None
        line = _first_line(process.stdout, START_S)
        if not line:
            raise DemoError(f"{name} did not start; its log is {self._folder / name}.log")
        answer: dict[str, str] = json.loads(line)
        return answer

    def dead(self) -> list[str]:
        """The programs that ended though nobody asked them to."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def end(self, name: str) -> None:
        """SIGTERM, then SIGKILL to its whole group."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"{name} did not end in {END_S:.0f} s and was killed\n")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def end_all(self) -> None:
        for name in reversed(list(self._running)):
            self.end(name)


def _python(*command: str) -> list[str]:
    return [sys.executable, "-m", *command]


def _first_line(stream: IO[str], timeout_s: float) -> str:
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(timeout_s)
    return lines[0] if lines else ""


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run_demo(folder: Path, duration_s: float | None, camera: str | None, stop: threading.Event) -> int:
    """Run the demo until *stop*, or for *duration_s*; gives the exit status (1: a link of the chain failed)."""
    folder = folder.resolve()
    if folder.exists():
        if not (folder / "brightline-demo").exists():
            raise ValueError(f"{folder} exists and is no demo's folder; give another one with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    (folder / "brightline-demo").touch()
    programs = Programs(folder)
    started_s = time.monotonic()
    try:
        passwords, url = _start(folder, camera, programs)
        _tell(folder, url, passwords)
        while not stop.wait(1) and (duration_s is None or time.monotonic() - started_s < duration_s):
            if dead := programs.dead():
                raise DemoError(f"{dead[0]} ended by itself; its log is {folder / dead[0]}.log")
        _say("stopping ...")
        programs.end("box")
        summary = _summary(folder, programs, require_camera=camera is None)
    except DemoError as error:
        _say(f"demo: {error}")
        return 1
    finally:
        programs.end_all()
    if duration_s is None:
        return 0
    sys.stdout.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return 0 if summary["ok"] else 1


def _start(folder: Path, camera: str | None, programs: Programs) -> tuple[dict[str, str], str]:
    data = str(folder / "centre")
    passwords = {"staff": secrets.token_urlsafe(9), "regulator": secrets.token_urlsafe(9)}
    _say("  starting the centre ...")
    people = (("staff", "王师傅", ("--site", SITE)), ("regulator", "李监管", ()))
    for role, name, more in people:
        account = ("user", "add", role, "--name", name, "--role", role, "--data", data, *more)
        programs.run(f"{role} account", "server.cli", *account, text=passwords[role] + "\n")
    code = programs.run("enrolment", "server.cli", "enrol", "--site", SITE, "--data", data)
    url = programs.start(
        "centre", "server.cli", "serve", "--data", data, "--port", "0", "--insecure-cookies", "--demo-broker", "0"
    )["url"]
    _say("  starting the probes and the camera ...")
    device = folder / "ttyProbes"
    programs.start("probes", "firmware_sim.cli", "probes", "--link", str(device))
    source = _own_camera(camera) if camera else programs.start("camera", "firmware_sim.cli", "camera")["source"]
    _say("  enrolling and starting the box ...")
    config = folder / "box.yaml"
    config.write_text(CONFIG.format(url=url, device=device), "utf-8")
    os.environ["BRIGHTLINE_DEMO_CAMERA"] = source
    programs.run("box enrolment", "edge.cli", "enrol", str(config), "--code", code)
    programs.start("box", "edge.cli", "run", str(config), announces=False)
    return passwords, url


def _own_camera(camera: str) -> str:
    if "://" in camera or camera.startswith("/dev/"):
        return camera
    path = Path(camera).expanduser().resolve()
    if not path.is_file():
        raise DemoError(f"there is no video file {path}; give rtsp://…, http://…, a file or /dev/video0")
    return str(path)


def _tell(folder: Path, url: str, passwords: dict[str, str]) -> None:
    _say(f"""
Brightline runs:  {url}
  school staff    user staff       password {passwords["staff"]}
  regulator       user regulator   password {passwords["regulator"]}
  API             {url}/api/docs

Within two minutes the cold room warms up and a cook takes the mask off. Try this:
  1. Log in as staff, open an alert, tap "我知道了", then send a photo with "提交整改".
  2. Log in as regulator in a private window, look at the photo, tap "通过，关闭预警".
Logs and data: {folder}    End with Ctrl-C.
""")


def _summary(folder: Path, programs: Programs, *, require_camera: bool) -> dict[str, object]:
    status = json.loads(
        programs.run("outbox status", "edge.cli", "outbox", "status", "--json", str(folder / "box.yaml"))
    )
    programs.end("centre")
    found = json.loads(programs.run("verify", "server.cli", "verify", "--json", "--data", str(folder / "centre")))
    sent = status["lanes"]["readings"]["records"]
    kinds = found["alerts_by_kind"]
    checks = {
        "readings_stored_equal_sent": sent == found["readings"] == found["points"] and sent > 0,
        "excursion_alert": kinds.get("temperature_excursion", 0) >= 1,
        "no_mask_alert": kinds.get("no_mask", 0) >= 1 or not require_camera,
        "evidence_verified": (found["pictures"] >= 2 or not require_camera) and not found["problems"],
        "nothing_missing": not found["gaps"],
    }
    return {
        "readings_sent": sent,
        "readings_stored": found["points"],
        "events": found["events"],
        "alerts_raised": kinds,
        "evidence_verified": found["pictures"],
        "problems": found["problems"],
        "checks": checks,
        "ok": all(checks.values()),
    }
