"""The box's metrics: on loopback only, and every loss has a counter that moves."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from edge.clock import BoxClock
from edge.config_ports import OneWireBus
from edge.config_sensors import OneWireSensor
from edge.metrics import BoxCollector, serving_metrics
from edge.recorder import Recorder
from edge.sensing import SensingService, Source
from telemetry.forwarder import Forwarder
from telemetry.spool import EvidenceSpool
from tests.telemetry.outbox_parts import event, make, reading, receipt, waiting


def scrape(port: int) -> dict[str, float]:
    """Name (and lane, or quality, or sensor) → value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            label = next((sample.labels[name] for name in ("lane", "quality", "sensor") if name in sample.labels), None)
            found[sample.name if label is None else f"{sample.name}{{{label}}}"] = sample.value
    return found


def test_counters_follow_what_was_kept_delivered_and_lost(tmp_path: Path) -> None:
    ports: list[int] = []
    with make(tmp_path, readings_bytes_max=4_000) as outbox:
        spool = EvidenceSpool(tmp_path / "spool")
        forwarder = Forwarder(outbox, spool, "https://centre.example")
        collector = BoxCollector(outbox, Recorder(outbox, forwarder.wake_for_records), forwarder, spool, BoxClock())
        with serving_metrics(collector, 0, ports.append):
            before = scrape(ports[0])
            for number in range(40):
                outbox.commit([reading(number)], [event(number)] if number == 0 else [])
            first, second, *_ = waiting(outbox, "readings")
            outbox.settle([receipt(first), receipt(second, "rejected")])
            spool.put(b"picture", "a" * 64)
            after = scrape(ports[0])
            status = outbox.status().lanes["readings"]
    assert before["brightline_outbox_records_total{readings}"] == 0
    assert after["brightline_outbox_records_total{readings}"] == 40
    assert after["brightline_outbox_delivered_total{readings}"] == 1
    assert after["brightline_outbox_rejected_total{readings}"] == 1
    assert after["brightline_outbox_evicted_total{readings}"] == status.evicted > 0
    assert after["brightline_outbox_pending_records{readings}"] == status.pending_records > 0
    assert after["brightline_outbox_dead_letters"] == 1
    assert after["brightline_outbox_reserve_held"] == 1
    assert after["brightline_evidence_waiting"] == 1
    assert after["brightline_outbox_readable"] == 1


def test_each_port_counts_its_faults_and_each_sensor_how_long_it_has_been_without_a_good_reading(
    tmp_path: Path,
) -> None:
    ports: list[int] = []
    sensors = tuple(
        OneWireSensor.model_validate({"type": "onewire", "id": name, "name": name, "device": f"28-{number:012x}"})
        for number, name in enumerate(("cold-1", "cold-2"))
    )

    async def record(readings: object, state: object) -> None:
        """Nothing is kept here."""

    with make(tmp_path) as outbox:
        spool = EvidenceSpool(tmp_path / "spool")
        forwarder = Forwarder(outbox, spool, "https://centre.example")
        service = SensingService(Source("onewire", OneWireBus(), sensors), lambda: True, record, dict)
        collector = BoxCollector(outbox, Recorder(outbox, forwarder.wake), forwarder, spool, BoxClock(), [service])
        with serving_metrics(collector, 0, ports.append):
            service.counts.started_s -= 1_000
            service.counts.timeouts += 3
            service.counts.frame_errors += 2
            good = reading(1).model_copy(update={"sensor_id": "cold-1"})
            service.counts.take([good, good, good.model_copy(update={"quality": "bad", "value": None})])
            found = scrape(ports[0])
    assert found["brightline_port_timeouts_total"] == 3
    assert found["brightline_port_frame_errors_total"] == 2
    assert found["brightline_port_late_frames_total"] == found["brightline_port_reconnects_total"] == 0
    assert found["brightline_port_readings_total{good}"] == 2
    assert found["brightline_port_readings_total{bad}"] == 1
    assert found["brightline_sensor_since_good_seconds{cold-1}"] < 900
    assert found["brightline_sensor_since_good_seconds{cold-2}"] > 900
