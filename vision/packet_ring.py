"""The last seconds of a camera as it sent them, so that a clip of an incident is cut and never encoded again.

What is kept are the camera's own packets, whole groups of pictures from a keyframe on, within bounds of seconds and
bytes. A clip begins at the keyframe before the asked moment, because nothing else can be played.
"""

from __future__ import annotations

import io
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

logger = logging.getLogger(__name__)
RING_S = 30.0
RING_BYTES_MAX = 12 * 1024 * 1024  # of one camera; also the largest clip


@dataclass(frozen=True)
class KeptPacket:
    """A packet as the camera sent it, in units of its stream's clock; ``at_s``: when it came (monotonic)."""

    data: bytes
    pts: int
    dts: int
    duration: int
    keyframe: bool
    at_s: float


@dataclass(frozen=True)
class Clip:
    """A film cut from the ring: MP4, when its first and last packet came (monotonic), and how many there are."""

    mp4: bytes
    first_s: float
    last_s: float
    frames: int


class PacketRing:
    """Filled by the reader thread, cut by whoever watches."""

    def __init__(self, *, seconds: float = RING_S, bytes_max: int = RING_BYTES_MAX) -> None:
        self._seconds = seconds
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._kept: deque[KeptPacket] = deque()
        self._size_bytes = 0
        self._holder: Any = None  # a container that only keeps the stream's parameters when the camera's is gone
        self._stream: Any = None
        self._time_base: Any = None

    def begin(self, video: Any, clock: Fraction | None = None) -> None:
        """A new connection, with the video stream *video*: its clock and parameters are others than before.

        *clock*: the unit of its packets' times, in seconds, where it is not the stream's.
        """
        holder, stream, time_base = hold_stream(video)
        with self._lock:
            self._holder, self._stream, self._time_base = holder, stream, clock or time_base
            self._kept.clear()
            self._size_bytes = 0

    def add(self, packet: Any, at_s: float) -> None:
        """Keep a packet that came at monotonic *at_s*."""
        if not packet.size or packet.dts is None or packet.pts is None:
            return
        duration = packet.duration or 0
        self.keep(KeptPacket(bytes(packet), packet.pts, packet.dts, duration, bool(packet.is_keyframe), at_s))

    def keep(self, packet: KeptPacket) -> None:
        """The same for one that was copied from the camera's stream."""
        with self._lock:
            if not self._kept and not packet.keyframe:
                return
            self._kept.append(packet)
            self._size_bytes += len(packet.data)
            self._forget(packet.at_s)

    def _forget(self, now_s: float) -> None:
        """Drop whole groups of pictures from the old end while it is too much or older than needed."""
        while self._size_bytes > self._bytes_max or self._second_group_is_old(now_s):
            self._drop()
            while self._kept and not self._kept[0].keyframe:
                self._drop()

    def _drop(self) -> None:
        self._size_bytes -= len(self._kept.popleft().data)

    def _second_group_is_old(self, now_s: float) -> bool:
        """Whether the ring still reaches back far enough without its first group."""
        if not self._kept or now_s - self._kept[0].at_s <= self._seconds:
            return False
        later = (item for item in list(self._kept)[1:] if item.keyframe)
        return next((now_s - item.at_s >= self._seconds for item in later), False)

    def clip(self, from_s: float, to_s: float) -> Clip | None:
        """From the keyframe before *from_s* up to *to_s* (monotonic); None when there is nothing of it."""
        with self._lock:
            kept, stream, time_base = list(self._kept), self._stream, self._time_base
        starts = [index for index, item in enumerate(kept) if item.keyframe and item.at_s <= from_s]
        chosen = [item for item in kept[starts[-1] if starts else 0 :] if item.at_s <= to_s]
        mp4 = mux_mp4(chosen, stream, time_base) if chosen else b""
        return Clip(mp4, chosen[0].at_s, chosen[-1].at_s, len(chosen)) if mp4 else None


def hold_stream(video: Any) -> tuple[Any, Any, Fraction]:
    """A container, a stream in it with the parameters of *video*, which live on without the camera's, and its clock.

    Raises av.FFmpegError or ValueError for what no MP4 can hold.
    """
    import av

    holder = av.open(io.BytesIO(), "w", format="mp4")
    return holder, holder.add_stream_from_template(video), Fraction(video.time_base)


def packet_of(kept: KeptPacket, begin: int, stream: Any, time_base: Fraction) -> Any:
    """A packet of FFmpeg for *stream*, its times counted from *begin*."""
    import av

    packet = av.Packet(kept.data)
    packet.pts, packet.dts, packet.duration = kept.pts - begin, kept.dts - begin, kept.duration
    packet.time_base, packet.is_keyframe, packet.stream = time_base, kept.keyframe, stream
    return packet


def mux_mp4(kept: Sequence[KeptPacket], template: Any, time_base: Fraction) -> bytes:
    """A film of these packets; empty when FFmpeg refuses them."""
    import av

    file = io.BytesIO()
    begin = kept[0].dts
    try:
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream_from_template(template)
            for item in kept:
                container.mux(packet_of(item, begin, stream, time_base))
    except (av.FFmpegError, ValueError) as error:
        logger.warning("a clip could not be cut: %s", error)
        return b""
    return file.getvalue()
