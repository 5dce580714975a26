"""The last seconds of a camera as it sent them, so that a clip of an incident is cut and never encoded again.

What is kept are the camera's own packets, whole groups of pictures from a keyframe on, within bounds of seconds and
bytes. A clip begins at the keyframe before the asked moment, because nothing else can be played.
"""

from __future__ import annotations

import io
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)
RING_S = 30.0
RING_BYTES_MAX = 12 * 1024 * 1024  # of one camera; also the largest clip


@dataclass(frozen=True)
class _Kept:
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
        self._kept: deque[_Kept] = deque()
        self._size_bytes = 0
        self._holder: Any = None  # a container that only keeps the stream's parameters when the camera's is gone
        self._stream: Any = None
        self._time_base: Any = None

    def begin(self, video: Any) -> None:
        """A new connection, with the video stream *video*: its clock and parameters are others than before."""
        import av

        holder = av.open(io.BytesIO(), "w", format="mp4")
        stream = holder.add_stream_from_template(video)
        with self._lock:
            self._holder, self._stream, self._time_base = holder, stream, video.time_base
            self._kept.clear()
            self._size_bytes = 0

    def add(self, packet: Any, at_s: float) -> None:
        """Keep a packet that came at monotonic *at_s*."""
        if not packet.size or packet.dts is None or packet.pts is None:
            return
        kept = _Kept(bytes(packet), packet.pts, packet.dts, packet.duration or 0, bool(packet.is_keyframe), at_s)
        with self._lock:
            if not self._kept and not kept.keyframe:
                return
            self._kept.append(kept)
            self._size_bytes += len(kept.data)
            self._forget(at_s)

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
        mp4 = _mux(chosen, stream, time_base) if chosen else b""
        return Clip(mp4, chosen[0].at_s, chosen[-1].at_s, len(chosen)) if mp4 else None


def _mux(kept: list[_Kept], template: Any, time_base: Any) -> bytes:
    import av

    file = io.BytesIO()
    begin = kept[0].dts
    try:
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream_from_template(template)
            for item in kept:
                packet = av.Packet(item.data)
                packet.pts, packet.dts, packet.duration = item.pts - begin, item.dts - begin, item.duration
                packet.time_base, packet.is_keyframe, packet.stream = time_base, item.keyframe, stream
                container.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        logger.warning("a clip could not be cut: %s", error)
        return b""
    return file.getvalue()
