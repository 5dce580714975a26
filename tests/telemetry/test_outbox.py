"""The outbox keeps what it acknowledged: through SIGKILL, corruption, a full cap and lost receipts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from telemetry.batch import BatchHeader, open_batch
from telemetry.messages import Event, Lane, Reading, Receipt
from telemetry.outbox import Outbox, OutboxError
from telemetry.signing import Signer

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNER = Signer.generate()


def reading(number: int) -> Reading:
    return Reading(sensor_id="s", quantity="temperature", value=float(number), unit="°C", observed_at=AT)


def event(number: int) -> Event:
    name = f"e{number}"
    return Event(event_id=name, incident_id=name, type="sensor_fault", severity="warning", source_id="s", at=AT)


def make(path: Path, **options: int) -> Outbox:
    return Outbox.open(path / "outbox.sqlite", "box-1", SIGNER, boot_id="boot", **options)


def headers(outbox: Outbox, lane: Lane) -> list[BatchHeader]:
    waiting = outbox.pending(lane, records_max=10**6, bytes_max=10**9)
    return [open_batch(item.raw, lambda _: SIGNER.public_key).header for item in waiting]


def receipt(outbox: Outbox, lane: Lane, seq: int, status: str = "accepted") -> Receipt:
    return Receipt.model_validate(
        {"box_id": "box-1", "epoch": outbox.epoch, "lane": lane, "seq": seq, "status": status, "reason": "why"}
    )


def test_batches_are_numbered_and_chained_per_lane_across_a_restart(tmp_path: Path) -> None:
    with make(tmp_path) as outbox:
        outbox.commit([reading(1)], [event(1)])
    with make(tmp_path) as outbox:
        outbox.commit([reading(2)], [])
        readings = headers(outbox, "readings")
        assert [item.seq for item in readings] == [1, 2]
        assert readings[0].previous_sha256 == "0" * 64
        assert readings[1].previous_sha256 != "0" * 64
        assert [item.seq for item in headers(outbox, "events")] == [1]
        assert outbox.verify() == []


def test_only_a_receipt_deletes_and_a_rejected_batch_is_set_aside(tmp_path: Path) -> None:
    with make(tmp_path) as outbox:
        for number in range(3):
            outbox.commit([reading(number)], [])
        foreign = receipt(outbox, "readings", 2).model_copy(update={"epoch": "another"})
        outbox.settle([receipt(outbox, "readings", 1), foreign, receipt(outbox, "readings", 3, "rejected")])
        assert [item.seq for item in headers(outbox, "readings")] == [2]
        lane = outbox.status().lanes["readings"]
        assert (lane.records, lane.delivered, lane.rejected, lane.pending_records) == (3, 1, 1, 1)


def test_state_is_saved_with_the_records_that_made_it(tmp_path: Path) -> None:
    with make(tmp_path) as outbox:
        outbox.commit([], [event(1)], {"rule/a": "1", "rule/b": "2", "camera/x": "3"})
        outbox.commit([], [], {"rule/b": None})
    with make(tmp_path) as outbox:
        assert outbox.load_state("rule/") == {"rule/a": "1"}


def test_the_oldest_readings_go_first_and_every_loss_is_an_event(tmp_path: Path) -> None:
    with make(tmp_path, readings_bytes_max=4_000) as outbox:
        for number in range(40):
            outbox.commit([reading(number)], [])
        status = outbox.status()
        kept = [item.seq for item in headers(outbox, "readings")]
        assert kept == list(range(kept[0], 41))
        assert status.lanes["readings"].pending_bytes <= 4_000
        told = 0
        for item in outbox.pending("events", records_max=10**6, bytes_max=10**9):
            for _, record in open_batch(item.raw, lambda _: SIGNER.public_key).records:
                assert isinstance(record, Event)
                assert record.type == "data_gap"
                told += int(str(record.data["records"]))
        assert told == status.lanes["readings"].evicted == 40 - len(kept)


def test_a_corrupt_file_is_set_aside_and_told_and_the_box_keeps_running(tmp_path: Path) -> None:
    with make(tmp_path) as outbox:
        outbox.commit([reading(1)], [])
        first_epoch = outbox.epoch
    for side in tmp_path.glob("outbox.sqlite-*"):
        side.unlink()
    (tmp_path / "outbox.sqlite").write_bytes(b"this was a database" * 300)
    with make(tmp_path) as outbox:
        assert outbox.epoch != first_epoch
        assert [item.seq for item in headers(outbox, "events")] == [1]
    assert list(tmp_path.glob("outbox.sqlite.corrupt-*"))


def test_another_boxs_outbox_is_refused_with_the_remedy(tmp_path: Path) -> None:
    make(tmp_path).close()
    with pytest.raises(OutboxError, match="own data folder"):
        Outbox.open(tmp_path / "outbox.sqlite", "box-2", SIGNER, boot_id="boot")


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from telemetry.messages import Reading
from telemetry.outbox import Outbox
from telemetry.signing import Signer
folder = Path(sys.argv[1])
outbox = Outbox.open(folder / "outbox.sqlite", "box-1", Signer.load(folder / "key"), boot_id="boot")
number = 0
while True:
    number += 1
    outbox.commit([Reading(sensor_id="s", quantity="temperature", value=number, unit="C",
                           observed_at=datetime.now(UTC))], [])
    print(number, flush=True)
"""


@pytest.mark.parametrize("commits_before_kill", [1, 7, 40])
def test_what_was_acknowledged_survives_sigkill(tmp_path: Path, commits_before_kill: int) -> None:
    signer = Signer.generate()
    signer.save(tmp_path / "key")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(commits_before_kill):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().splitlines()
    acknowledged = commits_before_kill + len([line for line in rest if line])
    with Outbox.open(tmp_path / "outbox.sqlite", "box-1", signer, boot_id="boot") as outbox:
        assert outbox.status().lanes["readings"].records in (acknowledged, acknowledged + 1)
        assert outbox.verify() == []
