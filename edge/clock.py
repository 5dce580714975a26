"""What the box knows about its clock: which boot this is, and whether the time was set by NTP."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES = 512  # larger than struct timex on every Linux


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)  # the libc of this very process; asked for at every reading


@cache
def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@cache
def _libc() -> ctypes.CDLL:
    """Found once: to look for it starts a program (ldconfig), and the clock is asked with every delivery."""
    return ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def clock_synced() -> bool:
    """Whether the kernel says that its clock is synchronised (adjtimex with nothing to change)."""
    state = _libc().adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return bool(0 <= state < TIME_ERROR)
