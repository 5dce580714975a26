"""The demo: server, box, probes and camera as separate processes on this machine, exactly as they run in the field.

It only starts programs, waits, and asks the centre over HTTP what arrived; nothing is staged.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

from firmware_sim.programs import ProgramError, Programs

SITE = "阳光小学 食堂"
CONFIG = """\
box: {{name: demo-box, data_dir: box, time_zone: Asia/Shanghai}}
server: {{url: "{url}"}}
serial_ports:
  - {{id: rs485, device: {device}, baud: 9600, timeout_s: 0.5}}
brokers:
  - {{id: demo, host: 127.0.0.1, port: {broker_port}, protocol: "3.1.1", client_id: demo-box}}
sensors:
  - {{type: modbus, id: cold-room-air, name: 冷藏库 空气, place: 冷藏库 1, port: rs485, unit: 1, register: 0,
     scale: 0.1, poll_interval_s: 1, plausible: {{min: -45, max: 60}}}}
  - {{type: modbus, id: cold-room-core, name: 冷藏库 中心, place: 冷藏库 1, port: rs485, unit: 2, register: 0,
     scale: 0.1, poll_interval_s: 1, plausible: {{min: -45, max: 60}}}}
  - {{type: mqtt, id: fridge, name: 冰箱 留样柜, place: 备餐间, broker: demo, decoder: zigbee2mqtt,
     topic: zigbee2mqtt/fridge, field: temperature, silence_s: 60, plausible: {{min: -45, max: 60}}}}
limits:
  - {{sensor: cold-room-air, high_c: 8, low_c: 0, delay_s: 10, hysteresis_c: 0.5}}
cameras:
  - {{id: kitchen-1, name: 备餐间 1, place: 备餐间, source: {{env: BRIGHTLINE_DEMO_CAMERA}}, dwell_s: 4, recover_s: 8}}
"""


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run_demo(folder: Path, duration_s: float | None, camera: str | None, stop: threading.Event) -> int:
    """Run the demo until *stop*, or for *duration_s* from when all runs; the exit status (1: a link failed)."""
    folder = folder.resolve()
    if folder.exists():
        if not (folder / "brightline-demo").exists():
            raise ValueError(f"{folder} exists and is no demo's folder; give another one with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    (folder / "brightline-demo").touch()
    programs = Programs(folder)
    try:
        passwords, url = _start(folder, camera, programs)
        ends_s = None if duration_s is None else time.monotonic() + duration_s
        _tell(folder, url, passwords)
        _watch(folder, programs, Onlooker(url, passwords["regulator"]), stop, ends_s)
        _say("stopping ...")
        programs.end("box")
        if duration_s is None:  # nobody asked for a summary, and the box may not have made its outbox yet
            return 0
        summary = _summary(folder, programs, require_camera=camera is None)
    except ProgramError as error:
        _say(f"demo: {error}")
        return 1
    finally:
        programs.end_all()
    sys.stdout.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    if failed := [name for name, holds in summary["checks"].items() if not holds]:
        _say(f"demo: not so after {duration_s:.0f} s: {', '.join(failed)}. The first alerts take about two minutes.")
    return 1 if failed else 0


def _watch(folder: Path, programs: Programs, onlooker: Onlooker, stop: threading.Event, ends_s: float | None) -> None:
    """Say what arrives at the centre until it is time to stop."""
    while not stop.wait(1) and (ends_s is None or time.monotonic() < ends_s):
        if dead := programs.dead():
            raise ProgramError(f"{dead[0]} ended by itself; its log is {folder / dead[0]}.log")
        for line in onlooker.news():
            _say(line)


class Onlooker:
    """A regulator's program at the centre's API: tells each new alert and each change of one, once."""

    def __init__(self, url: str, password: str) -> None:
        self._url = url
        self._opener = build_opener(HTTPCookieProcessor())
        form = urlencode({"username": "regulator", "password": password}).encode()
        self._opener.open(f"{url}/api/v1/login", form, timeout=10).close()
        self._seen: dict[int, tuple[str, bool]] = {}

    def news(self) -> list[str]:
        """One line for each alert that changed since the last call."""
        with self._opener.open(f"{self._url}/api/v1/alerts?limit=50", timeout=10) as answer:
            alerts = json.load(answer)["alerts"]
        lines = []
        for alert in reversed(alerts):
            now = (alert["state"], alert["ended_at"] is not None)
            if self._seen.get(alert["id"]) != now:
                self._seen[alert["id"]] = now
                over = ", over again" if now[1] else ""
                lines.append(
                    f"  alert: {alert['kind'].replace('_', ' ')} ({now[0]}{over})  {self._url}/alerts/{alert['id']}"
                )
        return lines


def add_people(programs: Programs, data: Path) -> dict[str, str]:
    """Make one account of staff and one regulator; gives their passwords."""
    passwords = {"staff": secrets.token_urlsafe(9), "regulator": secrets.token_urlsafe(9)}
    people = (("staff", "王师傅", ("--site", SITE)), ("regulator", "李监管", ()))
    for role, name, more in people:
        account = ("user", "add", role, "--name", name, "--role", role, "--data", str(data), *more)
        programs.run(f"{role} account", "server.cli", *account, text=passwords[role] + "\n")
    return passwords


def start_centre(programs: Programs, data: Path, port: int = 0, broker_port: int = 0) -> str:
    """Serve the record in *data* on loopback, and the demo's broker beside it; gives the address."""
    options = ("--data", str(data), "--port", str(port), "--insecure-cookies", "--demo-broker", str(broker_port))
    return programs.start("centre", "server.cli", "serve", *options)["url"]


