"""The box as a whole: drivers → rules → outbox → centre, the cameras in a process beside them.

Order at stop: producers first, then what they handed over is committed, then the forwarder gets a last bounded
chance, then the outbox closes. Each step has a bound: what does not end in its time is left behind, named in the
log, and the next step goes on; nothing committed is lost by that. A reading,
the events that it caused and the rule's new state are one commit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from edge.calibration import STATE_PREFIX, calibration_events
from edge.camera_desk import CameraDesk
from edge.camera_service import CameraService
from edge.clock import ClockStep
from edge.coldchain_desk import ColdChainDesk
from edge.config import EdgeConfig, Sensor
from edge.enrolment import key_file, load_identity
from edge.evidence_folder import EvidenceFolder
from edge.evidence_keeper import STATE_KEY, EvidenceKeeper
from edge.health import Health
from edge.key_rotation import KeyService
from edge.recorder import Recorder
from edge.release_desks import ReleaseDesks
from edge.remote_desk import RemoteDesk
from edge.removed_sources import end_removed
from edge.rules import ThresholdLimit
from edge.sensing import SensingService, list_sources
from edge.sensor_desk import SensorDesk
from edge.status_report import StatusReporter
from edge.status_topics import OpenFlags
from edge.supervisor import supervise
from edge.timekeeping import Timekeeper
from edge.trial import TrialContext
from edge.uplink import make_caller, make_forwarder, make_remote_service, open_outbox, start_clock
from telemetry.command_call import CommandCaller
from telemetry.messages import Event, Reading
from telemetry.outbox import OutboxFull
from telemetry.signing import PublicKey
from telemetry.spool import EvidenceSpool

if TYPE_CHECKING:
    from edge.mqtt_status import MqttStatus

logger = logging.getLogger(__name__)
FLUSH_S = 3.0
PRODUCERS_END_S = 6.0  # a camera process gets END_S to end by itself and KILL_S to die
TASK_END_S = 1.5
CERTIFICATE_CHECK_S = 3600.0


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
            self._outbox,
            self._forwarder.wake_for_records,
            delay_s=config.uplink.commit_delay_s,
            synced=self._clock.synced,
        )
        self._health = Health(has_sensors=bool(config.sensors), reached=lambda: self._forwarder.reached)
        self._box_id = identity.box_id
        self._status = self._make_status()
        saved = self._outbox.load_state("")
        self._removed = end_removed(config, saved, self._clock.now())
        for key, text in self._removed[1].items():
            saved.pop(key, None)
            saved |= {} if text is None else {key: text}
        self._keeper = self._evidence_keeper(signer.public_key, saved.get(STATE_KEY)) if config.cameras else None
        self._cold_chain = ColdChainDesk(config, saved)
        self._desks = {sensor.id: SensorDesk(sensor, self._limits(sensor), saved) for sensor in config.sensors}
        self._sensing = [
            SensingService(source, self._clock.synced, self._record_readings, self._load_driver_states)
            for source in list_sources(config)
        ]
        self._cameras = [
            CameraDesk(
                camera,
                box_id=identity.box_id,
                key_file=key_file(data_dir),
                spool_dir=data_dir / "spool",
                saved=saved.get(f"camera/{camera.id}"),
                record=self._record_events,
                wake=self._forwarder.wake,
                evidence=config.evidence,
            )
            for camera in config.cameras
        ]

        self._camera_service = CameraService(self._cameras, data_dir / "vision") if self._cameras else None
        self._releases = self._release_desks(make_caller(config, identity, signer))
        remote = RemoteDesk(
            config.remote.allow, identity.box_id, saved, self._record_events, _restart,
            evidence=self._keeper.folder if self._keeper else None, cameras=self._camera_service,
            releases=self._releases, now=self._clock.now,
        )  # fmt: skip
        self._remote = make_remote_service(config, identity, signer, remote)
        self._key = KeyService(config, signer.public_key, _restart)

    def _release_desks(self, open_caller: Callable[[], CommandCaller]) -> ReleaseDesks | None:
        if self._config.path is None:
            return None
        trial_s = self._config.remote.trial_s
        context = TrialContext(self._box_id, self._record_events, _restart, trial_s, self._clock.now)
        return ReleaseDesks(self._config, context, self._cameras, open_caller, self._health.lacks)

    def _evidence_keeper(self, public_key: PublicKey, told: str | None) -> EvidenceKeeper:
        settings = self._config.evidence
        folder = EvidenceFolder(
            self._config.box.data_dir / "evidence",
            bytes_max=settings.local_bytes_max,
            free_bytes_min=settings.free_bytes_min,
        )
        return EvidenceKeeper(
            folder, self._spool, settings,
            box_id=self._box_id, public_key=public_key, told=told, record=self._record_events,
            recorded=[camera.id for camera in self._config.cameras if camera.recording],
        )  # fmt: skip

    def _limits(self, sensor: Sensor) -> list[ThresholdLimit]:
        return [
            ThresholdLimit(
                sensor.id, sensor.name, sensor.place, limit.high_c, limit.low_c, limit.delay_s, limit.hysteresis_c,
                limit.severity,
            )
            for limit in self._config.limits
            if limit.sensor == sensor.id
        ]  # fmt: skip

    def _make_status(self) -> MqttStatus | None:
        section = self._config.status_mqtt
        if section is None:
            return None
        from edge.mqtt_status import MqttStatus

        return MqttStatus(section, self._config, self._box_id, self._open_flags)

    def _open_flags(self) -> OpenFlags:
        """The alarms that are open now, by the sensor or camera that has them."""
        is_open = self._cold_chain.open_flags()
        for desk in self._desks.values():
            is_open |= desk.open_flags()
        for camera in self._cameras:
            is_open |= {(camera.camera_id, "blind" if key == "camera_blind" else "violation") for key in camera.open}
        return is_open

    async def _record(
        self, readings: Sequence[Reading], events: Sequence[Event], state: Mapping[str, str | None]
    ) -> None:
        """Commit, then show; what was not committed is not shown, but that the disk is full hides no present value."""
        try:
            await self._recorder.record(readings, events, state)
        except OutboxFull:
            self._show(readings, events)
            raise
        self._show(readings, events)

    def _show(self, readings: Sequence[Reading], events: Sequence[Event]) -> None:
        if self._status is not None:
            self._status.show(readings, events)

    async def _record_events(self, events: Sequence[Event], state: Mapping[str, str | None]) -> None:
        await self._record((), events, state)

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
            try:
                await _end(producers, PRODUCERS_END_S)
                await _end([recorder], TASK_END_S)
                self._forwarder.wake()
                await self._flush()
            finally:
                await _end([forwarder], TASK_END_S)
                self._recorder.close()
                self._outbox.close()

    def _services(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        services: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        if self._removed[1]:
            services.append(("removed sources", self._tell_removed))  # first: what follows saves the same keys
        services += [(sensing.source.name, sensing.run) for sensing in self._sensing]
        if self._config.sensors:
            services.append(("certificate watch", self._watch_certificates))
        if self._cold_chain.assets:
            services.append(("cold chain", partial(self._cold_chain.run, self._record_events, self._clock.now)))
        services.append(("clock", Timekeeper(self._clock, self._box_id, self._record_events, self._shift_timers).run))
        if self._releases is not None:
            services += self._releases.services()
        services.append(("box key", self._key.run))
        if self._remote is not None:
            services.append(("commands", self._remote.run))
        released = self._releases.facts if self._releases else dict
        reporter = StatusReporter(
            self._box_id, self._outbox, self._spool, self._clock, self._config, self._record_events, released
        )
        services.append(("status report", reporter.run))
        if self._config.uplink.metrics_port is not None:
            services.append(("metrics", self._serve_metrics))
        if self._status is not None:
            services.append(("status broker", self._status.run))
        if self._keeper is not None:
            services.append(("evidence", self._keeper.run))
        if self._camera_service is not None:
            services.append(("cameras", self._camera_service.run))
        return services

    async def _tell_removed(self) -> None:
        events, state = self._removed
        for event in events:
            logger.warning("%s is no longer configured: its %s ends", event.source_id, event.data["kind"])
        await self._record_events(events, state)
        await asyncio.get_running_loop().create_future()

    def _load_driver_states(self) -> dict[str, str]:
        return self._outbox.load_state("driver/")

    async def _record_readings(self, readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        """Judge and commit together; if the commit fails, the judging goes back too.

        One asset's readings may come over several ports: its lock keeps a judging that goes back from taking along
        another's. Raises OutboxFull when events and state are on disk and only the readings, counted and told, are not.
        """
        async with AsyncExitStack() as stack:
            for asset in self._cold_chain.assets_of(readings):
                await stack.enter_async_context(asset.lock)
            await self._judge_and_record(self._clock.restamp(readings), state)

    async def _judge_and_record(self, readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        desks = {reading.sensor_id: self._desks[reading.sensor_id] for reading in readings}
        before = {sensor_id: desk.state() for sensor_id, desk in desks.items()}
        assets = [(asset, asset.state()) for asset in self._cold_chain.assets_of(readings)]
        events: list[Event] = []
        merged = dict(state)
        for reading in readings:
            found, marks = desks[reading.sensor_id].feed(reading)
            events += found + self._cold_chain.feed(reading)
            merged |= marks
        for sensor_id, desk in desks.items():
            merged |= desk.changes(before[sensor_id])
        for asset, _ in assets:
            merged |= asset.changes()
        full: OutboxFull | None = None
        try:
            await self._record(readings, events, merged)
        except OutboxFull as error:
            full = error
        except BaseException:
            for sensor_id, desk in desks.items():
                desk.go_back(before[sensor_id])
            for asset, state_before in assets:
                asset.go_back(state_before)
            raise
        for event in events:
            logger.warning("sensor %s: %s", event.source_id, event.type)
        self._health.take(readings)
        if full is not None:
            raise full

    async def _watch_certificates(self) -> None:
        """Tell the centre which calibration is in force, at start and when a certificate runs out."""
        while True:
            saved = await asyncio.to_thread(self._outbox.load_state, STATE_PREFIX)
            events, state = calibration_events(self._config.sensors, saved, self._clock.now())
            if events:
                await self._record_events(events, state)
            await asyncio.sleep(CERTIFICATE_CHECK_S)

    def _shift_timers(self, step: ClockStep) -> dict[str, str | None]:
        changed = self._cold_chain.step_clock(step)
        for desk in self._desks.values():
            changed |= desk.shift(step)
        return changed

    async def _serve_metrics(self) -> None:
        from edge.camera_collector import CameraCollector
        from edge.metrics import BoxCollector, serving_metrics

        collector = BoxCollector(
            self._outbox, self._recorder, self._forwarder, self._spool, self._clock, self._sensing, self._status
        )
        cameras = CameraCollector(self._config.box.data_dir / "metrics", [item.id for item in self._config.cameras])
        port = self._config.uplink.metrics_port or 0
        with serving_metrics(collector, port, _tell_metrics_port, also=[cameras]):
            await asyncio.get_running_loop().create_future()

    async def _flush(self) -> None:
        """Give the forwarder a bounded time to empty the outbox, and the spool: what was announced shall be there."""
        try:
            async with asyncio.timeout(FLUSH_S):
                while self._spool.waiting() or any(
                    lane.pending_batches for lane in self._outbox.status().lanes.values()
                ):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            logger.info("the centre did not take everything in %.0f s; the rest stays in the outbox", FLUSH_S)


def _restart() -> None:
    """End in the orderly way; the service manager (systemd: Restart=always) starts the box again."""
    os.kill(os.getpid(), signal.SIGTERM)


def _tell_metrics_port(port: int) -> None:
    logger.info("metrics: http://127.0.0.1:%d/metrics", port)


async def _end(tasks: Sequence[asyncio.Task[None]], within_s: float) -> None:
    """Cancel *tasks* and wait at most *within_s*. A second before that the order is given again: it may have got lost
    (`asyncio.wait_for` of Python 3.11 can swallow it)."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    running = {task for task in tasks if not task.done()}
    for task in running:
        task.cancel()
    while running and (rest_s := until_s - loop.time()) > 0:
        _, running = await asyncio.wait(running, timeout=rest_s - 1 if rest_s > 1 else rest_s)
        for task in running:
            task.cancel()
    for task in running:
        logger.error("%s did not stop in %.0f s and is left behind", task.get_name(), within_s)
