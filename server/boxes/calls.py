"""Where boxes wait for commands: the centre's key, the numbers of their calls, and a bell for each that waits.

A number must be higher than the one before, or, for the first one that this process hears, a time of the last minutes
in milliseconds: so a call that somebody recorded gets nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from server.key_files import make_once
from telemetry.signing import Signer

KEY_FILE = "commands.key"  # not that of the log: what signs orders signs nothing else
FIRST_NUMBER_S = 600.0
LOOK_AGAIN_S = 10.0  # another replica may have taken the command


class StaleCall(Exception):
    """``after``: the next call's number must be above."""

    def __init__(self, after: int) -> None:
        super().__init__(f"the number must be above {after}")
        self.after = after


def load_centre_key(data_dir: Path) -> Signer:
    """The key with which the centre signs commands, made once."""
    path = data_dir / KEY_FILE
    make_once(path, lambda: Signer.generate().text)
    return Signer.load(path)


class BoxCalls:
    """For the event loop's thread, but for `ring`."""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self._loop = asyncio.get_running_loop()
        self._numbers: dict[str, int] = {}
        self._bells: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._closed = False

    def take_number(self, box_id: str, number: int) -> None:
        """Use up the number of a verified call; raises StaleCall."""
        now_ms = int(time.time() * 1000)
        after = self._numbers.get(box_id)
        if after is None and abs(now_ms - number) > FIRST_NUMBER_S * 1000:
            raise StaleCall(now_ms)
        if after is not None and number <= after:
            raise StaleCall(after)
        self._numbers[box_id] = number

    def ring(self, box_id: str) -> None:
        """Something is there for this box; from any thread, after the commit."""
        self._loop.call_soon_threadsafe(self._ring, box_id)

    def _ring(self, box_id: str) -> None:
        if box_id in self._bells:
            self._bells.pop(box_id).set()

    def bell(self, box_id: str) -> asyncio.Event:
        """What is rung next for this box; take it before looking, so that nothing comes unheard in between."""
        return self._bells[box_id]

    @staticmethod
    async def wait(bell: asyncio.Event, wait_s: float) -> None:
        """Until the bell rings, but no longer than *wait_s* or LOOK_AGAIN_S."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(wait_s, LOOK_AGAIN_S)):
                await bell.wait()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Let all go that wait, so that the server can stop."""
        self._closed = True
        for box_id in list(self._bells):
            self._ring(box_id)
