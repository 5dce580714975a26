"""What the box sees, shown at a broker of the site's own: available, states, events. The record never waits for it.

What always holds: `show` only remembers and returns at once; of a state only the newest is kept, of events the last
``EVENTS_MAX``; after each connection everything is published again, so a broker that forgot learns it anew; while the
box is away its last will says ``offline``. A loss is told once, and the connection tried again for ever with jitter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiomqtt

from edge.broker_tls import make_context
from edge.config import EdgeConfig
from edge.config_status import StatusMqttSection
from edge.status_events import IncidentStory
from edge.status_topics import CAMERA_FLAGS, SENSOR_FLAGS, Flag, OpenFlags, StatusTopics, describe_reading
from telemetry.messages import Event, Reading

logger = logging.getLogger(__name__)
EVENTS_MAX = 500
RECONNECT_S_FIRST, RECONNECT_S_MAX = 0.5, 30.0
ANSWER_S = 4.0  # for a greeting or an acknowledgement
GOODBYE_S = 1.0
TOGETHER = 10  # states under way at once
_silent = logging.getLogger(f"{__name__}.client")  # the client would tell each try; a loss is told once, in here
_silent.setLevel(logging.CRITICAL + 1)


class MqttStatus:
    """`run()` until cancelled; ``open_flags`` says at any time what is open now."""

    def __init__(
        self, section: StatusMqttSection, config: EdgeConfig, box_id: str, open_flags: Callable[[], OpenFlags]
    ) -> None:
        self._section = section
        self._open_flags = open_flags
        self._topics = StatusTopics(section, box_id)
        self._client_id = section.client_id or f"brightline-status-{box_id}"
        self._discovery = list(self._topics.discovery(config)) if section.home_assistant else []
        flags = [(sensor.id, flag) for sensor in config.sensors for flag in SENSOR_FLAGS]
        flags += [(camera.id, flag) for camera in config.cameras for flag in CAMERA_FLAGS]
        self._flags: list[tuple[str, Flag]] = flags
        self._readings: dict[str, Reading] = {}
        self._published: dict[str, object] = {}  # over this connection: by topic
        self._story = IncidentStory()
        self._events: deque[dict[str, Any]] = deque()
        self._news, self._urgent = asyncio.Event(), asyncio.Event()
        self._told_lost = self._told_dropped = False
        self.connected = False
        self.events_dropped = 0

    def show(self, readings: Sequence[Reading], events: Sequence[Event]) -> None:
        """Take what was committed; it is published as soon as there is a connection."""
        for reading in readings:
            self._readings[reading.sensor_id] = reading
        for event in events:
            message = self._story.tell(event)
            if message is not None:
                self._add(message)
        self._news.set()
        if events:
            self._urgent.set()

    def _add(self, message: dict[str, Any]) -> None:
        if len(self._events) >= EVENTS_MAX:
            self._events.popleft()
            self.events_dropped += 1
            if not self._told_dropped:
                self._told_dropped = True
                logger.warning("status broker: more than %d events wait, the oldest are not shown", EVENTS_MAX)
        self._events.append(message)

    async def run(self) -> None:
        """Connect, publish, and connect again, for ever."""
        failures = 0
        while True:
            try:
                async with self._connection() as client:
                    failures = 0
                    await self._serve(client)
            except (aiomqtt.MqttError, OSError) as error:
                failures += 1
                self._tell_lost(error)
            ceiling_s = min(RECONNECT_S_MAX, RECONNECT_S_FIRST * 2 ** min(failures, 10))
            await asyncio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 - jitter

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiomqtt.Client]:
        section = self._section
        will = aiomqtt.Will(self._topics.available, "offline", section.qos, retain=True)
        async with aiomqtt.Client(
            section.host,
            section.port,
            identifier=self._client_id,
            username=section.username,
            password=section.password.get_secret_value() if section.password else None,
            tls_context=make_context(section.tls) if section.tls else None,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            keepalive=section.keepalive_s,
            timeout=ANSWER_S,
            will=will,
            logger=_silent,
        ) as client:
            self.connected = True
            if self._told_lost:
                self._told_lost = False
                logger.info("status broker %s:%d: connected again", section.host, section.port)
            try:
                yield client
            finally:
                self.connected = False

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Publish until the connection ends; raises MqttError."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_notice_the_end(client), name="status connection")
                group.create_task(self._publish_news(client), name="status publisher")
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors  # both see the same end
        except asyncio.CancelledError:
            await self._say_goodbye(client)
            raise

    async def _publish_news(self, client: aiomqtt.Client) -> None:
        self._published.clear()
        for topic, payload in self._discovery:
            await self._publish(client, topic, payload)
        await self._publish(client, self._topics.available, "online")
        while True:
            self._news.clear()
            self._urgent.clear()
            await self._publish_events(client)
            await self._publish_states(client)
            await self._news.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._section.interval_s):
                    await self._urgent.wait()

    async def _publish_events(self, client: aiomqtt.Client) -> None:
        """In order; one that is not acknowledged is sent again over the next connection."""
        while self._events:
            event = self._events[0]
            await client.publish(self._topics.events, json.dumps(event, ensure_ascii=False), self._section.qos)
            if self._events and self._events[0] is event:
                self._events.popleft()
        self._told_dropped = False

    async def _publish_states(self, client: aiomqtt.Client) -> None:
        """Those that are not as they were published over this connection."""
        is_open = self._open_flags()
        now: dict[str, object] = {self._topics.flag(*flag): flag in is_open for flag in self._flags}
        now |= {self._topics.value(sensor_id): reading for sensor_id, reading in self._readings.items()}
        changed = [(topic, state) for topic, state in now.items() if self._published.get(topic) != state]
        for start in range(0, len(changed), TOGETHER):
            part = changed[start : start + TOGETHER]
            await asyncio.gather(*(self._publish(client, topic, _text(state)) for topic, state in part))
            self._published |= dict(part)

    async def _publish(self, client: aiomqtt.Client, topic: str, payload: str) -> None:
        await client.publish(topic, payload, self._section.qos, retain=True)

    async def _say_goodbye(self, client: aiomqtt.Client) -> None:
        """An orderly end takes the last will back, so say it."""
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._publish(client, self._topics.available, "offline")

    def _tell_lost(self, error: Exception) -> None:
        if not self._told_lost:
            self._told_lost = True
            logger.error("status broker %s:%d is lost: %s", self._section.host, self._section.port, error)


def _text(state: object) -> str:
    if isinstance(state, Reading):
        return describe_reading(state)
    return "ON" if state else "OFF"


async def _notice_the_end(client: aiomqtt.Client) -> None:
    """Raises MqttError when the connection ends; nothing is subscribed, so no message comes."""
    async for _ in client.messages:
        pass
