"""Sensors whose every value is a sequence number, so that whoever receives them can be held to account for each one.

What always holds: a number is `acknowledged` only once the broker's PUBACK for it has come; what was not acknowledged
is sent again, with the DUP flag, until it is. Numbers count from *first* over all sensors in turn.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from firmware_sim.mqtt_session import PACKET_IDS, BrokerLost, MqttSession, publish_packet

WINDOW = 500
BURST_MAX = 200
ACK_TIMEOUT_S = 10.0
RECONNECT_S = 0.05
RATE_STEP_S = 0.002
IDLE_S = 0.2


def topic_of(sensor: int) -> str:
    return f"sensors/s{sensor}/reading"


def payload_of(number: int, at_ms: int | None) -> bytes:
    """``{"temperature": number}``, with the device's own time where it has a clock."""
    return json.dumps({"temperature": number} | ({} if at_ms is None else {"time": at_ms})).encode()


class NumberedPublisher:
    """Publishes numbers first, first + 1 … to *sensors* in turn. `run` blocks; `stop` ends it from another thread.

    With *timed* each payload has a time of its own, at least 1 ms after the sensor's last one.
    """

    def __init__(
        self, port: int, *, sensors: int, timed: bool, rate_per_s: float | None = None, first: int = 1,
        client_id: str = "numbered", window: int = WINDOW,
    ) -> None:  # fmt: skip
        self._port = port
        self._sensors = sensors
        self._topics = [topic_of(sensor).encode() for sensor in range(sensors)]
        self._timed = timed
        self._rate_per_s = rate_per_s
        self._client_id = client_id
        self._window = window
        self._first = first
        self._next = first
        self._unacknowledged: dict[int, tuple[int, bytes]] = {}  # packet id -> number, payload; oldest first
        self._last_ms = [0] * sensors
        self._stop = threading.Event()
        self.reconnects = 0

    @property
    def sent(self) -> int:
        """How many different numbers were handed to a broker at least once."""
        return self._next - self._first

    def acknowledged(self) -> set[int]:
        """The numbers that the broker has acknowledged; exact once `run` has returned."""
        waiting = {number for number, _ in list(self._unacknowledged.values())}
        return set(range(self._first, self._next)) - waiting

    def stop(self) -> None:
        """Send no new numbers; `run` returns when the last one is acknowledged."""
        self._stop.set()

    def run(self, count: int | None = None, give_up: Callable[[], bool] = lambda: False) -> None:
        """Publish *count* numbers, or until `stop`; comes back when all are acknowledged or *give_up* says so."""
        while not give_up():
            try:
                session = MqttSession(self._port, self._client_id)
            except BrokerLost:
                self._pause()
                continue
            try:
                self._publish(session, count, give_up)
                return
            except BrokerLost:
                self.reconnects += 1
                self._pause()
            finally:
                session.close()

    @staticmethod
    def _pause() -> None:
        time.sleep(RECONNECT_S)

    def _publish(self, session: MqttSession, count: int | None, give_up: Callable[[], bool]) -> None:
        session.send(
            publish_packet(self._topics[number % self._sensors], payload, packet_id, again=True)
            for packet_id, (number, payload) in list(self._unacknowledged.items())
        )
        began_s = heard_s = time.monotonic()
        before = self._next
        last = None if count is None else self._first + count
        while not give_up():
            due = self._due(time.monotonic() - began_s, before, last)
            if due:
                session.send([self._packet() for _ in range(due)])
            elif not self._unacknowledged and (self._stop.is_set() or self._next == last):
                return
            ids = session.acknowledged(0 if due else RATE_STEP_S if self._rate_per_s else IDLE_S)
            for packet_id in ids:
                self._unacknowledged.pop(packet_id, None)
            if ids or not self._unacknowledged:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > ACK_TIMEOUT_S:
                raise BrokerLost(f"no PUBACK for {ACK_TIMEOUT_S:.0f} s")

    def _due(self, ran_s: float, before: int, last: int | None) -> int:
        """How many numbers to send now: by the rate, the window and the end."""
        if self._stop.is_set():
            return 0
        due = min(BURST_MAX, self._window - len(self._unacknowledged))
        if self._rate_per_s is not None:
            due = min(due, int(before + ran_s * self._rate_per_s) - self._next)
        if last is not None:
            due = min(due, last - self._next)
        return max(due, 0)

    def _packet(self) -> bytes:
        number = self._next
        sensor = number % self._sensors
        at_ms = None
        if self._timed:
            at_ms = self._last_ms[sensor] = max(time.time_ns() // 1_000_000, self._last_ms[sensor] + 1)
        payload = payload_of(number, at_ms)
        packet_id = number % PACKET_IDS + 1
        self._unacknowledged[packet_id] = (number, payload)
        self._next = number + 1
        return publish_packet(self._topics[sensor], payload, packet_id)
