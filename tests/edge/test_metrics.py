"""The box's metrics: on loopback only, and every loss has a counter that moves."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from edge.clock import BoxClock
from edge.metrics import BoxCollector, serving_metrics
from edge.recorder import Recorder
from telemetry.forwarder import Forwarder
from telemetry.spool import EvidenceSpool
from tests.telemetry.outbox_parts import event, make, reading, receipt, waiting


def scrape(port: int) -> dict[str, float]:
    """Name (and lane) → value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        f"{sample.name}{{{sample.labels['lane']}}}" if "lane" in sample.labels else sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_follow_what_was_kept_delivered_and_lost(tmp_path: Path) -> None:
    ports: list[int] = []
    with make(tmp_path, readings_bytes_max=4_000) as outbox:
        spool = EvidenceSpool(tmp_path / "spool")
        forwarder = Forwarder(outbox, spool, "https://centre.example")
        collector = BoxCollector(outbox, Recorder(outbox, forwarder.wake), forwarder, spool, BoxClock())
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
