"""What a camera's own numbers say of when a packet was taken, and times for streams that have no such numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

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
