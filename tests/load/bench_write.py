"""How fast the centre takes readings at its doors, beside InfluxDB's own /write with the same points; prints JSON.

    python -m tests.load.bench_write [POINTS]

``line_protocol``: the same bytes as InfluxDB gets, to `/api/v2/write`. ``box``: the same points in signed batches of
500, ten a request, which the centre verifies. ``process`` is the CPU of the server that takes the points. The centre
journals and signs them, and syncs its record before it answers; InfluxDB keeps a write-ahead log. One sender, one
request after the other.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx

from telemetry.messages import Reading
from tests.load.bench_series import cpu_s
from tests.series_servers import DATABASE, PASSWORD, USER, InfluxServer
from tests.server.centre import Box, Centre

POINTS, PER_REQUEST, PER_BATCH, SENSORS = 100_000, 5_000, 500, 40
START_MS = 1_767_225_600_000


def bodies(points: int) -> list[bytes]:
    """40 sensors, one point a second each."""
    lines = [
        f"temperature,sensor_id=cold-{number % SENSORS} value={-18 + number % 97 / 10:.1f} "
        f"{START_MS + number // SENSORS * 1000}"
        for number in range(points)
    ]
    return ["\n".join(lines[start : start + PER_REQUEST]).encode() for start in range(0, points, PER_REQUEST)]


def requests_of(box: Box, points: int) -> list[bytes]:
    """The same points as of `bodies`, as a box seals them."""
    readings = [
        Reading(
            sensor_id=f"cold-{number % SENSORS}", quantity="temperature", value=round(-18 + number % 97 / 10, 1),
            unit="°C", observed_at=datetime.fromtimestamp(START_MS / 1000 + number // SENSORS, UTC),
        )
        for number in range(points)
    ]  # fmt: skip
    batches = [box.seal("readings", readings[start : start + PER_BATCH]) for start in range(0, points, PER_BATCH)]
    each = PER_REQUEST // PER_BATCH
    return [b"".join(batches[start : start + each]) for start in range(0, len(batches), each)]


def measure(post: Callable[[bytes], httpx.Response], sent: list[bytes], points: int, pid: int) -> dict[str, float]:
    """Send everything; points per second of the clock and of the server's CPU."""
    began_s, cpu_before = time.perf_counter(), cpu_s(pid)
    for body in sent:
        answer = post(body)
        assert answer.is_success, answer.text
        assert 'rejected"' not in answer.text, answer.text
    wall, cpu = time.perf_counter() - began_s, cpu_s(pid) - cpu_before
    return {
        "wall_s": round(wall, 2), "process_cpu_s": round(cpu, 2), "points_per_s": round(points / wall),
        "points_per_cpu_s": round(points / cpu),
    }  # fmt: skip


def to_centre(folder: Path, sent: list[bytes], points: int) -> dict[str, dict[str, float]]:
    centre = Centre(folder / "data", cold=True)
    try:
        administrator = centre.person("administrator")
        centre.enrol_code("A")
        wanted = {"name": "bench", "permissions": ["readings.write"], "site_id": 1}
        secret = administrator.post("/api/v1/tokens", json=wanted, headers=administrator.csrf).json()["token"]
        with centre.client(authorization=f"Token {secret}") as client:
            write = lambda body: client.post("/api/v2/write?precision=ms", content=body)  # noqa: E731
            lines = measure(write, sent, points, centre.process.pid)
        box = centre.box("B")
        sealed = requests_of(box, points)
        with centre.client() as client:
            send = lambda body: client.post("/api/v1/batches", content=body)  # noqa: E731
            return {"line_protocol": lines, "box": measure(send, sealed, points, centre.process.pid)}
    finally:
        centre.stop()


def to_influxdb(folder: Path, sent: list[bytes], points: int) -> dict[str, float]:
    server = InfluxServer(folder / "influxdb")
    try:
        with httpx.Client(base_url=server.url, auth=(USER, PASSWORD), timeout=60, trust_env=False) as client:
            write = lambda body: client.post(f"/write?db={DATABASE}&precision=ms", content=body)  # noqa: E731
            return measure(write, sent, points, server.process.pid)
    finally:
        server.stop()


def main() -> None:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else POINTS
    sent = bodies(points)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {"centre": to_centre(folder, sent, points), "influxdb": to_influxdb(folder, sent, points)}
    print(json.dumps({"points": points, "per_request": PER_REQUEST, "load": os.getloadavg()[0], **found}, indent=2))


if __name__ == "__main__":
    main()
