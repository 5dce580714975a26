"""Keeps services running: what fails is restarted with full jitter, a loss is told once and the recovery once.

Configuration errors and cancellation pass through: the first cannot heal, the second is an order.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from edge.config import ConfigurationError

logger = logging.getLogger(__name__)
BACKOFF_S_FIRST = 0.2
BACKOFF_S_MAX = 30.0
HEALTHY_AFTER_S = 10.0


class ServiceEnded(Exception):
    """A service returned although it should run for ever."""


async def supervise(
    name: str,
    service: Callable[[], Awaitable[None]],
    *,
    backoff_s_first: float = BACKOFF_S_FIRST,
    healthy_after_s: float = HEALTHY_AFTER_S,
) -> None:
    """Run *service* until cancelled; after *healthy_after_s* without a fault it counts as recovered."""
    loop = asyncio.get_running_loop()
    failures = 0

    def recover() -> None:
        nonlocal failures
        failures = 0
        logger.info("%s is running again", name)

    while True:
        healthy = loop.call_later(healthy_after_s, recover) if failures else None
        try:
            await service()
            raise ServiceEnded("it ended by itself")
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - the one place where any fault becomes a restart
            failures += 1
            if failures == 1:
                logger.error("%s failed and is being restarted: %s: %s", name, type(error).__name__, error)
        finally:
            if healthy is not None:
                healthy.cancel()
        ceiling_s = min(BACKOFF_S_MAX, backoff_s_first * 2 ** min(failures, 10))
        await asyncio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 - jitter
