"""A really full file system: the box does not crash, events still go in, every reading is kept or counted and told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.messages import Reading
from telemetry.outbox import OutboxFull
from tests.small_disk import fill_disk, mounting_small_disk
from tests.telemetry.outbox_parts import event, events, gaps, make, reading, values

MIB = 1024 * 1024
COMMITS = 300
PER_COMMIT = 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    with mounting_small_disk(tmp_path / "disk") as mountpoint:
        yield mountpoint


def bulky(number: int) -> Reading:
    """A reading that does not compress."""
    return reading(number).model_copy(update={"reason": os.urandom(120).hex()})


def test_a_full_disk_evicts_the_oldest_readings_keeps_every_event_and_counts_every_loss(small_disk: Path) -> None:
    with make(small_disk, batch_records=PER_COMMIT, reserve_bytes=1 * MIB) as outbox:
        fill_disk(small_disk, leave_bytes=256 * 1024)
        sent: list[float] = []
        refused: list[float] = []
        for number in range(COMMITS):
            part = [bulky(number * PER_COMMIT + index) for index in range(PER_COMMIT)]
            numbers = [float(item.value or 0) for item in part]
            try:
                outbox.commit(part, [event(number)])
                sent += numbers
            except OutboxFull as error:
                refused += numbers[: error.refused]
        lane = outbox.status().lanes["readings"]
        kept = values(outbox)
        assert lane.evicted + lane.refused > 0, "the disk was never full: the test shows nothing"
        assert not outbox.status().reserve_held
        assert lane.records == len(sent)
        assert lane.refused == len(refused)
        assert lane.evicted == len(sent) - len(kept)
        assert sent[-len(kept) :] == kept if kept else True
        told = [item for item in events(outbox) if item.type == "sensor_fault"]
        assert [item.event_id for item in told] == [f"e{number}" for number in range(COMMITS)]
        assert sum(int(str(item.data["records"])) for item in gaps(outbox, "evicted")) == lane.evicted


def test_a_disk_filled_by_others_refuses_readings_tells_it_and_recovers_when_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.outbox.outbox.FULL_RETRY_S", 0.0)
    with make(small_disk, batch_records=10, reserve_bytes=1 * MIB) as outbox:
        outbox.commit([reading(0)], [])
        ballast = fill_disk(small_disk)
        large = [bulky(number) for number in range(20_000)]
        for number in range(3):
            with pytest.raises(OutboxFull) as full:
                outbox.commit(large, [event(number)], {"rule/a": str(number)})
            assert full.value.refused == len(large)
        assert outbox.status().lanes["readings"].refused == 3 * len(large)
        assert [item.event_id for item in events(outbox) if item.type == "sensor_fault"] == ["e0", "e1", "e2"]
        assert outbox.load_state("rule/") == {"rule/a": "2"}
        ballast.unlink()
        outbox.commit([reading(9999)], [])
        outbox.commit([], [])
        assert outbox.status().reserve_held
        assert values(outbox)[-1] == 9999.0
        assert sum(int(str(item.data["records"])) for item in gaps(outbox, "disk_full")) == 3 * len(large)
        assert [item.data["status"] for item in events(outbox) if item.type == "box_status"] == ["disk_has_room"]


def test_the_box_starts_on_a_disk_that_is_already_full(small_disk: Path) -> None:
    with make(small_disk, reserve_bytes=1 * MIB) as outbox:
        outbox.commit([reading(1)], [event(1)])
    fill_disk(small_disk)
    with make(small_disk, reserve_bytes=1 * MIB) as outbox:
        outbox.commit([reading(2)], [event(2)])
        assert values(outbox) == [1.0, 2.0]
        assert [item.event_id for item in events(outbox)] == ["e1", "e2"]
