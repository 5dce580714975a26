"""Many boxes at one centre: how long from an event's sending to the regulator's open page, while all send readings.

Every box has a connection of its own and sends a batch each period, at its own moment; events come from boxes by
chance, evenly over the time. The page is the event stream of `/api/v1/stream`, read as a browser does. Centre and load
have a core each, where there are two; ``load_share_of_a_core`` near 1 would mean that the load was what was measured.
An event's time begins before it is sealed and ends when its line is read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from server.accounts import ensure_site, make_enrolment_code  # noqa: E402 - run as a file, ours are found only now
from server.ingest import enrol_box  # noqa: E402
from telemetry.batch import Record  # noqa: E402
from telemetry.messages import Lane, Reading  # noqa: E402
from telemetry.signing import Signer  # noqa: E402
from tests.load.latency import percentiles_ms  # noqa: E402
from tests.load.processes import cores, cpu_s, memory_mb, pinned  # noqa: E402
from tests.server.centre import Box, Centre, Person  # noqa: E402
from tests.waiting import wait_for  # noqa: E402

READINGS_PER_BATCH = 10
BOXES_PER_SITE = 4
BOXES_PER_ENROLMENT = 50
SEND_S_MAX = 30.0


class Line:
    """A connection that stays open, with as much of HTTP/1.1 as the centre's answers to a box have.

    A whole client costs ten times as much, more than the centre needs for the same batch.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer = reader, writer
        self._head = f"POST /api/v1/batches HTTP/1.1\r\nhost: {host}\r\ncontent-length: "

    @classmethod
    async def open(cls, url: str) -> Line:
        parts = urlsplit(url)
        assert parts.scheme == "http", url
        return cls(*await asyncio.open_connection(parts.hostname, parts.port), parts.netloc)

    async def post(self, body: bytes) -> Any:
        """The JSON of the answer, which is a 200; raises AssertionError for any other."""
        async with asyncio.timeout(SEND_S_MAX):
            self._writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
            await self._writer.drain()
            status, *fields = (await self._reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            answer = await self._reader.readexactly(int(headers["content-length"]))
        assert status.startswith("HTTP/1.1 200 "), (status, answer)
        return json.loads(answer)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class QuickBox(Box):
    """Enrolled beside the door, a thousand at once; sends through the door."""

    def __init__(self, centre: Centre, box_id: str, signer: Signer, line: Line) -> None:
        self.centre, self.box_id, self.signer, self.line = centre, box_id, signer, line
        self.epoch = f"{random.getrandbits(128):032x}"
        self._last = {}
        self._sending = asyncio.Lock()  # one request at a time on a connection

    async def post(self, lane: Lane, records: Sequence[Record]) -> None:
        async with self._sending:
            answer = await self.line.post(self.seal(lane, records))
        statuses = [receipt["status"] for receipt in answer["receipts"]]
        assert statuses == ["accepted"], statuses

    async def send_readings(self) -> None:
        now = datetime.now(UTC)
        readings = [
            Reading(
                sensor_id=f"cold-{number}",
                quantity="temperature",
                value=4.0,
                unit="°C",
                observed_at=now,
                quality="good",
            )
            for number in range(READINGS_PER_BATCH)
        ]
        await self.post("readings", readings)


class Watcher:
    """A regulator's open page: when the first word of each alert came, by the alert's number."""

    def __init__(self, person: Person) -> None:
        self.seen_s: dict[int, float] = {}
        self.ready = threading.Event()
        self._person = person
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        with self._person.stream("GET", "/api/v1/stream", timeout=None) as answer:
            for line in answer.iter_lines():
                self.ready.set()
                if line.startswith("data: "):
                    self.seen_s.setdefault(json.loads(line.removeprefix("data: "))["id"], time.perf_counter())

    def join(self) -> None:
        """After the centre has stopped."""
        self._thread.join(SEND_S_MAX)


def enrol(centre: Centre, count: int) -> list[tuple[str, Signer]]:
    """By few at a time: the centre is at work on the same record."""
    found: list[tuple[str, Signer]] = []
    while len(found) < count:
        with centre.changing() as db:
            for number in range(len(found), min(count, len(found) + BOXES_PER_ENROLMENT)):
                signer = Signer.generate()
                code = make_enrolment_code(db, ensure_site(db, f"Canteen {number // BOXES_PER_SITE}"))
                found.append((enrol_box(db, code, signer.public_key_b64, f"box {number}").id, signer))
    return found


async def run_boxes(
    centre: Centre, enrolled: list[tuple[str, Signer]], period_s: float, events: int, duration_s: float
) -> tuple[dict[str, float], int]:
    """Incident → when its event began to be sent; how many batches of readings were accepted."""
    dice = random.Random(7)
    began_s: dict[str, float] = {}
    batches = 0
    lines = [await Line.open(centre.url) for _ in enrolled]
    boxes = [QuickBox(centre, *who, line) for who, line in zip(enrolled, lines, strict=True)]
    loop = asyncio.get_running_loop()
    end_s = loop.time() + duration_s

    async def live(box: QuickBox) -> None:
        nonlocal batches
        await asyncio.sleep(dice.uniform(0, period_s))  # load: a box's own moment
        while loop.time() < end_s:
            next_s = loop.time() + period_s
            await box.send_readings()
            batches += 1
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def alarm(number: int) -> None:
        await asyncio.sleep((number + dice.random()) * duration_s / events)
        box = dice.choice(boxes)
        began = time.perf_counter()
        event = box.event(at=datetime.now(UTC))
        began_s[event.incident_id] = began
        await box.post("events", [event])

    try:
        await asyncio.gather(*(live(box) for box in boxes), *(alarm(number) for number in range(events)))
    finally:
        await asyncio.gather(*(line.close() for line in lines))
    return began_s, batches


@contextmanager
def serving(folder: Path) -> Iterator[Centre]:
    work, _ = cores()
    with pinned([work]):
        centre = Centre(folder / "data", cold=True)
    try:
        yield centre
    finally:
        assert centre.stop() == 0


def measure_many_boxes(
    folder: Path, boxes: int = 1000, period_s: float = 10.0, events: int = 300, duration_s: float = 60.0
) -> dict[str, Any]:
    """Latencies in ms, with what the centre spent; raises AssertionError when anything was refused or not told."""
    _, other = cores()
    with serving(folder) as centre, pinned([other]):
        watcher = Watcher(centre.person("regulator"))
        assert watcher.ready.wait(SEND_S_MAX), "the stream does not flow"
        enrolled = enrol(centre, boxes)
        used_s, start_s, load_s = cpu_s(centre.process.pid), time.perf_counter(), time.process_time()
        began_s, batches = asyncio.run(run_boxes(centre, enrolled, period_s, events, duration_s))
        took_s = time.perf_counter() - start_s
        used_s, load_s = cpu_s(centre.process.pid) - used_s, time.process_time() - load_s
        load_average = os.getloadavg()[0]
        wait_for("every alert is told", lambda: len(watcher.seen_s) >= events)
        memory = memory_mb(centre.process.pid)
        with closing(sqlite3.connect(centre.data / "record.sqlite")) as db:
            incidents = dict(db.execute("SELECT id, incident_id FROM alert").fetchall())
    watcher.join()
    waited_s = [seen - began_s[incidents[alert_id]] for alert_id, seen in watcher.seen_s.items()]
    return {
        "boxes": boxes,
        "event_to_stream_ms": percentiles_ms(waited_s),
        "batches_per_s": round(batches / took_s, 1),
        "readings_per_s": round(batches * READINGS_PER_BATCH / took_s),
        "centre_share_of_a_core": round(used_s / took_s, 2),
        "load_share_of_a_core": round(load_s / took_s, 2),
        "load_average": round(load_average, 1),
        "centre_rss_mb": round(memory, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--period-s", type=float, default=10.0)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="brightline-boxes-") as name:
        found = measure_many_boxes(Path(name), args.boxes, args.period_s, args.events, args.seconds)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
