"""What a camera's own numbers say of when a packet was taken, and times for streams that have no such numbers.

A decoder slower than its camera finds ever older packets waiting, and they all seem to come now. Their numbers tell:
the packet that came soonest after its number was on time, and every other one is late by how much longer it took.
Times never run backwards, and numbers that make no sense are as good as none: then a packet is of when it came.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

LAG_S_MAX = 1.0  # a reader that is later than that for ...
PATIENCE_S = 1.0  # ... so long skips pictures; after a silence of the network it usually catches up by itself
PROGRESS_S = 0.5  # skipping has made up for half of this time by then, or the numbers are wrong
WRONG_MAX = 3  # so often: then the numbers of this connection are not believed any more
DRIFT_SHARE = 0.001  # by which a camera's clock may be slower than ours; quartz drifts by a tenth of it

ARRIVAL_CLOCK = Fraction(1, 90_000)  # as RTP's clock of video, RFC 3551
# FFmpeg's demuxers of JPEG after JPEG: they number pictures as if 25 came a second (libavformat/mpjpegdec.c, img2dec.c)
_UNTIMED = {"mpjpeg", "mjpeg", "jpeg_pipe"}


def is_untimed(container: Any) -> bool:
    """Whether the pictures of this stream carry no time of their own."""
    return container.format.name in _UNTIMED


def stamp_arrival(packet: Any, since_s: float, before: int | None) -> int:
    """Give *packet* the time at which it came, so many seconds after the connection; later than *before*, the last."""
    stamp = round(since_s / ARRIVAL_CLOCK)
    stamp = stamp if before is None else max(stamp, before + 1)
    packet.pts = packet.dts = stamp
    packet.duration = 0
    packet.time_base = ARRIVAL_CLOCK
    return stamp


class StreamClock:
    """One connection's numbers against our monotonic clock.

    ``lag_s``: how late the last packet came. ``waited_for``: it came no sooner than half of the camera's pace allows,
    so it was not there already.
    """

    def __init__(self) -> None:
        self.lag_s = 0.0
        self.waited_for = True
        self._least_s = math.inf  # from a packet's number to its coming
        self._stamp_s = -math.inf
        self._at_s = self._taken_s = -math.inf
        self._wrong = 0

    def taken_s(self, stamp_s: float | None, at_s: float) -> float:
        """When the packet with that number (the time of its decoding, in seconds), which came *at_s*, was taken."""
        if stamp_s is not None and self._wrong < WRONG_MAX:
            if stamp_s <= self._stamp_s:  # the camera's clock was set back, counted over, or stands still
                self._least_s = math.inf
            self._least_s = min(self._least_s + DRIFT_SHARE * (at_s - self._at_s), at_s - stamp_s)
            self.lag_s = at_s - stamp_s - self._least_s
            self.waited_for = at_s - self._at_s >= 0.5 * (stamp_s - self._stamp_s)
            self._stamp_s, self._at_s = stamp_s, at_s
        else:
            self.waited_for = True  # as far as anybody knows
        self._taken_s = max(self._taken_s, at_s - self.lag_s)
        return self._taken_s

    def refute(self) -> None:
        """The numbers say that packets are late, and they are not: begin anew with the next one."""
        self._wrong += 1
        self._least_s, self.lag_s = math.inf, 0.0


class CatchUp:
    """Which packets are not decoded, because the reader is behind: all that wait already, then up to a keyframe."""

    def __init__(self, clock: StreamClock) -> None:
        self._clock = clock
        self._late_since_s: float | None = None
        self._skipping: tuple[float, float] | None = None  # since when, and how late it was then
        self._waited = False  # for a packet, while skipping

    def skips(self, at_s: float, *, keyframe: bool) -> bool:
        """Whether to skip the packet that came *at_s*, the last that the clock was told of."""
        late = self._clock.lag_s > LAG_S_MAX
        if self._skipping is None:
            self._late_since_s = (self._late_since_s or at_s) if late else None
            if self._late_since_s is None or at_s - self._late_since_s < PATIENCE_S:
                return False
            self._skipping, self._waited = (at_s, self._clock.lag_s), False
            return True
        since_s, lag_s = self._skipping
        if late and at_s - since_s > PROGRESS_S and lag_s - self._clock.lag_s < 0.5 * (at_s - since_s):
            self._clock.refute()
            late = False
        self._waited = self._waited or self._clock.waited_for
        if late or not self._waited or not keyframe:
            return True
        self._skipping = self._late_since_s = None
        return False
