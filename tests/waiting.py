"""Waiting for a condition, with a deadline and a sentence that says what did not happen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
POLL_S = 0.1
_never = threading.Event()


def wait_for(what: str, condition: Callable[[], Result], deadline_s: float = 30.0) -> Result:
    """The first true answer of *condition*; AssertionError after *deadline_s*."""
    ends_s = time.monotonic() + deadline_s
    while not (answer := condition()):
        assert time.monotonic() < ends_s, f"not within {deadline_s:.0f} s: {what}"
        _never.wait(POLL_S)
    return answer
