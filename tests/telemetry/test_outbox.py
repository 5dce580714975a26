"""The outbox keeps what it acknowledged: through SIGKILL, corruption, a full cap and lost receipts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry.batch import BatchHeader, dump_records, join_payloads
from telemetry.messages import Lane, SeqRange
from telemetry.outbox import Outbox, OutboxError
from telemetry.outbox.inspection import export, read_export, verify_frames, verify_outbox
from telemetry.signing import Signer
from tests.telemetry.outbox_parts import SIGNER, event, gaps, make, opened, reading, receipt, values, waiting


def problems(path: Path) -> list[str]:
    return verify_outbox(path / "outbox.sqlite", lambda _: SIGNER.public_key).problems


def headers(outbox: Outbox, lane: Lane) -> list[BatchHeader]:
    return [batch.header for batch in opened(outbox, lane)]


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
        assert problems(tmp_path) == []


def test_only_a_receipt_deletes_and_a_rejected_batch_is_set_aside(tmp_path: Path) -> None:
    with make(tmp_path) as outbox:
        for number in range(3):
            outbox.commit([reading(number)], [])
        first, second, third = waiting(outbox, "readings")
        foreign = receipt(second).model_copy(update={"epoch": "another"})
        outbox.settle([receipt(first), foreign, receipt(third, "rejected")])
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
        told = sum(int(str(item.data["records"])) for item in gaps(outbox, "evicted"))
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


def test_readings_are_sealed_together_and_keep_their_order_over_a_restart(tmp_path: Path) -> None:
    with make(tmp_path, batch_records=10) as outbox:
        for number in range(25):
            outbox.commit([reading(number)], [])
        assert [item.last_seq for item in outbox.status().lanes.values()] == [0, 2]
        assert outbox.status().lanes["readings"].pending_records == 25
    with make(tmp_path, batch_records=10) as outbox:
        assert values(outbox) == list(map(float, range(25)))
        assert [batch.header.count for batch in opened(outbox, "readings")] == [10, 10, 5]


def test_readings_of_two_boots_never_share_a_batch(tmp_path: Path) -> None:
    for boot in ("boot-1", "boot-2"):
        with Outbox.open(tmp_path / "outbox.sqlite", "box-1", SIGNER, boot_id=boot) as outbox:
            outbox.commit([reading(1)], [])
            if boot == "boot-2":
                assert [batch.header.boot_id for batch in opened(outbox, "readings")] == ["boot-1", "boot-2"]


def test_one_call_for_many_records_gives_the_bytes_of_one_call_each() -> None:
    records = [reading(1), reading(2).model_copy(update={"value": None, "quality": "bad", "reason": "无应答 \u2028"})]
    each = b"[" + b",".join(record.model_dump_json().encode() for record in records) + b"]"
    assert dump_records("readings", records) == each
    assert join_payloads([dump_records("readings", records[:1]), dump_records("readings", records[1:])]) == each
    assert each.startswith(
        b'[{"sensor_id":"s","quantity":"temperature","value":1.0,"unit":"\xc2\xb0C",'
        b'"observed_at":"2026-01-02T03:04:05Z","quality":"good","reason":null,"clock_synced":true},'
    )


def test_an_eviction_is_seldom_and_takes_a_hundredth_more_than_it_must(tmp_path: Path) -> None:
    with make(tmp_path, readings_bytes_max=200_000) as outbox:
        for number in range(700):
            outbox.commit([reading(number)], [])
        told = gaps(outbox, "evicted")
        lost = outbox.status().lanes["readings"].evicted
        assert 0 < len(told) <= lost / 3
        assert [told[0].data["first_seq"], told[-1].data["last_seq"]] == [1, lost]


def test_what_the_centre_lost_is_sent_again_and_what_is_not_here_is_told_once(tmp_path: Path) -> None:
    with make(tmp_path, delivered_bytes_max=6 * 500) as outbox:
        for number in range(20):
            outbox.commit([reading(number)], [])
        batches = waiting(outbox, "readings")
        outbox.settle([receipt(batch) for batch in batches])
        assert values(outbox) == []
        lost = SeqRange(epoch=outbox.epoch, lane="readings", first_seq=1, last_seq=20)
        again = outbox.take_missing([lost])
        assert 3 <= again <= 8
        assert values(outbox) == list(map(float, range(20 - again, 20)))
        assert [item.raw for item in waiting(outbox, "readings")] == [item.raw for item in batches[-again:]]
        assert outbox.take_missing([lost]) == 0
        told = gaps(outbox, "missing")
        assert [(item.data["first_seq"], item.data["last_seq"]) for item in told] == [(1, 20 - again)]
        foreign = SeqRange(epoch="elsewhere", lane="events", first_seq=3, last_seq=4)
        outbox.take_missing([foreign, foreign])
        assert [item.data["epoch"] for item in gaps(outbox, "missing")] == [outbox.epoch, "elsewhere"]


def test_dead_letters_and_set_aside_files_can_be_exported(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with make(tmp_path) as outbox:
        for number in range(3):
            outbox.commit([reading(number)], [])
        first, *_ = waiting(outbox, "readings")
        outbox.settle([receipt(first, "rejected")])
        assert export(path, tmp_path / "dead", "dead_letters") == 1
    assert list(read_export(tmp_path / "dead")) == [first.raw]
    assert export(path, tmp_path / "saved", "damaged") == 3  # two readings, and the event that tells of the third
    assert verify_frames(read_export(tmp_path / "saved"), lambda _: SIGNER.public_key).problems == []


def test_an_export_can_be_checked_offline_and_shows_a_changed_byte(tmp_path: Path) -> None:
    with make(tmp_path) as outbox:
        for number in range(5):
            outbox.commit([reading(number)], [event(number)])
        values(outbox)
        assert export(tmp_path / "outbox.sqlite", tmp_path / "export") == 10
    found = verify_frames(read_export(tmp_path / "export"), lambda _: SIGNER.public_key)
    assert (found.batches, found.records, found.problems) == (10, 10, [])
    data = bytearray((tmp_path / "export").read_bytes())
    data[-200] ^= 1
    (tmp_path / "changed").write_bytes(data)
    assert len(verify_frames(read_export(tmp_path / "changed"), lambda _: SIGNER.public_key).problems) == 1
    with pytest.raises(FileExistsError):
        export(tmp_path / "outbox.sqlite", tmp_path / "export")


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
    check = verify_outbox(tmp_path / "outbox.sqlite", lambda _: signer.public_key)
    assert check.problems == []
