"""`record` answers after the commit and only then; nobody waits for ever, whatever fails or is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from edge.recorder import GROUP_MAX, QUEUE_MAX, Recorder
from telemetry.messages import Event, Reading
from telemetry.outbox import Outbox, OutboxError
from telemetry.signing import Signer

DEADLINE_S = 20


def reading(number: int) -> Reading:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    return Reading(sensor_id=f"s{number}", quantity="temperature", value=1.0, unit="°C", observed_at=at)


class ScriptedOutbox:
    """Commits when `gate` is open; raises `error` instead when one is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.error: BaseException | None = None
        self.commits: list[list[str]] = []
        self.state: dict[str, str | None] = {}

    def commit(self, readings: Sequence[Reading], events: Sequence[Event], state: Mapping[str, str | None]) -> None:
        del events
        self.entered.set()
        assert self.gate.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        self.commits.append([item.sensor_id for item in readings])
        self.state |= state


class Bench:
    """A running recorder over a scripted outbox."""

    async def __aenter__(self) -> Bench:
        self.outbox = ScriptedOutbox()
        self.wakes = 0
        self.recorder = Recorder(cast(Outbox, self.outbox), self._wake)
        self.task = asyncio.create_task(self.recorder.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.outbox.gate.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.recorder.close()

    def _wake(self) -> None:
        self.wakes += 1

    def record(self, number: int, state: Mapping[str, str | None] | None = None) -> asyncio.Task[None]:
        return asyncio.create_task(self.recorder.record([reading(number)], state=state))

    async def first_commit_under_way(self) -> asyncio.Task[None]:
        first = self.record(0)
        assert await asyncio.to_thread(self.outbox.entered.wait, DEADLINE_S)
        return first


async def settle(*tasks: asyncio.Task[None]) -> list[BaseException | None]:
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DEADLINE_S)


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_whoever_comes_during_a_commit_shares_the_next_one() -> None:
    async def scenario() -> None:
        async with Bench() as bench:
            first = await bench.first_commit_under_way()
            others = [bench.record(number, {"last": str(number)}) for number in range(1, 6)]
            await turn()
            assert not first.done(), "nothing is answered before its commit"
            assert not any(task.done() for task in others)
            bench.outbox.gate.set()
            assert await settle(first, *others) == [None] * 6
            assert bench.outbox.commits == [["s0"], ["s1", "s2", "s3", "s4", "s5"]]
            assert bench.outbox.state == {"last": "5"}
            assert bench.wakes == 2

    asyncio.run(scenario())


def test_failed_commit_reaches_every_waiter_and_the_next_one_works() -> None:
    async def scenario() -> None:
        async with Bench() as bench:
            first = await bench.first_commit_under_way()
            bench.outbox.error = OutboxError("disk full")
            second = bench.record(1)
            bench.outbox.gate.set()
            for failure in await settle(first, second):
                assert isinstance(failure, OutboxError)
                assert str(failure) == "disk full"
            bench.outbox.error = None
            assert await settle(bench.record(2)) == [None]
            assert (bench.outbox.commits, bench.wakes) == ([["s2"]], 1)

    asyncio.run(scenario())


def test_unforeseen_fault_ends_the_recorder_and_tells_all_who_wait_or_come_later() -> None:
    async def scenario() -> None:
        async with Bench() as bench:
            first = await bench.first_commit_under_way()
            bench.outbox.error = ZeroDivisionError("a bug")
            queued = bench.record(1)
            await turn()
            bench.outbox.gate.set()
            told = await settle(first, queued)
            assert [type(item) for item in told] == [OutboxError, OutboxError]
            assert "a bug" in str(told[0])
            with pytest.raises(ZeroDivisionError):
                await bench.task
            [late] = await settle(bench.record(2))
            assert isinstance(late, OutboxError)
            assert bench.outbox.commits == []

    asyncio.run(scenario())


def test_cancelled_waiter_does_not_break_its_group() -> None:
    async def scenario() -> None:
        async with Bench() as bench:
            first = await bench.first_commit_under_way()
            second, third = bench.record(1), bench.record(2)
            await turn()
            first.cancel()
            second.cancel()
            await turn()
            bench.outbox.gate.set()
            assert await settle(third) == [None]
            assert bench.outbox.commits == [["s0"], ["s1", "s2"]], "what was handed over is kept"

    asyncio.run(scenario())


def test_stop_finishes_the_commit_under_way_and_all_that_is_queued() -> None:
    async def scenario() -> None:
        async with Bench() as bench:
            first = await bench.first_commit_under_way()
            waiting = [bench.record(number) for number in range(1, QUEUE_MAX + 11)]  # ten find no place in the queue
            await turn()
            bench.task.cancel()
            await turn()
            assert not first.done()
            bench.outbox.gate.set()
            answers = await settle(first, *waiting)
            with pytest.raises(asyncio.CancelledError):
                await bench.task
            kept = [name for group in bench.outbox.commits for name in group]
            assert answers[: QUEUE_MAX + 1] == [None] * (QUEUE_MAX + 1)
            assert kept == [f"s{number}" for number, answer in enumerate(answers) if answer is None]
            assert all(answer is None or isinstance(answer, OutboxError) for answer in answers)
            assert max(len(group) for group in bench.outbox.commits) <= GROUP_MAX

    asyncio.run(scenario())


def test_stop_while_a_commit_fails_still_commits_what_follows() -> None:
    async def scenario() -> None:
        async with Bench() as bench:
            first = await bench.first_commit_under_way()
            second = bench.record(1)
            await turn()
            bench.outbox.error = OutboxError("disk full")
            bench.task.cancel()
            bench.outbox.gate.set()
            told = await settle(first, second)
            assert [type(item) for item in told] == [OutboxError, OutboxError]

    asyncio.run(scenario())


def test_answered_reading_is_in_the_outbox_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        outbox = Outbox.open(tmp_path / "o.sqlite", "box-1", Signer.generate(), boot_id="b")
        recorder = Recorder(outbox, lambda: None)
        task = asyncio.create_task(recorder.run())
        await asyncio.wait_for(recorder.record([reading(1)], state={"rule/s1/0": "{}"}), DEADLINE_S)
        assert outbox.status().lanes["readings"].records == 1
        assert outbox.load_state("rule/") == {"rule/s1/0": "{}"}
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        recorder.close()
        outbox.close()

    asyncio.run(scenario())
