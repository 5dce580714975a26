"""From a sensor's PUBLISH to the box's decision and to the centre's alert, event by event, idle and during a backfill.

The sensor crosses its limit (delay 0) and comes back, again and again. The decision is the box's log line, stamped in
the box after the judgement; the alert is the row in the centre's record, polled every 2 ms, so it is told late by that.
"""

from __future__ import annotations

import contextlib
import math
import re
import sqlite3
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firmware_sim.mqtt_session import MqttSession, publish_packet
from firmware_sim.numbered_publisher import payload_of, topic_of
from firmware_sim.programs import Programs
from tests.chaos.chain import Chain, running_chain
from tests.load.outage import fill_outbox

LIMIT = "limits:\n  - {sensor: s0, high_c: 8, delay_s: 0, hysteresis_c: 0.5}\n"
COLD_C, WARM_C = 4, 20
POLL_S = 0.002
ALERT_S_MAX = 30.0
DECISION = re.compile(r"^(\S+ \S+),(\d{3}) WARNING .* sensor s0: excursion_opened$", re.MULTILINE)


def percentiles_ms(values_s: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile (nearest rank) and maximum in ms."""
    ordered = sorted(values_s)
    rank = math.ceil(0.99 * len(ordered)) - 1
    named = {"p50": statistics.median(ordered), "p99": ordered[rank], "max": ordered[-1]}
    return {name: round(value * 1000, 1) for name, value in named.items()} | {"events": len(ordered)}


def measure_latency(folder: Path, events: int, *, backlog_readings: int = 0) -> dict[str, Any]:
    """*events* excursions, with *backlog_readings* waiting in the outbox when they begin."""
    with running_chain(folder, sensors=2, timed=True, more=LIMIT, programs=Programs) as chain:
        if backlog_readings:
            chain.programs.end("box")
            fill_outbox(chain, backlog_readings)
            chain.start_box()
            chain.wait_for_subscription()  # else the first event measures how fast a box starts
        published_s, alerted_s, backlog_lasted = run_events(chain, events, until_drained=bool(backlog_readings))
        decided_s = [value for value in decisions_s(chain) if value >= published_s[0]][: len(published_s)]
        report: dict[str, Any] = {
            "sensor_to_decision_ms": percentiles_ms([b - a for a, b in zip(published_s, decided_s, strict=True)]),
            "sensor_to_alert_ms": percentiles_ms([b - a for a, b in zip(published_s, alerted_s, strict=True)]),
        }
        if backlog_readings:
            report |= {"backlog_readings": backlog_readings, "events_before_it_had_drained": backlog_lasted}
        return report


def run_events(chain: Chain, events: int, *, until_drained: bool) -> tuple[list[float], list[float], int]:
    """Unix times of publishing and of the alert, for each event; how many came while a backlog waited."""
    published_s: list[float] = []
    alerted_s: list[float] = []
    during = 0
    with contextlib.closing(MqttSession(chain.broker.port, "latency")) as sensor, alert_counter(chain) as alerts:
        publish(sensor, COLD_C)
        for _ in range(events):
            waiting = until_drained and chain.outbox_pending() > 1000
            before = alerts()
            published_s.append(publish(sensor, WARM_C))
            while alerts() == before:
                if time.time() - published_s[-1] > ALERT_S_MAX:
                    raise RuntimeError(f"no alert within {ALERT_S_MAX:.0f} s")
                time.sleep(POLL_S)
            alerted_s.append(time.time())
            during += waiting
            publish(sensor, COLD_C)
            time.sleep(0.05)
    return published_s, alerted_s, during


def publish(sensor: MqttSession, value_c: int) -> float:
    """Publish and wait for the PUBACK; gives the Unix time just before."""
    at_s = time.time()
    sensor.send([publish_packet(topic_of(0).encode(), payload_of(value_c, int(at_s * 1000)), 1)])
    while not sensor.acknowledged(1.0):
        pass
    return at_s


@contextlib.contextmanager
def alert_counter(chain: Chain) -> Iterator[Any]:
    """A function that counts the alerts in the centre's record, over one connection."""
    uri = f"file:{chain.data / 'record.sqlite'}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=20, isolation_level=None)) as db:
        yield lambda: int(db.execute("SELECT count(*) FROM alert").fetchone()[0])


def decisions_s(chain: Chain) -> list[float]:
    """Unix times at which the box said that an excursion opened; its log is in local time."""
    text = (chain.folder / "box.log").read_text("utf-8")
    return [
        datetime.strptime(day_time, "%Y-%m-%d %H:%M:%S").astimezone(UTC).timestamp() + int(ms) / 1000
        for day_time, ms in DECISION.findall(text)
    ]
