"""Frames from a camera or a file through PyAV, with hard time-outs, for ever.

A reader thread decodes; whoever iterates gets the latest frame or, when none came for ``lost_s``, a `SourceLost`.
A frame that nobody fetched in time is dropped and counted, so a slow model sees the present, not a backlog.
Credentials in an address never reach a log line or a reason.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vision.frame import Frame

logger = logging.getLogger(__name__)
OPEN_TIMEOUT_S = READ_TIMEOUT_S = 4.0
LOST_S = 4.5
BACKOFF_S_MAX = 8.0
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def public_name(text: str) -> str:
    """*text* without the user and password of any address in it."""
    return _CREDENTIALS.sub("", text)


@dataclass(frozen=True)
class SourceLost:
    """No picture has come for a while; given again every ``lost_s`` until one does."""

    reason: str
    monotonic_s: float


class VideoSource:
    """``rtsp://``, ``http(s)://``, a file, or ``/dev/videoN``. A context manager; iterate over it."""

    def __init__(self, url: str, *, rate_fps: float = 5.0, lost_s: float = LOST_S, loop: bool = True) -> None:
        self._url = url
        self._interval_s = 1 / rate_fps
        self._lost_s = lost_s
        self._loop = loop
        self._stop = threading.Event()
        self._ready = threading.Condition()
        self._latest: Frame | None = None
        self._reason = "not connected yet"
        self._ended = False
        self.dropped = 0
        self._index = 0
        self._thread = threading.Thread(target=self._read_for_ever, name="camera-reader", daemon=True)

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
        while not self._stop.is_set():
            with self._ready:
                self._ready.wait_for(lambda: self._latest or self._ended or self._stop.is_set(), self._lost_s)
                frame, self._latest = self._latest, None
            if frame is not None:
                yield frame
            elif self._ended:
                return
            elif not self._stop.is_set():
                yield SourceLost(self._reason, time.monotonic())

    def _read_for_ever(self) -> None:
        failures = 0
        while not self._stop.is_set():
            got_one = self._read_once()
            if self._is_file and not self._loop:
                with self._ready:
                    self._ended = True
                    self._ready.notify_all()
                return
            failures = 0 if got_one else failures + 1
            if failures == 1 or got_one:
                logger.warning("camera %s: %s; reconnecting", public_name(self._url), self._reason)
            if not (got_one and self._is_file):
                self._stop.wait(random.uniform(0.1, min(BACKOFF_S_MAX, 0.5 * 2 ** min(failures, 5))))  # noqa: S311 - jitter

    @property
    def _is_file(self) -> bool:
        return "://" not in self._url and not self._url.startswith("/dev/")

    def _read_once(self) -> bool:
        """Read until the source ends or fails; whether it gave a picture."""
        import av

        before = self._index
        try:
            with self._open() as container:
                video = container.streams.video[0]
                video.thread_type = "AUTO"
                self._decode(container, video)
            self._reason = "the stream ended"
        except (av.FFmpegError, OSError, IndexError, ValueError) as error:
            self._reason = public_name(f"{type(error).__name__}: {error}")[:200]
        return self._index > before

    def _open(self) -> Any:
        import av

        timeout = (OPEN_TIMEOUT_S, READ_TIMEOUT_S)
        if self._url.startswith("rtsp"):
            options = {"rtsp_transport": "tcp", "probesize": "65536", "analyzeduration": "500000"}
            return av.open(self._url, options=options, timeout=timeout)
        if self._url.startswith("/dev/"):
            return av.open(self._url, format="v4l2", timeout=timeout)
        if "://" in self._url:
            return av.open(self._url, options={"probesize": "65536", "analyzeduration": "500000"}, timeout=timeout)
        if not Path(self._url).is_file():
            raise OSError("no such video file")
        return av.open(self._url)

    def _decode(self, container: Any, video: Any) -> None:
        start_s = time.monotonic()
        first_s: float | None = None
        due_s = start_s
        for picture in container.decode(video):
            if self._stop.is_set():
                return
            if self._is_file and picture.time is not None:  # a file plays in real time
                first_s = picture.time if first_s is None else first_s
                self._stop.wait(max(0.0, start_s + picture.time - first_s - time.monotonic()))
            now_s = time.monotonic()
            if now_s + 0.25 * self._interval_s < due_s:
                continue
            due_s = max(due_s + self._interval_s, now_s)
            image = np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
            self._publish(Frame(image, datetime.now(UTC), now_s, self._index))

    def _publish(self, frame: Frame) -> None:
        with self._ready:
            self.dropped += self._latest is not None
            self._latest = frame
            self._index += 1
            self._ready.notify_all()
