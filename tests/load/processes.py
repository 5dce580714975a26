"""What running processes cost, from /proc, and on which core they run; nothing is estimated."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time that *pid* and all its threads have used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mb(pid: int, name: str = "VmRSS") -> float:
    """Resident memory now (``VmRSS``) or at its highest (``VmHWM``), in MB of 2**20 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} tells no {name}")


@contextlib.contextmanager
def pinned(cores: Iterable[int]) -> Iterator[None]:
    """Programs started inside run on *cores* alone, all their threads too. No effect where there is one core."""
    before = os.sched_getaffinity(0)
    wanted = set(cores) & before
    try:
        if len(before) > 1 and wanted:
            os.sched_setaffinity(0, wanted)
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores() -> tuple[int, int]:
    """(the core of what is measured, the core of broker and publisher); the same one if there is no other."""
    have = sorted(os.sched_getaffinity(0))
    return have[-1], have[0]
