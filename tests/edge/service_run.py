"""Runs the cameras' service for as long as a test waits for something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge.camera_service import CameraService


async def run_until(service: CameraService, condition: Callable[[], bool], deadline_s: float) -> None:
    """Until *condition* holds; raises TimeoutError, or AssertionError when the service ends by itself."""
    task = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():
                await asyncio.wait([task], timeout=0.05)
                assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=deadline_s)
    assert task.cancelled()
