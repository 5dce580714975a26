"""The recorder: on disk before it returns, one commit for many, events at once, and an honest answer on a full disk."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.recorder import Recorder
from telemetry.messages import Event, Reading
from telemetry.outbox import Outbox, OutboxError, OutboxFull
from tests.telemetry.outbox_parts import event, events, make, reading, values


def run_with(recorder: Recorder, script: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the script beside the recorder, then stop the recorder as the box does."""

    async def both() -> None:
        task = asyncio.create_task(recorder.run())
        try:
            async with asyncio.timeout(30):
                await script()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            recorder.close()

    asyncio.run(both())


class HeldOutbox:
    """An outbox whose commits wait until they are let go; it notes what each one held."""

    def __init__(self, error: OutboxError | None = None) -> None:
        self.go = threading.Event()
        self.groups: list[tuple[int, int]] = []
        self.error = error

    def commit(
        self, readings: Sequence[Reading], events: Sequence[Event], state: Mapping[str, str | None] | None = None
    ) -> None:
        assert self.go.wait(30)
        self.groups.append((len(readings), len(events)))
        if self.error is not None:
            raise self.error


def test_what_record_returned_for_is_on_disk(tmp_path: Path) -> None:
    woken: list[int] = []
    with make(tmp_path) as outbox:
        recorder = Recorder(outbox, lambda: woken.append(1), delay_s=0)

        async def script() -> None:
            await recorder.record([reading(1)], [event(1)], {"rule/a": "x"})
            with make(tmp_path) as other:
                assert values(other) == [1.0]
                assert other.load_state("rule/") == {"rule/a": "x"}

        run_with(recorder, script)
    assert woken == [1]


def test_many_sensors_share_a_commit_and_those_who_come_meanwhile_share_the_next() -> None:
    outbox = HeldOutbox()
    recorder = Recorder(outbox, lambda: None, delay_s=0.2)  # type: ignore[arg-type]

    async def script() -> None:
        first = [asyncio.create_task(recorder.record([reading(number)])) for number in range(50)]
        await asyncio.sleep(0)
        started_s = time.monotonic()
        outbox.go.set()
        await asyncio.gather(*first)
        assert time.monotonic() - started_s < 5
        assert outbox.groups == [(50, 0)]

    run_with(recorder, script)


def test_an_event_does_not_wait_for_company() -> None:
    outbox = HeldOutbox()
    outbox.go.set()
    recorder = Recorder(outbox, lambda: None, delay_s=20.0)  # type: ignore[arg-type]

    async def script() -> None:
        waiting = asyncio.create_task(recorder.record([reading(1)]))
        await asyncio.sleep(0)
        started_s = time.monotonic()
        await recorder.record([], [event(1)])
        await waiting
        assert time.monotonic() - started_s < 10
        assert outbox.groups == [(1, 1)]

    run_with(recorder, script)


def test_on_a_full_disk_only_those_hear_of_it_whose_readings_were_not_kept() -> None:
    outbox = HeldOutbox(OutboxFull(3))
    recorder = Recorder(outbox, lambda: None, delay_s=0.05)  # type: ignore[arg-type]

    async def script() -> None:
        both = asyncio.create_task(recorder.record([reading(1), reading(2)], [event(1)]))
        only_event = asyncio.create_task(recorder.record([], [event(2)]))
        await asyncio.sleep(0)
        outbox.go.set()
        await only_event
        with pytest.raises(OutboxFull) as full:
            await both
        assert full.value.refused == 2

    run_with(recorder, script)


def test_a_commit_that_fails_is_told_to_everyone_in_it() -> None:
    outbox = HeldOutbox(OutboxError("broken"))
    outbox.go.set()
    recorder = Recorder(outbox, lambda: None, delay_s=0.05)  # type: ignore[arg-type]

    async def script() -> None:
        results = await asyncio.gather(
            recorder.record([reading(1)]), recorder.record([], [event(1)]), return_exceptions=True
        )
        assert [str(result) for result in results] == ["broken", "broken"]

    run_with(recorder, script)


def test_stopping_commits_at_once_what_still_waited_for_company() -> None:
    outbox = HeldOutbox()
    outbox.go.set()
    recorder = Recorder(outbox, lambda: None, delay_s=20.0)  # type: ignore[arg-type]

    async def stop() -> None:
        task = asyncio.create_task(recorder.run())
        waiting = asyncio.create_task(recorder.record([reading(1)]))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(10):
            await waiting
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(OutboxError, match="stopped"):
            await recorder.record([reading(3)])
        recorder.close()

    asyncio.run(stop())
    assert outbox.groups == [(1, 0)]


def test_events_are_marked_while_the_clock_is_not_right(tmp_path: Path) -> None:
    synced = False
    with make(tmp_path) as outbox:
        recorder = Recorder(outbox, lambda: None, synced=lambda: synced)

        async def script() -> None:
            nonlocal synced
            await recorder.record([], [event(1)])
            synced = True
            await recorder.record([], [event(2)])

        run_with(recorder, script)
        assert [item.clock_synced for item in events(outbox)] == [False, True]
    assert isinstance(outbox, Outbox)
