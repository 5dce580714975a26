"""The box after an outage, as a process of its own: drains its backlog, goes on measuring, and says how it went.

Run as ``python -m tests.load.drain FOLDER BOX_ID URL``; one JSON line on standard output at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from edge.recorder import Recorder
from telemetry.forwarder import Forwarder
from telemetry.messages import Event, Reading, Receipt
from telemetry.outbox import Outbox
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool

LIVE_PER_S = 20  # 200 sensors every 10 s
SENSORS = 200
LIVE_S_MIN = 5.0


class TimedOutbox(Outbox):
    """Notes how long after its commit each live record was receipted."""

    def begin_live(self) -> None:
        self.backlog = {lane: item.last_seq for lane, item in self.status().lanes.items()}
        self.committed: dict[str, deque[float]] = {"readings": deque(), "events": deque()}
        self.lags_s: dict[str, list[float]] = {"readings": [], "events": []}

    def settle(self, receipts: Iterable[Receipt]) -> None:
        receipts = list(receipts)
        counts = self._counts(receipts)
        super().settle(receipts)
        now_s = time.monotonic()
        for receipt in receipts:
            if receipt.seq > self.backlog[receipt.lane]:
                lane = self.committed[receipt.lane]
                self.lags_s[receipt.lane] += [now_s - lane.popleft() for _ in range(counts[receipt.lane, receipt.seq])]

    def _counts(self, receipts: list[Receipt]) -> dict[tuple[str, int], int]:
        with self._lock:
            query = "SELECT count FROM batch WHERE lane = ? AND seq = ?"
            return {
                (item.lane, item.seq): self._store.db.execute(query, (item.lane, item.seq)).fetchone()[0]
                for item in receipts
            }


def rss_peak_mb() -> float:
    """VmHWM; getrusage would count the parent as it was at the fork."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


async def measure(recorder: Recorder, outbox: TimedOutbox, stop: asyncio.Event) -> None:
    """Live readings and an event now and then, until told to stop."""
    number = 0
    while not stop.is_set():
        at = datetime.now(UTC)
        readings = [
            Reading(sensor_id=f"live-{number + index}", quantity="temperature", value=4.2, unit="°C", observed_at=at)
            for index in range(LIVE_PER_S // 5)
        ]
        name = f"live-{number}-{time.monotonic_ns()}"
        events = [
            Event(event_id=name, incident_id=name, type="box_status", severity="info", source_id="box", at=at)
        ] if number % 40 == 0 else []  # fmt: skip
        now_s = time.monotonic()
        outbox.committed["readings"].extend([now_s] * len(readings))
        outbox.committed["events"].extend([now_s] * len(events))
        await recorder.record(readings, events)
        number += len(readings)
        await asyncio.sleep(0.2)


async def drain(outbox: TimedOutbox, folder: Path, url: str) -> dict[str, float]:
    outbox.begin_live()
    backlog = outbox.status().lanes["readings"].pending_records
    forwarder = Forwarder(outbox, EvidenceSpool(folder / "spool"), url)
    recorder = Recorder(outbox, forwarder.wake_for_records)
    stop = asyncio.Event()
    started_s, cpu_s = time.monotonic(), time.process_time()
    tasks = [asyncio.create_task(forwarder.run()), asyncio.create_task(recorder.run())]
    live = asyncio.create_task(measure(recorder, outbox, stop))
    while outbox.status().lanes["readings"].delivered < backlog or time.monotonic() - started_s < LIVE_S_MIN:
        await asyncio.sleep(0.5)
        for task in (*tasks, live):
            if task.done():
                task.result()
    took_s, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
    stop.set()
    await live
    while any(item.pending_batches for item in outbox.status().lanes.values()):
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    recorder.close()
    events = sorted(outbox.lags_s["events"])
    return {
        "backlog": backlog,
        "drain_s": round(took_s, 1),
        "readings_per_s": round(backlog / took_s),
        "box_cpu_s": round(cpu_s, 1),
        "live_readings": len(outbox.lags_s["readings"]),
        "live_lag_s_p99": round(sorted(outbox.lags_s["readings"])[int(len(outbox.lags_s["readings"]) * 0.99)], 3),
        "live_lag_s_max": round(max(outbox.lags_s["readings"]), 3),
        "events": len(events),
        "event_lag_s_p99": round(events[int(len(events) * 0.99)], 3),
        "event_lag_s_max": round(events[-1], 3),
        "rss_mb_peak": round(rss_peak_mb(), 1),
    }


def main() -> None:
    folder, box_id, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    signer = Signer.load(folder / "box.key")
    with TimedOutbox.open(folder / "outbox.sqlite", box_id, signer, boot_id="boot") as outbox:
        assert isinstance(outbox, TimedOutbox)
        figures = asyncio.run(drain(outbox, folder, url))
        figures["delivered"] = outbox.status().lanes["readings"].delivered
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
