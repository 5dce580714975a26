"""The sign of life: at once after its first wait and again and again, with what the box runs and what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from edge.clock import BoxClock
from edge.config import load
from edge.status_report import StatusReporter
from telemetry.messages import Event
from telemetry.outbox import Outbox
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool


def test_status_is_told_again_and_again_with_the_backlog_and_the_digest_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("box: {name: b, data_dir: data}\nserver: {url: 'http://127.0.0.1:9'}\n")
    told: list[Event] = []

    async def scenario(outbox: Outbox) -> None:
        twice = asyncio.Event()

        async def record(events: Sequence[Event], state: dict[str, str | None]) -> None:
            assert not state
            told.extend(events)
            outbox.commit([], events, {})
            if len(told) >= 2:
                twice.set()

        reporter = StatusReporter(
            "box-1", outbox, EvidenceSpool(tmp_path / "spool"), BoxClock(), load(file), record,
            first_s=0, interval_s=0.01,
        )  # fmt: skip
        task = asyncio.create_task(reporter.run())
        await asyncio.wait_for(twice.wait(), 20)
        task.cancel()

    with Outbox.open(tmp_path / "outbox.sqlite", "box-1", Signer.generate(), boot_id="boot") as outbox:
        asyncio.run(scenario(outbox))
    assert [event.type for event in told[:2]] == ["box_status", "box_status"]
    first, second = told[0].data, told[1].data
    assert (first["kind"], first["pending_events"], second["pending_events"]) == ("heartbeat", 0, 1)
    assert first["config_sha256"] == sha256(file.read_bytes()).hexdigest()
    assert told[0].event_id != told[1].event_id
