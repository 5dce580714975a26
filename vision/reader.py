"""The thread that reads one camera: opens, decodes at the asked rate, and connects again for ever when it fails.

What a decoder calls damaged is never given out, nor what follows it up to the next keyframe: it would be drawn from the
damaged picture. Errors become a reason (without secrets) and another attempt after a pause with jitter.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from vision.address import CameraAddress, public_name
from vision.frame import Frame
from vision.packet_ring import PacketRing

logger = logging.getLogger(__name__)
BACKOFF_S_MAX = 5.0
EARLY_SHARE = 0.25  # a picture this part of an interval early still counts as due: cameras jitter
DAMAGED_S_MAX = 15.0  # without one whole picture: then a new connection, which begins at a keyframe
# What PyAV and FFmpeg's decoders raise on bad input, one by one; each becomes a reason and another attempt.
READ_ERRORS = (OSError, ValueError, LookupError, RuntimeError, TypeError, ArithmeticError, EOFError, MemoryError)


class Reader:
    """``read_for_ever`` is the thread's work; the fields below may be read from outside at any time."""

    def __init__(
        self,
        url: str,
        *,
        interval_s: float,
        loop: bool,
        ring: PacketRing | None,
        publish: Callable[[Frame], None],
        wake: Callable[[], None],
        drops: Counter[str],
        at_work: Callable[[bool], None],
    ) -> None:
        """Raises ValueError for an address that cannot work."""
        self.stop = threading.Event()
        self.reason = "not connected yet"
        self.finished = False  # a film that does not loop is over
        self.given = 0  # pictures published
        self._address = CameraAddress(url)
        self._interval_s = interval_s
        self._loop = loop
        self._ring = ring
        self._publish = publish
        self._wake = wake
        self._drops = drops
        self._at_work = at_work
        self._lost_told = False

    @property
    def shown(self) -> str:
        """The address without its secrets."""
        return self._address.shown

    def read_for_ever(self) -> None:
        """Until ``stop`` is set or a film that does not loop is over."""
        failures = 0
        while not self.stop.is_set():
            got_one = self.read_once()
            if self._address.is_file and not self._loop:
                self.finished = True
                self._wake()
                return
            if self._address.is_file and got_one:
                self.stop.wait(self._interval_s)  # a film of one picture shall not spin
                continue
            failures = 0 if got_one else failures + 1
            if not self._lost_told and not self.stop.is_set():
                self._lost_told = True
                logger.warning("camera %s: %s; reconnecting", self.shown, self.reason)
            self.stop.wait(random.uniform(0.1, min(BACKOFF_S_MAX, 0.5 * 2 ** min(failures, 5))))  # noqa: S311 - jitter

    def read_once(self) -> bool:
        """Read until the source ends or fails; whether it gave a picture."""
        import av

        before = self.given
        try:
            with self._address.open() as container:
                video = container.streams.video[0]
                video.thread_type = "SLICE"  # threads over whole frames would hold back one picture each
                self._decode(container, video)
            self.reason = "the stream ended"
        except (av.FFmpegError, *READ_ERRORS) as error:
            self.reason = public_name(f"{type(error).__name__}: {error}")[:200]
        finally:
            self._at_work(False)
        return self.given > before

    def _pictures(self, container: Any, video: Any) -> Iterator[Any]:
        """What comes, decoded; the packets themselves go to the ring, if there is one, on their way."""
        import av

        if self._ring is not None:
            self._ring.begin(video)
        whole, whole_s = True, time.monotonic()
        for packet in container.demux(video):
            if self._ring is not None:
                self._ring.add(packet, time.monotonic())
            self._at_work(True)
            try:
                pictures = packet.decode()
            except av.InvalidDataError:
                pictures, whole = [], False
                self._drops["decode_error"] += 1
                self.reason = "the camera sends damaged pictures"
            self._at_work(False)
            for picture in pictures:
                whole = not picture.is_corrupt and (whole or picture.key_frame)
                if whole:
                    whole_s = time.monotonic()
                    yield picture
                else:
                    self._drops["decode_error"] += 1
            if not whole and time.monotonic() - whole_s > DAMAGED_S_MAX:
                raise ValueError("the camera sends damaged pictures")

    def _decode(self, container: Any, video: Any) -> None:
        start_s = due_s = time.monotonic()
        first_s: float | None = None
        for picture in self._pictures(container, video):
            if self.stop.is_set():
                return
            if self._address.is_file and picture.time is not None:  # a file plays in real time
                first_s = picture.time if first_s is None else first_s
                if self.stop.wait(max(0.0, start_s + picture.time - first_s - time.monotonic())):
                    return
            now_s = time.monotonic()
            if now_s + EARLY_SHARE * self._interval_s < due_s:
                continue
            due_s = next_due(due_s, now_s, self._interval_s)
            self._at_work(True)
            image = np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
            self._at_work(False)
            self._give(Frame(image, datetime.now(UTC), now_s, self.given))

    def _give(self, frame: Frame) -> None:
        if self._lost_told:
            self._lost_told = False
            logger.info("camera %s: pictures again", self.shown)
        self.reason = "no picture came"  # until the reader knows better
        self.given += 1
        self._publish(frame)


def next_due(due_s: float, now_s: float, interval_s: float) -> float:
    """When the picture after the one taken at *now_s* is due: on the old beat, or a new one after a pause.

    Keeping to the beat holds the average rate; starting anew after a pause keeps two pictures from coming at once.
    """
    return due_s + interval_s if now_s < due_s + interval_s else now_s + interval_s
