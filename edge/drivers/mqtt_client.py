"""The MQTT session: connects, stays connected, hands messages over, acknowledges what it is told to. Imports paho.

The only file that does. paho's packets are read and written on the event loop, without a thread; only connecting,
which blocks, has one. What always holds: a message of QoS 1 is acknowledged by `acknowledge` alone, and only on the
connection that it came over, because a broker that lost its session may give its packet id to another message.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Any

from paho.mqtt import MQTTException
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.config_ports import Broker
from edge.drivers.decoders.payload import PAYLOAD_BYTES_MAX
from edge.drivers.mqtt_inbox import Inbox, Message
from edge.drivers.mqtt_socket import ThriftyClient
from edge.drivers.port_counts import PortCounts

logger = logging.getLogger(__name__)
RECONNECT_S_FIRST, RECONNECT_S_MAX = 0.1, 30.0  # soon: what comes while the box is away, only the broker has
CONNECT_TIMEOUT_S = 5.0
GREETING_S_MAX = 10.0  # from CONNECT to CONNACK
MISC_INTERVAL_S = 1.0
READ_PACKETS_MAX = 200  # before other tasks of the box get their turn
PACKET_BYTES_MAX = PAYLOAD_BYTES_MAX + 4096
REFUSED = 0x80  # reason codes from here on are failures (MQTT 5.0, 2.4)
_MALFORMED = (MQTTException, struct.error, ValueError, IndexError, KeyError, TypeError)


class MqttSession:
    """One broker session; `run` until cancelled. Everything happens on the event loop."""

    def __init__(
        self, broker: Broker, subscriptions: Sequence[tuple[str, int]], inbox: Inbox, counts: PortCounts
    ) -> None:
        self._broker = broker
        self._subscriptions = list(subscriptions)
        self._inbox = inbox
        self._counts = counts
        self._connection = 0
        self._received = 0
        self._reading = False
        self._ended = asyncio.Event()
        self._problem = ""
        self._told_lost = False
        self._told_refused: set[str] = set()
        self.connected = False
        self._client = self._make_client()
        inbox.on_room = self._resume

    def _make_client(self) -> ThriftyClient:
        broker = self._broker
        is_v5 = broker.protocol == "5"
        client = ThriftyClient(
            self._on_plain,
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if is_v5 else broker.session_expiry_s == 0,
            protocol=MQTTv5 if is_v5 else MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password.get_secret_value() if broker.password else None)
        if broker.tls is not None:
            context = ssl.create_default_context(cafile=str(broker.tls.ca_file) if broker.tls.ca_file else None)
            if broker.tls.client_cert_file is not None:
                context.load_cert_chain(broker.tls.client_cert_file, broker.tls.client_key_file)
            client.tls_set_context(context)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_close = self._on_socket_close
        return client

    async def run(self) -> None:
        """Connect, serve, and connect again with full jitter, for ever."""
        failures = 0
        try:
            while True:
                self._ended.clear()
                self._problem = "closed the connection"
                before = self._connection
                try:
                    await asyncio.to_thread(self._connect)
                    await self._serve()
                except OSError as error:
                    self._problem = f"cannot be reached ({error})"
                self._tell_lost()
                failures = 0 if self._connection > before else failures + 1
                ceiling_s = min(RECONNECT_S_MAX, RECONNECT_S_FIRST * 2 ** min(failures, 10))
                await asyncio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 - jitter
        finally:
            self.connected = False
            self._client.disconnect()
            self._client.on_socket_close = None
            self._stop_reading()

    def _connect(self) -> None:
        """Open the connection and send CONNECT; blocks, raises OSError."""
        broker = self._broker
        more: dict[str, Any] = {}
        if broker.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = broker.session_expiry_s
            properties.ReceiveMaximum = broker.inflight_max
            properties.MaximumPacketSize = PACKET_BYTES_MAX
            more = {"clean_start": broker.session_expiry_s == 0, "properties": properties}
        self._client.connect(broker.host, broker.port, broker.keepalive_s, **more)

    async def _serve(self) -> None:
        """Read and write until the connection ends."""
        loop = asyncio.get_running_loop()
        greeting_until_s = loop.time() + GREETING_S_MAX
        self._resume()
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(MISC_INTERVAL_S):
                    await self._ended.wait()
            except TimeoutError:
                if not self.connected and loop.time() > greeting_until_s:
                    self._problem = "does not greet"
                    self._end()
                elif self._client.loop_misc() != 0:
                    self._problem = "does not answer"
                    self._end()
                else:
                    self._write()
        self.connected = False

    def _end(self) -> None:
        self._stop_reading()
        self._ended.set()

    def _resume(self) -> None:
        """Read on, if there is a connection; called when the inbox has room again, too."""
        sock: Any = self._client.socket()
        if sock is None or self._reading or self._ended.is_set() or self._inbox.is_full:
            return
        self._reading = True
        asyncio.get_running_loop().add_reader(sock, self._read)
        asyncio.get_running_loop().call_soon(self._read)  # TLS may hold bytes that the socket does not show

    def _stop_reading(self) -> None:
        sock: Any = self._client.socket()
        if self._reading and sock is not None:
            asyncio.get_running_loop().remove_reader(sock)
            asyncio.get_running_loop().remove_writer(sock)
        self._reading = False

    def _on_socket_close(self, _client: Client, _userdata: object, sock: Any) -> None:
        """paho is about to close the socket, in whatever call it noticed the end."""
        if self._reading:
            asyncio.get_running_loop().remove_reader(sock)
            asyncio.get_running_loop().remove_writer(sock)
            self._reading = False
            self._ended.set()

    def _read(self) -> None:
        began = self._received
        for _ in range(READ_PACKETS_MAX):
            if not self._reading:
                return
            before = self._received
            if before - began >= READ_PACKETS_MAX:
                asyncio.get_running_loop().call_soon(self._read)
                break
            try:
                result = self._client.loop_read()
            except _MALFORMED as error:
                self._counts.frame_errors += 1
                self._problem = f"sent what is no MQTT ({type(error).__name__})"
                self._end()
                return
            if result != 0:
                self._end()
                return
            sock: Any = self._client.socket()
            if self._received == before and not (hasattr(sock, "pending") and sock.pending()):
                break
        else:
            asyncio.get_running_loop().call_soon(self._read)
        self._write()
        if self._inbox.is_full:
            self._stop_reading()

    def _write(self) -> None:
        """Send what paho queued; what the socket does not take now is sent when it is writable."""
        sock: Any = self._client.socket()
        if not self._reading or sock is None or not self._client.want_write():
            return
        if self._client.loop_write() != 0:
            self._end()
            return
        loop = asyncio.get_running_loop()
        if self._client.want_write():
            loop.add_writer(sock, self._write)
        elif self._client.socket() is not None:
            loop.remove_writer(sock)

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Tell the broker that *messages* are safe; those of an earlier connection it will send again."""
        self._client.acknowledge(
            [message.mid for message in messages if message.qos == 1 and message.connection == self._connection]
        )
        self._write()

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a command of QoS 0, if connected."""
        if self.connected:
            self._client.publish(topic, payload, qos=0)
            self._write()

    def _on_connect(self, client: Client, _userdata: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.value >= REFUSED or (self._broker.protocol != "5" and reason.value != 0):
            self._problem = f"refuses the box: {reason}"
            return
        self._counts.reconnects += self._connection > 0
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

    def _tell_lost(self) -> None:
        if not self._told_lost:
            self._told_lost = True
            broker = self._broker
            logger.error("broker %s (%s:%d) %s", broker.id, broker.host, broker.port, self._problem)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        header = message.dup << 3 | message.qos << 1 | message.retain
        try:
            topic = message.topic.encode()
        except UnicodeDecodeError:
            topic = b""
        self._on_plain(topic, bytes(message.payload), header, message.mid)

    def _on_plain(self, topic: bytes, payload: bytes, header: int, packet_id: int) -> None:
        """*header* is the first byte of a PUBLISH: DUP, QoS and RETAIN (MQTT 5.0, 3.3.1)."""
        self._received += 1
        try:
            name = topic.decode()
        except UnicodeDecodeError:
            name = ""  # no sensor has it, so it is acknowledged and forgotten
        dup, qos, retain = bool(header & 8), header >> 1 & 3, bool(header & 1)
        self._inbox.put(Message(name, payload, qos, packet_id, dup, retain, self._connection, time.time()))
