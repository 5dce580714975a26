"""The box as a whole: drivers → rules → outbox → centre, each camera in its own process beside them.

Order at stop: producers first, then what they handed over is committed, then the forwarder gets a last bounded
chance, then the outbox closes. A reading, the events that it caused and the rule's new state are one commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from edge.calibration import STATE_PREFIX, calibration_events
from edge.camera_process import CameraProcess
from edge.clock import boot_id, clock_synced
from edge.config import EdgeConfig, Sensor
from edge.enrolment import key_file, load_identity
from edge.recorder import Recorder
from edge.rules import ExcursionState, SensorHealth, ThresholdLimit, ThresholdRule
from edge.sensing import SensingService, list_sources
from edge.supervisor import supervise
from telemetry.forwarder import Forwarder
from telemetry.messages import Event, Reading
from telemetry.outbox import Outbox, OutboxError
from telemetry.spool import EvidenceSpool

logger = logging.getLogger(__name__)
FLUSH_S = 5.0
CERTIFICATE_CHECK_S = 3600.0


class SensorDesk:
    """Judges one sensor's readings and keeps the state of its rules."""

    def __init__(self, sensor: Sensor, limits: Sequence[ThresholdLimit], saved: Mapping[str, str]) -> None:
        self._sensor = sensor
        self._health = SensorHealth.model_validate_json(saved.get(self._health_key, "{}"))
        self._rules = {}
        for number, limit in enumerate(limits):
            key = f"rule/{sensor.id}/{number}"
            self._rules[key] = ThresholdRule(limit, ExcursionState.model_validate_json(saved.get(key, "{}")))
        self._committed = self._states()

    @property
    def _health_key(self) -> str:
        return f"health/{self._sensor.id}"

    def judge(self, reading: Reading) -> tuple[list[Event], dict[str, str | None]]:
        """The events that this reading gives rise to, and the states that are not committed yet."""
        events = self.feed(reading)
        return events, self.changes()

    def feed(self, reading: Reading) -> list[Event]:
        """The events that this reading gives rise to."""
        events = self._health.feed(reading, self._sensor.name, self._sensor.place)
        for rule in self._rules.values():
            events += rule.feed(reading)
        return events

    def changes(self) -> dict[str, str | None]:
        """The states that differ from the committed ones."""
        return {key: value for key, value in self._states().items() if self._committed.get(key) != value}

    def committed(self, state: Mapping[str, str | None]) -> None:
        """*state*, which `changes` gave, is on disk."""
        self._committed |= state

    def _states(self) -> dict[str, str | None]:
        states: dict[str, str | None] = {self._health_key: self._health.model_dump_json()}
        return states | {key: rule.state.model_dump_json() for key, rule in self._rules.items()}


class Gateway:
    """`run()` until cancelled; raises ConfigurationError when the box cannot start as configured."""

    def __init__(self, config: EdgeConfig) -> None:
        identity, signer = load_identity(config)
        self._config = config
        data_dir = config.box.data_dir
        self._outbox = Outbox.open(data_dir / "outbox.sqlite", identity.box_id, signer, boot_id=boot_id())
        self._spool = EvidenceSpool(data_dir / "spool")
        self._forwarder = Forwarder(self._outbox, self._spool, config.server.url, ca_file=config.server.ca_file)
        self._recorder = Recorder(self._outbox, self._forwarder.wake)
        self._box_id = identity.box_id
        saved = self._outbox.load_state("")
        self._desks = {sensor.id: SensorDesk(sensor, self._limits(sensor), saved) for sensor in config.sensors}
        self._owed: list[Event] = []
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

    def _limits(self, sensor: Sensor) -> list[ThresholdLimit]:
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
        for source in list_sources(self._config):
            sensing = SensingService(source, clock_synced, self._record_readings, self._load_driver_states)
            services.append((source.name, sensing.run))
        if self._config.sensors:
            services.append(("certificate watch", self._watch_certificates))
        services += [(f"camera {camera.state_key.partition('/')[2]}", camera.run) for camera in self._cameras]
        return services

    def _load_driver_states(self) -> dict[str, str]:
        return self._outbox.load_state("driver/")

    async def _record_readings(self, readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        """Judge and commit. Events of a commit that failed are kept in memory and go with the next one."""
        desks = {reading.sensor_id: self._desks[reading.sensor_id] for reading in readings}
        for reading in readings:
            for event in desks[reading.sensor_id].feed(reading):
                logger.warning("sensor %s: %s", event.source_id, event.type)
                self._owed.append(event)
        events, self._owed = self._owed, []
        changes = {sensor_id: desk.changes() for sensor_id, desk in desks.items()}
        merged = dict(state)
        for change in changes.values():
            merged |= change
        try:
            await self._recorder.record(readings, events, merged)
        except OutboxError:
            self._owed = events + self._owed
            raise
        for sensor_id, change in changes.items():
            desks[sensor_id].committed(change)

    async def _watch_certificates(self) -> None:
        """Tell the centre which calibration is in force, at start and when a certificate runs out."""
        while True:
            saved = await asyncio.to_thread(self._outbox.load_state, STATE_PREFIX)
            events, state = calibration_events(self._config.sensors, saved, datetime.now(UTC))
            if events:
                await self._recorder.record(events=events, state=state)
            await asyncio.sleep(CERTIFICATE_CHECK_S)

    async def _flush(self) -> None:
        """Give the forwarder a bounded time to empty the outbox."""
        try:
            async with asyncio.timeout(FLUSH_S):
                while any(lane.pending_batches for lane in self._outbox.status().lanes.values()):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            logger.info("the centre did not take everything in %.0f s; the rest stays in the outbox", FLUSH_S)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
