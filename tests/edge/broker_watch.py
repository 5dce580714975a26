"""A subscriber to everything at a broker, in a thread of its own: what came, in order, and the last of each topic.

Its session persists, so it misses nothing of QoS 1 over a restart of the broker.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.waiting import wait_for


class BrokerWatch:
    """``messages``: (topic, text, retained) as they came."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, f"watch-{id(self)}", clean_session=False)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.connect("127.0.0.1", port)

    def _take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.messages.append((message.topic, message.payload.decode("utf-8", "replace"), bool(message.retain)))

    def last(self, topic: str) -> str | None:
        """The newest payload on *topic*."""
        return next((text for name, text, _ in reversed(list(self.messages)) if name == topic), None)

    def all(self, topic: str) -> list[Any]:
        """Every payload on *topic*, as JSON."""
        return [json.loads(text) for name, text, _ in list(self.messages) if name == topic]

    def wait(self, topic: str, text: str) -> None:
        """Until the newest payload on *topic* is *text*."""
        wait_for(f"{topic} is {text}, not {self.last(topic)}", lambda: self.last(topic) == text)


@contextlib.contextmanager
def watching(port: int) -> Iterator[BrokerWatch]:
    watch = BrokerWatch(port)
    watch._client.loop_start()
    try:
        yield watch
    finally:
        watch._client.disconnect()
        watch._client.loop_stop()
