"""A centre that was away for three days comes back: how long the box needs, and what live readings see of it.

The readings of the outage are committed to the box's own outbox by its own code, 200 sensors every 10 s, while the box
is off; then the real box drains them into the real centre while live sensors go on.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.config import load
from edge.enrolment import load_identity
from firmware_sim.numbered_publisher import NumberedPublisher
from firmware_sim.programs import Programs
from telemetry.messages import Reading
from telemetry.outbox import Outbox
from tests.chaos.chain import Chain, running_chain
from tests.load.processes import cpu_s, memory_mb

SENSORS, INTERVAL_S = 200, 10
LIVE_SENSORS, LIVE_PER_S = 8, 40
SAMPLE_S = 0.25
NEWEST = "SELECT max(observed_at_ms) FROM series_point WHERE sensor_id = 's0' AND quantity = 'temperature'"
POINTS = "SELECT count(*) FROM series_point WHERE sensor_id LIKE 'h%'"
PATIENCE_S = 3600.0
HISTORY = "SELECT coalesce(sum(count), 0) FROM batch WHERE lane = 'readings'"


def history(readings: int) -> Iterator[list[Reading]]:
    """Rounds of 200 readings, 10 s apart, the last one a minute ago; each sensor wanders, so that they do not compress
    better than real ones."""
    chance = random.Random(72)
    values = [chance.uniform(-25, 8) for _ in range(SENSORS)]
    rounds = readings // SENSORS
    start = datetime.now(UTC) - timedelta(seconds=60 + rounds * INTERVAL_S)
    for number in range(rounds):
        at = start + timedelta(seconds=number * INTERVAL_S)
        values = [value + chance.gauss(0, 0.1) for value in values]
        yield [
            Reading(
                sensor_id=f"h{sensor}",
                quantity="temperature",
                value=round(values[sensor], 2),
                unit="°C",
                observed_at=at,
            )
            for sensor in range(SENSORS)
        ]


def fill_outbox(chain: Chain, readings: int) -> None:
    """Commit an outage's readings to the outbox of the chain's box, which must not run."""
    config = load(chain.config)
    identity, signer = load_identity(config)
    with Outbox.open(
        config.box.data_dir / "outbox.sqlite", identity.box_id, signer, boot_id="bench", readings_bytes_max=2**33
    ) as box:
        for group in history(readings):
            box.commit(group, [])


def measure_outage(folder: Path, hours: float) -> dict[str, Any]:
    """Drain *hours* of outage: time, live lag (sampled four times a second), highest RSS of the box, nothing lost."""
    readings = round(hours * 3600 / INTERVAL_S) * SENSORS
    with running_chain(folder, sensors=LIVE_SENSORS, timed=True, programs=Programs) as chain:
        chain.programs.end("box")
        fill_outbox(chain, readings)
        file_mb = sum(part.stat().st_size for part in (folder / "box").glob("outbox.sqlite*")) / 2**20
        before = int(str(chain.rows(HISTORY)[0][0]))
        publisher = NumberedPublisher(chain.broker.port, sensors=LIVE_SENSORS, timed=True, rate_per_s=LIVE_PER_S)
        thread = threading.Thread(target=publisher.run)
        thread.start()
        try:
            chain.start_box()
            lags_s, took_s, used = watch_drain(chain, before + readings, readings)
        finally:
            publisher.stop()
            thread.join(30)
        points = int(str(chain.rows(POINTS)[0][0]))
        return {
            "hours": hours,
            "readings": readings,
            "outbox_file_mb": round(file_mb),
            "drained_in_s": round(took_s, 1),
            "readings_per_s": round(readings / took_s),
            "live_lag_s_max": round(max(lags_s), 2),
            "live_lag_s_p99": round(sorted(lags_s)[int(0.99 * (len(lags_s) - 1))], 2),
            "lost": readings - points,
            **used,
        }


def watch_drain(chain: Chain, goal: int, readings: int) -> tuple[list[float], float, dict[str, Any]]:
    """Live lags in s, the time from the box's first live reading to the end of the backlog, what the box used."""
    start_s = time.monotonic()
    while newest_age_s(chain) is None or (newest_age_s(chain) or 0) > 2.0:
        if time.monotonic() - start_s > 120:
            raise RuntimeError("no live reading arrives")
        time.sleep(SAMPLE_S)
    box = chain.pid("box")
    rss_mb, lags_s = 0.0, []
    while True:
        age_s = newest_age_s(chain)
        lags_s.append(999.0 if age_s is None else age_s)
        rss_mb = max(rss_mb, memory_mb(box))
        drained = int(str(chain.rows(HISTORY)[0][0])) >= goal and int(str(chain.rows(POINTS)[0][0])) >= readings
        if drained or time.monotonic() - start_s > PATIENCE_S:
            used = {"box_rss_mb_max": round(max(rss_mb, memory_mb(box, "VmHWM")), 1), "box_cpu_s": cpu_s(box)}
            return lags_s, time.monotonic() - start_s, used | {"centre_cpu_s": cpu_s(chain.pid("centre"))}
        time.sleep(SAMPLE_S)


def newest_age_s(chain: Chain) -> float | None:
    """How old the newest stored value of a live sensor is."""
    newest = chain.rows(NEWEST)[0][0]
    return None if newest is None else time.time() - int(str(newest)) / 1000
