"""The supervisor restarts what fails and says so once, and lets orders and wrong configurations through."""

from __future__ import annotations

import asyncio
import logging

import pytest

from edge.config import ConfigurationError
from edge.supervisor import supervise

DEADLINE_S = 20


class ScriptedService:
    """Fails *failures* times, then runs until told to fail again."""

    def __init__(self, failures: int) -> None:
        self.starts = 0
        self._failures = failures
        self.running = asyncio.Event()
        self.fail_again = asyncio.Event()

    async def __call__(self) -> None:
        self.starts += 1
        if self.starts <= self._failures:
            raise OSError(f"failure {self.starts}")
        self.running.set()
        await self.fail_again.wait()
        self.fail_again.clear()
        self.running.clear()
        raise OSError("failed again")


async def wait_for_log(caplog: pytest.LogCaptureFixture, text: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while text not in caplog.text:
            await asyncio.sleep(0.005)


def test_loss_and_recovery_are_each_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> int:
        service = ScriptedService(failures=4)
        task = asyncio.create_task(supervise("probe", service, backoff_s_first=0.0001, healthy_after_s=0.05))
        await wait_for_log(caplog, "probe is running again")
        service.fail_again.set()
        await wait_for_log(caplog, "failed again")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return service.starts

    caplog.set_level(logging.INFO, "edge.supervisor")
    assert asyncio.run(scenario()) >= 5
    messages = [record.getMessage() for record in caplog.records if record.name == "edge.supervisor"]
    assert messages == [
        "probe failed and is being restarted: OSError: failure 1",
        "probe is running again",
        "probe failed and is being restarted: OSError: failed again",
    ]


def test_service_that_never_gets_well_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        service = ScriptedService(failures=10**9)
        task = asyncio.create_task(supervise("probe", service, backoff_s_first=0.00001))
        async with asyncio.timeout(DEADLINE_S):
            while service.starts < 8:
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert len(caplog.records) == 1


def test_service_that_ends_by_itself_is_restarted(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        starts = 0
        again = asyncio.Event()

        async def service() -> None:
            nonlocal starts
            starts += 1
            if starts == 2:
                again.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(supervise("probe", service, backoff_s_first=0.001))
        await asyncio.wait_for(again.wait(), DEADLINE_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert "ServiceEnded: it ended by itself" in caplog.text


def test_wrong_configuration_passes_through_without_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    starts = 0

    async def service() -> None:
        nonlocal starts
        starts += 1
        raise ConfigurationError("box.yaml:1: file: is wrong")

    with pytest.raises(ConfigurationError):
        asyncio.run(supervise("probe", service))
    assert (starts, caplog.text) == (1, "")


def test_cancellation_passes_through_while_running_and_while_waiting_to_restart() -> None:
    async def scenario() -> None:
        for failures, backoff_s in ((0, 0.001), (1, 1e9)):
            service = ScriptedService(failures)
            task = asyncio.create_task(supervise("probe", service, backoff_s_first=backoff_s))
            async with asyncio.timeout(DEADLINE_S):
                while service.starts == 0:
                    await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, DEADLINE_S)
            assert service.starts == 1

    asyncio.run(scenario())
