"""Sixteen Modbus slaves on one line, one of them dead: the others are read as often as ever, and its death is told."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from pathlib import Path

from firmware_sim.modbus_slave import Line, Slave
from firmware_sim.probes import serve_line
from tests.chaos.chain import running_chain
from tests.waiting import wait_for

UNITS = range(1, 17)
DEAD = 5
ROUNDS = 10
POLL_S = 1.0
SENSOR = (
    "  - {{type: modbus, id: u{unit}, name: unit {unit}, port: line, unit: {unit}, register: 0, poll_interval_s: 1}}\n"
)
PORT = "serial_ports: [{{id: line, device: {device}, baud: 115200, timeout_s: 0.3}}]\n"


def counting_slave() -> Slave:
    """Its register tells how often it was read: a sequence number."""
    count = itertools.count(1)
    return Slave(input_registers={0: lambda: next(count)})


def test_a_dead_slave_of_sixteen_delays_none_of_the_others(tmp_path: Path) -> None:
    device, stop, ready = tmp_path / "ttyLine", threading.Event(), threading.Event()
    line = Line({unit: counting_slave() for unit in UNITS if unit != DEAD})
    wire = threading.Thread(target=serve_line, args=(device, line, stop, ready.set))
    wire.start()
    try:
        assert ready.wait(10)
        more = "".join(SENSOR.format(unit=unit) for unit in UNITS) + PORT.format(device=device)
        with running_chain(tmp_path, sensors=1, more=more) as chain:
            query = "SELECT sensor_id, observed_at_ms, value FROM series_point WHERE sensor_id LIKE 'u%' ORDER BY 1, 2"

            def series() -> dict[str, list[tuple[float, int]]]:
                found: dict[str, list[tuple[float, int]]] = defaultdict(list)
                for sensor, at_ms, value in chain.rows(query):
                    if value is not None:
                        found[str(sensor)].append((int(str(at_ms)) / 1000, round(float(str(value)))))
                return found

            living = {f"u{unit}" for unit in UNITS if unit != DEAD}
            wait_for(
                "each living slave was read often",
                lambda: living == {name for name, values in series().items() if len(values) >= ROUNDS},
                ROUNDS * POLL_S * 5,
            )
            chain.programs.end("box")
            found = series()
            for name, values in found.items():
                numbers = [number for _, number in values]
                assert numbers == list(range(1, len(numbers) + 1)), f"{name}: a reading is missing or twice"
            took_s = max(values[ROUNDS - 1][0] - values[0][0] for values in found.values())
            assert took_s < (ROUNDS - 1) * POLL_S * 1.5, f"{ROUNDS} rounds took {took_s:.1f} s"
            assert [kind for (kind,) in chain.rows("SELECT kind FROM alert")] == ["sensor_fault"]
    finally:
        stop.set()
        wire.join()
