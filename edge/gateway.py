"""The box as a whole: drivers → rules → outbox → centre, each camera in its own process beside them.

Order at stop: producers first, then what they handed over is committed, then the forwarder gets a last bounded
chance, then the outbox closes. A reading, the events that it caused and the rule's new state are one commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from importlib import import_module

from edge.camera_process import CameraProcess
from edge.clock import ClockStep
from edge.config import EdgeConfig, ModbusSensor, SerialPort
from edge.drivers.port import Driver
from edge.enrolment import key_file, load_identity
from edge.recorder import Recorder
from edge.rules import ExcursionState, SensorHealth, ThresholdLimit, ThresholdRule
from edge.supervisor import supervise
from edge.timekeeping import Timekeeper
from edge.uplink import make_forwarder, open_outbox, start_clock
from telemetry.messages import Event, Reading
from telemetry.outbox import OutboxFull
from telemetry.spool import EvidenceSpool

logger = logging.getLogger(__name__)
DRIVERS = {"modbus": "edge.drivers.modbus:ModbusDriver"}
FLUSH_S = 5.0


class SensorDesk:
    """Judges one sensor's readings and keeps the state of its rules."""

    def __init__(self, sensor: ModbusSensor, limits: Sequence[ThresholdLimit], saved: dict[str, str]) -> None:
        self._sensor = sensor
        self._health = SensorHealth.model_validate_json(saved.get(self._health_key, "{}"))
        self._rules = {}
        self._unsynced: set[str] = {key for key in saved if key.startswith(f"unsynced/rule/{sensor.id}/")}
        for number, limit in enumerate(limits):
            key = f"rule/{sensor.id}/{number}"
            self._rules[key] = ThresholdRule(limit, ExcursionState.model_validate_json(saved.get(key, "{}")))

    @property
    def _health_key(self) -> str:
        return f"health/{self._sensor.id}"

    def judge(self, reading: Reading) -> tuple[list[Event], dict[str, str | None]]:
        """The events and the changed states that this reading gives rise to."""
        before = {self._health_key: self._health.model_dump_json()}
        before |= {key: rule.state.model_dump_json() for key, rule in self._rules.items()}
        since = {key: rule.state.since for key, rule in self._rules.items()}
        events = self._health.feed(reading, self._sensor.name, self._sensor.place)
        for rule in self._rules.values():
            events += rule.feed(reading)
        after: dict[str, str | None] = {self._health_key: self._health.model_dump_json()}
        after |= {key: rule.state.model_dump_json() for key, rule in self._rules.items()}
        changed = {key: value for key, value in after.items() if before[key] != value}
        begun = {key for key, rule in self._rules.items() if rule.state.since != since[key]}
        return events, changed | self._mark_unsynced(begun, synced=reading.clock_synced)

    def _mark_unsynced(self, begun: set[str], *, synced: bool) -> dict[str, str | None]:
        """Remember which timers began while the clock was wrong: only they move when it is put right."""
        marks: dict[str, str | None] = {}
        for key in begun:
            mark = f"unsynced/{key}"
            if not synced and self._rules[key].state.since is not None:
                self._unsynced.add(mark)
                marks[mark] = "1"
            elif mark in self._unsynced:
                self._unsynced.discard(mark)
                marks[mark] = None
        return marks

    def shift(self, step: ClockStep) -> dict[str, str | None]:
        """The clock was put right: move the timers that began by the wrong one, so that none jumps."""
        changed: dict[str, str | None] = {}
        for key, rule in self._rules.items():
            mark = f"unsynced/{key}"
            if rule.state.since is not None and (mark in self._unsynced or not step.first):
                rule.state.since += timedelta(seconds=step.offset_s)
                changed |= {key: rule.state.model_dump_json(), mark: None}
            self._unsynced.discard(mark)
        return changed


