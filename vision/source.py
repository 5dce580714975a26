"""Frames from a camera or a file through PyAV, with hard time-outs, for ever.

A reader thread decodes; whoever iterates gets the latest frame or, when none came for ``lost_s``, a `SourceLost`.
A frame that nobody fetched in time is dropped and counted, so a slow model sees the present, not a backlog.
Credentials in an address never reach a log line or a reason. A reader thread that dies is told and replaced.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import numpy as np

from vision.address import OPEN_TIMEOUT_S, READ_TIMEOUT_S, CameraAddress, public_name
from vision.frame import Frame
from vision.packet_ring import PacketRing

logger = logging.getLogger(__name__)
LOST_S = 4.5
BACKOFF_S_MAX = 5.0
RATE_FPS_MIN = 1.0  # below it, the pause between two pictures would look like a lost camera
EARLY_SHARE = 0.25  # a picture this part of an interval early still counts as due: cameras jitter
# What PyAV and FFmpeg's decoders raise on bad input, one by one; each becomes a reason and another attempt.
READ_ERRORS = (OSError, ValueError, LookupError, RuntimeError, TypeError, ArithmeticError, EOFError, MemoryError)


@dataclass(frozen=True)
class SourceLost:
    """No picture has come for a while; given again every ``lost_s`` until one does."""

    reason: str
    monotonic_s: float


class VideoSource:
    """``rtsp(s)://``, ``http(s)://``, a file, or ``/dev/videoN``. A context manager; iterate over it once."""

    def __init__(
        self,
        url: str,
        *,
        rate_fps: float = 5.0,
        lost_s: float = LOST_S,
        loop: bool = True,
        ring: PacketRing | None = None,
    ) -> None:
        """Nothing is opened yet; raises ValueError for an address or a rate that cannot work."""
        self._ring = ring
        if not RATE_FPS_MIN <= rate_fps <= 60:
            raise ValueError(f"rate_fps is {rate_fps}; it must be from {RATE_FPS_MIN} to 60")
        self._address = CameraAddress(url)
        self._interval_s = 1 / rate_fps
        self._lost_s = lost_s
        self._loop = loop
        self._stop = threading.Event()
        self._ready = threading.Condition()
        self._latest: Frame | None = None
        self._heard_s = 0.0
        self._reason = "not connected yet"
        self._lost_told = False
        self._ended = False
        self.dropped = 0
        self._index = 0
        self._thread = self._new_reader()

    def __enter__(self) -> VideoSource:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(OPEN_TIMEOUT_S + READ_TIMEOUT_S + 1)

    def stop(self) -> None:
        """End the iteration, from any thread."""
        self._stop.set()
        with self._ready:
            self._ready.notify_all()

    def __iter__(self) -> Iterator[Frame | SourceLost]:
        self._heard_s = time.monotonic()
        while not self._stop.is_set():
            with self._ready:
                patience_s = max(0.0, self._heard_s + self._lost_s - time.monotonic())
                self._ready.wait_for(lambda: self._latest or self._ended or self._stop.is_set(), patience_s)
                frame, self._latest = self._latest, None
            if frame is not None:
                yield frame
            elif self._ended:
                if not self._index:  # an unreadable file played once is a failure, not an empty success
                    yield SourceLost(self._reason, time.monotonic())
                return
            elif not self._stop.is_set():
                self._replace_dead_reader()
                self._heard_s = time.monotonic()
                yield SourceLost(self._reason, self._heard_s)

    def _new_reader(self) -> threading.Thread:
        return threading.Thread(target=self._read_for_ever, name="camera-reader", daemon=True)

    def _replace_dead_reader(self) -> None:
        if not self._thread.is_alive():
            self._reason = "the reader failed unexpectedly and was started again"
            self._thread = self._new_reader()
            self._thread.start()

    def _read_for_ever(self) -> None:
        failures = 0
        while not self._stop.is_set():
            got_one = self._read_once()
            if self._address.is_file and not self._loop:
                with self._ready:
                    self._ended = True
                    self._ready.notify_all()
                return
            if self._address.is_file and got_one:
                self._stop.wait(self._interval_s)  # a film of one picture shall not spin
                continue
            failures = 0 if got_one else failures + 1
            if not self._lost_told and not self._stop.is_set():
                self._lost_told = True
                logger.warning("camera %s: %s; reconnecting", self._address.shown, self._reason)
            self._stop.wait(random.uniform(0.1, min(BACKOFF_S_MAX, 0.5 * 2 ** min(failures, 5))))  # noqa: S311 - jitter

    def _read_once(self) -> bool:
        """Read until the source ends or fails; whether it gave a picture."""
        import av

        before = self._index
        try:
            with self._address.open() as container:
                video = container.streams.video[0]
                video.thread_type = "SLICE"  # threads over whole frames would hold back one picture each
                self._decode(container, video)
            self._reason = "the stream ended"
        except (av.FFmpegError, *READ_ERRORS) as error:
            self._reason = public_name(f"{type(error).__name__}: {error}")[:200]
        return self._index > before

    def _pictures(self, container: Any, video: Any) -> Iterator[Any]:
        """What comes, decoded; the packets themselves go to the ring, if there is one, on their way."""
        if self._ring is not None:
            self._ring.begin(video)
        for packet in container.demux(video):
            if self._ring is not None:
                self._ring.add(packet, time.monotonic())
            yield from packet.decode()

    def _decode(self, container: Any, video: Any) -> None:
        start_s = due_s = time.monotonic()
        first_s: float | None = None
        for picture in self._pictures(container, video):
            if self._stop.is_set():
                return
            if self._address.is_file and picture.time is not None:  # a file plays in real time
                first_s = picture.time if first_s is None else first_s
                if self._stop.wait(max(0.0, start_s + picture.time - first_s - time.monotonic())):
                    return
            now_s = time.monotonic()
            if now_s + EARLY_SHARE * self._interval_s < due_s:
                continue
            due_s = next_due(due_s, now_s, self._interval_s)
            image = np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
            self._publish(Frame(image, datetime.now(UTC), now_s, self._index))

    def _publish(self, frame: Frame) -> None:
        if self._lost_told:
            self._lost_told = False
            logger.info("camera %s: pictures again", self._address.shown)
        with self._ready:
            self.dropped += self._latest is not None
            self._latest = frame
            self._heard_s = frame.monotonic_s
            self._reason = "no picture came"  # until the reader knows better
            self._index += 1
            self._ready.notify_all()


def next_due(due_s: float, now_s: float, interval_s: float) -> float:
    """When the picture after the one taken at *now_s* is due: on the old beat, or a new one after a pause.

    Keeping to the beat holds the average rate; starting anew after a pause keeps two pictures from coming at once.
    """
    return due_s + interval_s if now_s < due_s + interval_s else now_s + interval_s
