"""The MQTT session: connects, stays connected, hands messages over, acknowledges what it is told to. Imports paho.

The only file that does. What always holds: a message of QoS 1 is acknowledged by `acknowledge` alone, and only on the
connection that it came over, because a broker that lost its session may give its packet id to another message.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.config_ports import Broker
from edge.drivers.decoders.payload import PAYLOAD_BYTES_MAX
from edge.drivers.mqtt_inbox import Inbox, Message

logger = logging.getLogger(__name__)
RECONNECT_S_MIN, RECONNECT_S_MAX = 1, 30
CONNECT_TIMEOUT_S = 5.0
PACKET_BYTES_MAX = PAYLOAD_BYTES_MAX + 4096
REFUSED = 0x80  # reason codes from here on are failures (MQTT 5.0, 2.4)


class MqttSession:
    """One broker session. Callbacks run in paho's thread; everything public is for the event loop."""

    def __init__(self, broker: Broker, subscriptions: Sequence[tuple[str, int]], inbox: Inbox) -> None:
        self._broker = broker
        self._subscriptions = list(subscriptions)
        self._inbox = inbox
        self._connection = 0
        self._told_lost = False
        self._told_refused: set[str] = set()
        self._thread: threading.Thread | None = None
        self.connected = False
        self._client = self._make_client()

    def _make_client(self) -> Client:
        broker = self._broker
        is_v5 = broker.protocol == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if is_v5 else broker.session_expiry_s == 0,
            protocol=MQTTv5 if is_v5 else MQTTv311,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.reconnect_delay_set(RECONNECT_S_MIN, RECONNECT_S_MAX)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password.get_secret_value() if broker.password else None)
        if broker.tls is not None:
            context = ssl.create_default_context(cafile=str(broker.tls.ca_file) if broker.tls.ca_file else None)
            if broker.tls.client_cert_file is not None:
                context.load_cert_chain(broker.tls.client_cert_file, broker.tls.client_key_file)
            client.tls_set_context(context)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def start(self) -> None:
        """Begin to connect, and to reconnect for ever."""
        broker = self._broker
        more: dict[str, Any] = {}
        if broker.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = broker.session_expiry_s
            properties.ReceiveMaximum = broker.inflight_max
            properties.MaximumPacketSize = PACKET_BYTES_MAX
            more = {"clean_start": broker.session_expiry_s == 0, "properties": properties}
        self._client.connect_async(broker.host, broker.port, broker.keepalive_s, **more)
        self._client.loop_start()

    async def stop(self) -> None:
        """Say goodbye; the session stays at the broker."""
        self._inbox.close()
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def check(self) -> None:
        """Raise OSError if paho's thread has died."""
        if self._thread is not None and not self._thread.is_alive():
            raise OSError(f"broker {self._broker.id}: the network thread ended")

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Tell the broker that *messages* are safe; those of an earlier connection it will send again."""
        for message in messages:
            if message.qos == 1 and message.connection == self._connection:
                self._client.ack(message.mid, 1)

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a command of QoS 0, if connected."""
        if self.connected:
            self._client.publish(topic, payload, qos=0)

    def _on_pre_connect(self, _client: Client, _userdata: object) -> None:
        self._thread = threading.current_thread()

    def _on_connect(self, client: Client, _userdata: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.value >= REFUSED or (self._broker.protocol != "5" and reason.value != 0):
            self._tell_lost(f"refuses the box: {reason}")
            return
        self._connection += 1
        self.connected = True
        if self._told_lost:
            self._told_lost = False
            logger.info("broker %s: connected again", self._broker.id)
        if self._subscriptions:
            client.subscribe(self._subscription_list())

    def _subscription_list(self) -> Any:
        if self._broker.protocol == "5":
            return [(topic, SubscribeOptions(qos=qos)) for topic, qos in self._subscriptions]
        return self._subscriptions

    def _on_subscribe(
        self, _client: Client, _userdata: object, _mid: int, reasons: Sequence[Any], _properties: object
    ) -> None:
        for (topic, _), reason in zip(self._subscriptions, reasons, strict=False):
            if reason.value >= REFUSED and topic not in self._told_refused:
                self._told_refused.add(topic)
                logger.error("broker %s refuses the subscription %s: %s", self._broker.id, topic, reason)

    def _on_connect_fail(self, _client: Client, _userdata: object) -> None:
        self._tell_lost("cannot be reached; check address, port and TLS")

    def _on_disconnect(
        self, _client: Client, _userdata: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        self.connected = False
        if reason.value != 0:
            self._tell_lost(f"was lost: {reason}")

    def _tell_lost(self, what: str) -> None:
        if not self._told_lost:
            self._told_lost = True
            logger.error("broker %s (%s:%d) %s", self._broker.id, self._broker.host, self._broker.port, what)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no sensor has it, so it is acknowledged and forgotten
        self._inbox.put(
            Message(
                topic,
                bytes(message.payload),
                message.qos,
                message.mid,
                bool(message.dup),
                bool(message.retain),
                self._connection,
                time.time(),
            )
        )