class Gateway:
    """`run()` until cancelled; raises ConfigurationError when the box cannot start as configured."""

    def __init__(self, config: EdgeConfig) -> None:
        identity, signer = load_identity(config)
        self._config = config
        data_dir = config.box.data_dir
        self._outbox = open_outbox(config, identity.box_id, signer)
        self._clock = start_clock(self._outbox)
        self._spool = EvidenceSpool(data_dir / "spool")
        self._forwarder = make_forwarder(config, self._outbox, self._spool)
        self._recorder = Recorder(
            self._outbox, self._forwarder.wake, delay_s=config.uplink.commit_delay_s, synced=self._clock.synced
        )
        self._box_id = identity.box_id
        saved = self._outbox.load_state("")
        self._desks = {sensor.id: SensorDesk(sensor, self._limits(sensor), saved) for sensor in config.sensors}
        self._cameras = [
            CameraProcess(
                camera,
                box_id=identity.box_id,
                key_file=key_file(data_dir),
                spool_dir=data_dir / "spool",
                saved=saved.get(f"camera/{camera.id}"),
                record=self._record_events,
                wake=self._forwarder.wake,
            )
            for camera in config.cameras
        ]

    def _limits(self, sensor: ModbusSensor) -> list[ThresholdLimit]:
        return [
            ThresholdLimit(
                sensor.id, sensor.name, sensor.place, limit.high_c, limit.low_c, limit.delay_s, limit.hysteresis_c,
                limit.severity,
            )
            for limit in self._config.limits
            if limit.sensor == sensor.id
        ]  # fmt: skip

    async def _record_events(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        await self._recorder.record(events=events, state=state)

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Run the box; *ready* is called once everything is started."""
        recorder = asyncio.create_task(self._recorder.run(), name="recorder")
        forwarder = asyncio.create_task(supervise("forwarder", self._forwarder.run), name="forwarder")
        producers = [asyncio.create_task(supervise(name, service), name=name) for name, service in self._services()]
        logger.info("box %s runs: %d sensors, %d cameras", self._box_id, len(self._desks), len(self._cameras))
        ready()
        try:
            done, _ = await asyncio.wait([recorder, forwarder, *producers], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _cancel(producers)
            await _cancel([recorder])
            self._forwarder.wake()
            await self._flush()
            await _cancel([forwarder])
            self._recorder.close()
            self._outbox.close()

    def _services(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        services: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        for port in self._config.serial_ports:
            sensors = [sensor for sensor in self._config.sensors if sensor.port == port.id]
            if sensors:
                services.append((f"serial port {port.id}", partial(self._poll, port, sensors)))
        services.append(("clock", Timekeeper(self._clock, self._box_id, self._record_events, self._shift_timers).run))
        if self._config.uplink.metrics_port is not None:
            services.append(("metrics", self._serve_metrics))
        services += [(f"camera {camera.state_key.partition('/')[2]}", camera.run) for camera in self._cameras]
        return services

    async def _poll(self, port: SerialPort, sensors: Sequence[ModbusSensor]) -> None:
        module, _, name = DRIVERS[sensors[0].type].partition(":")
        driver: Driver = getattr(import_module(module), name)(port, sensors, self._clock.synced)
        async with driver:
            async for told in driver.readings():
                reading = self._clock.restamp(told)
                events, state = self._desks[reading.sensor_id].judge(reading)
                for event in events:
                    logger.warning("sensor %s: %s", event.source_id, event.type)
                with contextlib.suppress(OutboxFull):  # counted and told by the outbox
                    await self._recorder.record([reading], events, state)

    def _shift_timers(self, step: ClockStep) -> dict[str, str | None]:
        changed: dict[str, str | None] = {}
        for desk in self._desks.values():
            changed |= desk.shift(step)
        return changed

    async def _serve_metrics(self) -> None:
        from edge.metrics import BoxCollector, serving_metrics

        collector = BoxCollector(self._outbox, self._recorder, self._forwarder, self._spool, self._clock)
        with serving_metrics(collector, self._config.uplink.metrics_port or 0, _tell_metrics_port):
            await asyncio.get_running_loop().create_future()

    async def _flush(self) -> None:
        """Give the forwarder a bounded time to empty the outbox."""
        try:
            async with asyncio.timeout(FLUSH_S):
                while any(lane.pending_batches for lane in self._outbox.status().lanes.values()):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            logger.info("the centre did not take everything in %.0f s; the rest stays in the outbox", FLUSH_S)


def _tell_metrics_port(port: int) -> None:
    logger.info("metrics: http://127.0.0.1:%d/metrics", port)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
