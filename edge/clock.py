"""The box's own time: steady within a boot, right once NTP has set it, never thrown by a jump of the wall clock.

A Raspberry Pi has no clock battery: it boots in the past. Until the kernel says that its clock is synchronised, the
box counts from where the wall clock stood at the first start of this boot, by the clock that only runs forward
(CLOCK_BOOTTIME). That error is one number per boot, told to the centre as soon as it is known. Afterwards the box
follows the wall clock as long as the kernel vouches for it; a jump that it does not vouch for is ignored, one that it
does is taken over only when it has lasted.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from telemetry.messages import Event, Reading

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES = 512  # larger than struct timex on every Linux
STEP_S = 1.0  # what NTP slews away is smaller; more is a jump
STEP_CONFIRM_S = 10.0
JUST_NOW_S = 5.0
STATE_KEY = "clock/boot"


@cache
def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)  # the libc of this very process; asked for at every reading


def clock_synced() -> bool:
    """Whether the kernel says that its clock is synchronised (adjtimex with nothing to change)."""
    state = _libc().adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return bool(0 <= state < TIME_ERROR)


class _Timex(ctypes.Structure):
    """The beginning of the kernel's struct timex (adjtimex(2)); ``maxerror`` is in microseconds."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_char * TIMEX_BYTES),
    ]  # fmt: skip


def clock_error_ms() -> int | None:
    """How far the clock is off at most, by the kernel's word; None when it gives none."""
    timex = _Timex()
    state = _libc().adjtimex(ctypes.byref(timex))
    return timex.maxerror // 1000 if 0 <= state < TIME_ERROR and timex.maxerror >= 0 else None


def boottime_s() -> float:
    """Seconds since boot, suspends included; never set, never jumps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Saved(BaseModel):
    """What outlives a restart of the program within one boot."""

    model_config = ConfigDict(extra="forbid")

    boot_id: str
    anchor_s: float
    synced: bool


@dataclass(frozen=True)
class ClockStep:
    """The box's time moved by ``offset_s``. ``first``: from now on it is right; all told before was that far off."""

    offset_s: float
    first: bool


class BoxClock:
    """Call `poll` about once a second. ``saved`` is what `dump` gave, from any boot; safe to use from any thread."""

    def __init__(
        self,
        saved: str | None = None,
        *,
        boot: str | None = None,
        wall_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = boottime_s,
        kernel_synced: Callable[[], bool] = clock_synced,
    ) -> None:
        self._boot_id = boot or boot_id()
        self._wall_s = wall_s
        self._steady_s = steady_s
        self._kernel_synced = kernel_synced
        self._jumped_at_s: float | None = None
        known = _read(saved)
        if known is not None and known.boot_id == self._boot_id:
            self._anchor_s, self._synced = known.anchor_s, known.synced
        else:
            self._anchor_s, self._synced = wall_s() - steady_s(), kernel_synced()

    def now(self) -> datetime:
        """The time in UTC; within a boot it moves evenly, except at a step that `poll` reports."""
        return datetime.fromtimestamp(self._anchor_s + self._steady_s(), UTC)

    def synced(self) -> bool:
        """Whether `now` is right. Once it was, it stays so for this boot: the box then keeps time by itself."""
        return self._synced

    def stamp(self) -> tuple[datetime, bool]:
        return self.now(), self._synced

    def dump(self) -> str:
        """To be saved under STATE_KEY before the first reading of a boot and after each step."""
        return _Saved(boot_id=self._boot_id, anchor_s=self._anchor_s, synced=self._synced).model_dump_json()

    def poll(self) -> ClockStep | None:
        """Follow the wall clock where it can be trusted; gives the step if the time moved by one."""
        steady_s = self._steady_s()
        drift_s = self._wall_s() - steady_s - self._anchor_s
        if not self._kernel_synced():
            self._jumped_at_s = None
            return None
        if not self._synced:
            self._anchor_s += drift_s
            self._synced = True
            return ClockStep(drift_s, first=True)
        if abs(drift_s) <= STEP_S:
            self._jumped_at_s = None
            self._anchor_s += drift_s
            return None
        if self._jumped_at_s is None:
            self._jumped_at_s = steady_s
        if steady_s - self._jumped_at_s < STEP_CONFIRM_S:
            return None
        self._jumped_at_s = None
        self._anchor_s += drift_s
        return ClockStep(drift_s, first=False)

    def correction(self, step: ClockStep, source_id: str, event_id: str) -> Event:
        """What to tell the centre of a step: `clock_corrected` for the first, a `box_status` for a later one."""
        data: dict[str, str | int | bool | float | None] = {"boot_id": self._boot_id, "offset_s": step.offset_s}
        return Event.model_validate(
            {
                "event_id": event_id,
                "incident_id": event_id,
                "type": "clock_corrected" if step.first else "box_status",
                "severity": "info",
                "source_id": source_id,
                "at": self.now(),
                "data": data if step.first else {"status": "clock_stepped", **data},
            }
        )

    def restamp(self, readings: Sequence[Reading]) -> Sequence[Reading]:
        """Readings stamped just now by the wall clock, in the box's time; one with a time of its own stays."""
        wall_s, now_s = self._wall_s(), self._anchor_s + self._steady_s()
        offset_s = now_s - wall_s
        if abs(offset_s) <= STEP_S:
            return readings
        return [self._moved(reading, wall_s, offset_s) for reading in readings]

    def _moved(self, reading: Reading, wall_s: float, offset_s: float) -> Reading:
        if abs(reading.observed_at.timestamp() - wall_s) > JUST_NOW_S:
            return reading
        at = reading.observed_at + timedelta(seconds=offset_s)
        return reading.model_copy(update={"observed_at": at, "clock_synced": self._synced})


def _read(saved: str | None) -> _Saved | None:
    try:
        return None if saved is None else _Saved.model_validate_json(saved)
    except ValidationError:
        return None
