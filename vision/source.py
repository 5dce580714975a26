"""Frames from a camera or a file through PyAV, with hard time-outs, for ever.

A reader thread decodes; whoever takes gets the latest frame or, when none came for ``lost_s``, a `SourceLost`.
A frame that nobody took in time is dropped and counted by its cause, so a slow model sees the present, not a backlog.
Credentials in an address never reach a log line or a reason. A reader thread that dies is told and replaced.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from vision.address import OPEN_TIMEOUT_S, READ_TIMEOUT_S
from vision.frame import Frame
from vision.packet_ring import PacketRing
from vision.reader import AGE_S_MAX, EARLY_SHARE, Reader

LOST_S = 4.5
RATE_FPS_MIN = 1.0  # below it, the pause between two pictures would look like a lost camera, unless ...
KEYFRAME_RATE_FPS_MIN = 0.1  # ... only keyframes are taken, which come seconds apart: then packets are a sign of life
KEYFRAME_LOST_S = 15.0


@dataclass(frozen=True)
class SourceLost:
    """No picture has come for a while; given again every ``lost_s`` until one does."""

    reason: str
    monotonic_s: float


class VideoSource:
    """``rtsp(s)://``, ``http(s)://``, a file, or ``/dev/videoN``. A context manager; take from it, or iterate once.

    ``ready`` is notified when something is there to take; sources that one thread watches share it. ``drops`` counts by
    cause, see `vision.camera_statistics`. ``at_work`` is told when the reader goes into a decoder and comes out of it.
    """

    def __init__(
        self,
        url: str,
        *,
        rate_fps: float = 5.0,
        lost_s: float = LOST_S,
        loop: bool = True,
        ring: PacketRing | None = None,
        ready: threading.Condition | None = None,
        at_work: Callable[[bool], None] = lambda _: None,
        keyframes_only: bool = False,
        hardware: str = "none",
    ) -> None:
        """Nothing is opened yet; raises ValueError for an address, a rate or a hardware that cannot work."""
        least_fps = KEYFRAME_RATE_FPS_MIN if keyframes_only else RATE_FPS_MIN
        if not least_fps <= rate_fps <= 60:
            raise ValueError(f"rate_fps is {rate_fps}; it must be from {least_fps} to 60")
        self.interval_s = 1 / rate_fps
        self.drops: Counter[str] = Counter()
        self.ended = False  # a film that does not loop, and all of it was taken
        self._lost_s = lost_s
        self._picture_lost_s = max(lost_s, KEYFRAME_LOST_S, 2.5 * self.interval_s) if keyframes_only else lost_s
        self._ready = ready or threading.Condition()
        self._latest: Frame | None = None
        self._heard_s = self._told_lost_s = 0.0
        self._reader = Reader(
            url, interval_s=self.interval_s, loop=loop, ring=ring, publish=self._publish, wake=self._wake,
            drops=self.drops, at_work=at_work, keyframes_only=keyframes_only, hardware=hardware,
        )  # fmt: skip
        self._thread = self._new_thread()

    @property
    def dropped(self) -> int:
        """All pictures that were not given out, whatever the cause."""
        return self.drops.total()

    def __enter__(self) -> VideoSource:
        self._heard_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(OPEN_TIMEOUT_S + READ_TIMEOUT_S + 1)

    def stop(self) -> None:
        """End the iteration, from any thread."""
        self._reader.stop.set()
        self._wake()

    def has_picture(self) -> bool:
        """Whether `take` would give a picture, or the word that the film is over."""
        return self._latest is not None or (self._reader.finished and not self.ended)

    @property
    def lost_at_s(self) -> float:
        """When it counts as lost (again) unless a picture comes."""
        silent_s = max(self._reader.packet_s, self._heard_s) + self._lost_s
        return min(silent_s, self._heard_s + self._picture_lost_s)

    def take(self, now_s: float) -> Frame | SourceLost | None:
        """The latest picture, or that none came for too long, or None: nothing to say at monotonic *now_s*."""
        with self._ready:
            frame, self._latest = self._latest, None
        if frame is not None:
            # nor one from before the loss that was told: for whoever takes them, time never goes back
            if frame.monotonic_s >= max(now_s - AGE_S_MAX, self._told_lost_s):
                return frame
            self.drops["stale"] += 1
            return None
        if self._reader.finished:
            told, self.ended = self.ended, True  # an unreadable file played once is a failure, not an empty success
            return None if told or self._reader.given else SourceLost(self._reader.reason, now_s)
        if now_s < self.lost_at_s or self._reader.stop.is_set():
            return None
        self._replace_dead_reader()
        self._heard_s = self._told_lost_s = now_s
        return SourceLost(self._reader.reason, now_s)

    def __iter__(self) -> Iterator[Frame | SourceLost]:
        stopped = self._reader.stop
        while not stopped.is_set() and not self.ended:
            with self._ready:
                patience_s = max(0.0, self.lost_at_s - time.monotonic())
                self._ready.wait_for(lambda: self.has_picture() or stopped.is_set(), patience_s)
            item = None if stopped.is_set() else self.take(time.monotonic())
            if item is not None:
                yield item

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._reader.read_for_ever, name="camera-reader", daemon=True)

    def _replace_dead_reader(self) -> None:
        if not self._thread.is_alive():
            self._reader.reason = "the reader failed unexpectedly and was started again"
            self._thread = self._new_thread()
            self._thread.start()

    def _wake(self) -> None:
        with self._ready:
            self._ready.notify_all()

    def _publish(self, frame: Frame) -> None:
        with self._ready:
            if (before := self._latest) is not None:
                self.drops[self._cause(frame.monotonic_s - before.monotonic_s)] += 1
            self._latest = frame
            self._heard_s = time.monotonic()  # the picture itself may be older
            self._ready.notify_all()

    def _cause(self, waited_s: float) -> str:
        """Why a picture that waited in vain was not taken: the next came too soon, or nobody had time for it."""
        return "superseded" if waited_s < (1 - EARLY_SHARE) * self.interval_s else "overload"
