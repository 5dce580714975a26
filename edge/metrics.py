"""What the box counts, for Prometheus, on this machine's own address only: every loss has its counter.

Numbers are read when they are asked for; nothing is counted twice and nothing runs in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.clock import BoxClock
from edge.recorder import Recorder
from edge.sensing import SensingService
from telemetry.forwarder import Forwarder
from telemetry.outbox import Outbox, OutboxError, OutboxStatus
from telemetry.spool import EvidenceSpool

if TYPE_CHECKING:
    from edge.mqtt_status import MqttStatus

HOST = "127.0.0.1"
_LANE_COUNTERS = {
    "records": "Records ever committed",
    "delivered": "Records receipted by the centre",
    "rejected": "Records set aside because the centre will never take them",
    "evicted": "Records given up at the byte cap, each told to the centre",
    "refused": "Readings not taken because the disk was full, each told to the centre",
}
_PORT_COUNTERS = {
    "timeouts": "Answers that did not come in time, and silences of devices that talk by themselves",
    "frame_errors": "Frames with a wrong checksum, or that are none",
    "late_frames": "Answers that belong to no request any more, rejected",
    "decode_errors": "Whole messages that hold no usable value",
    "refusals": "Requests that the device answered with an error",
    "reconnects": "How often the port or its broker came back",
}
_LANE_GAUGES = {
    "pending_batches": "Batches that wait for the centre",
    "pending_records": "Records that wait for the centre",
    "pending_bytes": "Bytes of sealed batches that wait for the centre",
}


class BoxCollector(Collector):
    """Gathers the numbers of one running box."""

    def __init__(
        self,
        outbox: Outbox,
        recorder: Recorder,
        forwarder: Forwarder,
        spool: EvidenceSpool,
        clock: BoxClock,
        sensing: Sequence[SensingService] = (),
        status: MqttStatus | None = None,
    ) -> None:
        self._outbox = outbox
        self._recorder = recorder
        self._forwarder = forwarder
        self._spool = spool
        self._clock = clock
        self._sensing = sensing
        self._status = status

    def collect(self) -> Iterator[Metric]:
        try:
            yield from _outbox_metrics(self._outbox.status())
            readable = 1
        except OutboxError:
            readable = 0
        yield _gauge("outbox_readable", "Whether the outbox could be asked", readable)
        yield _counter("commits", "Synced commits of the outbox", self._recorder.commits)
        yield _counter("uplink_failures", "Requests to the centre that failed", self._forwarder.failures)
        yield _counter("uplink_sent_bytes", "Bytes of batches and evidence sent", self._forwarder.sent_bytes)
        yield _gauge("evidence_waiting", "Pictures that wait for their upload", len(self._spool.waiting()))
        yield _gauge("clock_synced", "Whether the box's time is right", int(self._clock.synced()))
        yield from _port_metrics(self._sensing)
        if self._status is not None:
            yield _gauge("status_connected", "Whether the status broker is connected", int(self._status.connected))
            yield _counter("status_events_dropped", "Events not shown: the status broker was away for too many",
                           self._status.events_dropped)  # fmt: skip


def _port_metrics(sensing: Sequence[SensingService]) -> Iterator[Metric]:
    """Ports and sensors as the configuration names them, so the number of series is bounded by it."""
    counters = {
        name: CounterMetricFamily(f"brightline_port_{name}", text, labels=["port", "driver"])
        for name, text in _PORT_COUNTERS.items()
    }
    readings = CounterMetricFamily(
        "brightline_port_readings", "Readings that came from the port", labels=["port", "driver", "quality"]
    )
    silence = GaugeMetricFamily(
        "brightline_sensor_since_good_seconds",
        "Seconds since the last good reading, or since the start when there was none",
        labels=["sensor"],
    )
    for service in sensing:
        port = [service.source.port.id, service.source.kind]
        for name, counter in counters.items():
            counter.add_metric(port, getattr(service.counts, name))
        for quality, count in service.counts.readings.items():
            readings.add_metric([*port, quality], count)
        for sensor in service.source.sensors:
            silence.add_metric([sensor.id], service.counts.since_good_s(sensor.id))
    yield from counters.values()
    yield from (readings, silence)


def _outbox_metrics(status: OutboxStatus) -> Iterator[Metric]:
    for name, text in _LANE_COUNTERS.items():
        counter = CounterMetricFamily(f"brightline_outbox_{name}", text, labels=["lane"])
        for lane, item in status.lanes.items():
            counter.add_metric([lane], getattr(item, name))
        yield counter
    for name, text in _LANE_GAUGES.items():
        gauge = GaugeMetricFamily(f"brightline_outbox_{name}", text, labels=["lane"])
        for lane, item in status.lanes.items():
            gauge.add_metric([lane], getattr(item, name))
        yield gauge
    yield _gauge("outbox_file_bytes", "Size of the outbox file", status.file_bytes)
    yield _gauge("outbox_reserve_held", "Whether the disk reserve for events is held (0: the disk is full)",
                 int(status.reserve_held))  # fmt: skip
    yield _gauge("outbox_dead_letters", "Batches set aside", status.dead_letters)
    yield _gauge("outbox_quarantined_files", "Damaged outbox files set aside", len(status.quarantined_files))


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"brightline_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"brightline_{name}", text, value=value)


@contextmanager
def serving_metrics(
    collector: Collector, port: int, told: Callable[[int], None] = lambda _: None, *, also: Sequence[Collector] = ()
) -> Iterator[None]:
    """Answer GET /metrics on 127.0.0.1 in a thread; *told* gets the port (0 takes a free one). Raises OSError."""
    registry = CollectorRegistry()
    for item in (collector, *also):
        registry.register(item)
    server, thread = start_http_server(port, HOST, registry)
    told(server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
