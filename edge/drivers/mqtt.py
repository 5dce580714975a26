"""Sensors behind an MQTT broker: nothing is acknowledged to the broker before it is in the outbox.

Many messages become one delivery, so that they share one commit; `Delivery.confirm` sends their PUBACKs. Until then
the broker keeps them, also when this process is killed: the session persists. What the broker repeats although it was
committed is recognised and acknowledged again (`TakenMessages`). A sensor that says nothing for its ``silence_s`` is
told as ``bad``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

from edge.config_ports import Broker
from edge.config_sensors import MqttSensor
from edge.drivers.assessment import bad
from edge.drivers.decoders.sparkplug import encode_rebirth, rebirth_topic
from edge.drivers.mqtt_inbox import Inbox, Message
from edge.drivers.mqtt_router import MqttRouter
from edge.drivers.mqtt_taken import TakenMessages, digest
from edge.drivers.port import Delivery, Driver
from edge.drivers.port_counts import PortCounts
from telemetry.messages import Reading

if TYPE_CHECKING:
    from edge.drivers.mqtt_client import MqttSession

logger = logging.getLogger(__name__)
BATCH_MESSAGES_MAX = 500
WAIT_S = 1.0
REBIRTH_INTERVAL_S = 60.0
# mosquitto 2.0.11 sends a backlog beyond the Receive Maximum, and repeats all of it after a lost connection
TAKEN_MIN = 16_384


class MqttDriver(Driver):
    """All sensors of one broker."""

    def __init__(
        self,
        broker: Broker,
        sensors: Sequence[MqttSensor],
        clock_synced: Callable[[], bool],
        saved: Mapping[str, str] | None = None,
        counts: PortCounts | None = None,
    ) -> None:
        prefix = f"driver/{broker.id}/"
        self._broker = broker
        self._sensors = {sensor.id: sensor for sensor in sensors}
        self._clock_synced = clock_synced
        self._router = MqttRouter(sensors, prefix, saved or {})
        self._taken = TakenMessages(f"{prefix}taken/", max(broker.inflight_max, TAKEN_MIN), saved or {})
        self._counts = counts or PortCounts()
        self._silent_at_s: dict[str, float] = {}
        self._asked_s: dict[str, float] = {}
        self._inbox: Inbox | None = None
        self._session: MqttSession | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def router(self) -> MqttRouter:
        """Counters of what was not recorded: poison, retained, repeated."""
        return self._router

    async def __aenter__(self) -> MqttDriver:
        from edge.drivers.mqtt_client import MqttSession

        now_s = time.monotonic()
        self._silent_at_s = {name: now_s + sensor.silence_s for name, sensor in self._sensors.items()}
        self._inbox = Inbox()
        self._session = MqttSession(self._broker, self._router.subscriptions(), self._inbox, self._counts)
        self._running = asyncio.create_task(self._session.run(), name=f"broker {self._broker.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = self._session = None

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """One delivery for what came since the last one; the broker's loss is silence, told per sensor."""
        assert self._inbox is not None
        assert self._session is not None
        session = self._session
        while True:
            messages = await self._inbox.take(BATCH_MESSAGES_MAX, WAIT_S)
            synced = self._clock_synced()
            if messages:
                yield self._deliver(messages, synced, session)
            else:
                self._check()
            silent = self._silent(synced, session)
            if silent:
                yield Delivery(silent, [None] * len(silent))
            self._ask_for_births(session)

    def _check(self) -> None:
        """A session that ended by itself is a fault: raise it, so that the driver is started anew."""
        if self._running is not None and self._running.done():
            self._running.result()

    def _deliver(self, messages: Sequence[Message], synced: bool, session: MqttSession) -> Delivery:
        readings: list[Reading] = []
        raws: list[object] = []
        names: dict[str, None] = {}
        poison_before = self._router.poison
        for message in messages:
            if message.qos == 1:
                name = digest(message)
                if message.dup and (name in names or name in self._taken):
                    self._router.repeated += 1
                    continue
                names[name] = None
            found = self._router.take(message, synced)
            readings += found
            raws += [message.payload] * len(found)
        self._counts.decode_errors += self._router.poison - poison_before
        heard_s = time.monotonic()
        for reading in readings:
            self._silent_at_s[reading.sensor_id] = heard_s + self._sensors[reading.sensor_id].silence_s
        state = self._taken.add(names)
        state |= self._router.sparkplug.changes()
        return Delivery(
            readings,
            raws,
            state,
            confirm=lambda: session.acknowledge(messages),
            refuse=self._taken.undo,
        )

    def _silent(self, synced: bool, session: MqttSession) -> list[Reading]:
        now_s, now = time.monotonic(), datetime.now(UTC)
        found: list[Reading] = []
        for name, silent_at_s in self._silent_at_s.items():
            if silent_at_s <= now_s:
                sensor = self._sensors[name]
                self._counts.timeouts += 1
                reason = f"nothing came for {sensor.silence_s:g} s" if session.connected else "the broker is lost"
                found.append(bad(sensor, reason, now, synced))
                self._silent_at_s[name] = now_s + sensor.silence_s
        return found

    def _ask_for_births(self, session: MqttSession) -> None:
        """A node whose birth was missed is asked for it, at most once a minute (Sparkplug 3.0.0, 5.7)."""
        now_s = time.monotonic()
        for node in self._router.sparkplug.unborn if session.connected else ():
            if now_s - self._asked_s.get(node, -REBIRTH_INTERVAL_S) >= REBIRTH_INTERVAL_S:
                self._asked_s[node] = now_s
                session.publish(rebirth_topic(node), encode_rebirth(round(time.time() * 1000)))