def enrol_box(programs: Programs, data: Path, config: Path) -> None:
    """Make the box of *config* known at the running centre."""
    code = programs.run("enrolment", "server.cli", "enrol", "--site", SITE, "--data", str(data))
    programs.run("box enrolment", "edge.cli", "enrol", str(config), "--code", code)


def start_box(programs: Programs, config: Path, camera: str) -> None:
    programs.start("box", "edge.cli", "run", str(config), announces=False, BRIGHTLINE_DEMO_CAMERA=camera)


def _start(folder: Path, camera: str | None, programs: Programs) -> tuple[dict[str, str], str]:
    data, device, config = folder / "centre", folder / "ttyProbes", folder / "box.yaml"
    broker_port = free_port()
    _say("  starting the centre ...")
    passwords = add_people(programs, data)
    url = start_centre(programs, data, broker_port=broker_port)
    _say("  starting the probes and the camera ...")
    programs.start("probes", "firmware_sim.cli", "probes", "--link", str(device))
    fridge = ("mqtt", "--port", str(broker_port), "--name", "fridge", "--scenario", "steady")
    programs.start("fridge", "firmware_sim.cli", *fridge, announces=False)  # nobody has to wait for it
    source = _own_camera(camera) if camera else programs.start("camera", "firmware_sim.cli", "camera")["source"]
    _say("  enrolling and starting the box ...")
    config.write_text(CONFIG.format(url=url, device=device, broker_port=broker_port), "utf-8")
    os.environ["BRIGHTLINE_DEMO_CAMERA"] = source
    enrol_box(programs, data, config)
    start_box(programs, config, source)
    return passwords, url


def free_port() -> int:
    """A loopback port that nobody has now: the centre does not tell which one its broker took."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _own_camera(camera: str) -> str:
    if "://" in camera or camera.startswith("/dev/"):
        return camera
    path = Path(camera).expanduser().resolve()
    if not path.is_file():
        raise ProgramError(f"there is no video file {path}; give rtsp://…, http://…, a file or /dev/video0")
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


def _summary(folder: Path, programs: Programs, *, require_camera: bool) -> dict[str, Any]:
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
