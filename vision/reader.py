"""The thread that reads one camera: opens, decodes at the asked rate, and connects again for ever when it fails.

Errors become a reason (without secrets) and another attempt after a pause with jitter. When hardware gives no picture
the next attempt is in software; if that works it stays so, and is told once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np

from vision.address import CameraAddress, public_name
from vision.decoder import DAMAGED_S_MAX, PictureDecoder
from vision.frame import Frame
from vision.hardware import accelerator, found_hardware
from vision.keyframes import Keyframes
from vision.packet_ring import PacketRing
from vision.stream_clock import ARRIVAL_CLOCK, CatchUp, StreamClock, is_untimed, stamp_arrival

logger = logging.getLogger(__name__)
BACKOFF_S_MAX = 3.0  # with a time-out before it and a keyframe after it: back within ten seconds
AGE_S_MAX = 2.0  # an older picture is no longer judged
EARLY_SHARE = 0.25  # a picture this part of an interval early still counts as due: cameras jitter
# What PyAV and FFmpeg's decoders raise on bad input, one by one; each becomes a reason and another attempt.
READ_ERRORS = (OSError, ValueError, LookupError, RuntimeError, TypeError, ArithmeticError, EOFError, MemoryError)


class Reader:
    """``read_for_ever`` is the thread's work; the public fields may be read from outside at any time."""

    def __init__(
        self,
        url: str,
        *,
        interval_s: float,
        loop: bool,
        publish: Callable[[Frame], None],
        drops: Counter[str],
        ring: PacketRing | None = None,
        wake: Callable[[], None] = lambda: None,
        at_work: Callable[[bool], None] = lambda _: None,
        keyframes_only: bool = False,
        hardware: str = "none",
    ) -> None:
        """Raises ValueError for an address, or a hardware, that cannot work."""
        self.stop = threading.Event()
        self.reason = "not connected yet"
        self.finished = False  # a film that does not loop is over
        self.given = 0  # pictures published
        self.packet_s = time.monotonic()  # when the camera last sent anything, and ...
        self.taken_s = self.packet_s  # ... when it took that
        self._clock = StreamClock()  # of this connection
        self._paced_s = self.packet_s  # the same by the camera's own clock, which begins anywhere
        self._address = CameraAddress(url)
        self._interval_s = interval_s
        self._loop = loop
        self._publish = publish
        self._drops = drops
        self._ring = ring
        self._wake = wake
        self._at_work = at_work
        self._keyframes_only = keyframes_only
        self._hardware = found_hardware(hardware)
        self._in_software = self._hardware == "none"  # this attempt; with hardware, every second one that fails
        self._came_any = False  # in this connection
        self._lost_told = False

    @property
    def shown(self) -> str:
        """The address without its secrets."""
        return self._address.shown

    @property
    def _tried_all(self) -> bool:
        """Whether a failure is the source's own, because hardware was not to blame or software failed as well."""
        return self._hardware == "none" or not self._in_software

    @property
    def plays_file(self) -> bool:
        return self._address.is_file

    def read_for_ever(self) -> None:
        """Until ``stop`` is set or a film that does not loop is over."""
        failures = 0
        while not self.stop.is_set():
            got_one = self.read_once()
            if self.plays_file and not self._loop and (got_one or self._tried_all):
                self.finished = True
                self._wake()
                return
            if self.plays_file and got_one:
                self.stop.wait(self._interval_s)  # a film of one picture shall not spin
                continue
            failures = 0 if got_one else failures + 1
            if not self._lost_told and not self.stop.is_set():
                self._lost_told = True
                logger.warning("camera %s: %s; reconnecting", self.shown, self.reason)
            self.stop.wait(random.uniform(0.1, min(BACKOFF_S_MAX, 0.5 * 2 ** min(failures, 5))))  # noqa: S311 - jitter

    def read_once(self) -> bool:
        """Read until the source ends or fails; whether anything useful came."""
        import av

        self._came_any = False
        self._clock = StreamClock()
        try:
            with self._address.open(accelerator("none" if self._in_software else self._hardware)) as container:
                self._take_all(container, container.streams.video[0])
            self.reason = "the stream ended"
        except (av.FFmpegError, *READ_ERRORS) as error:
            self.reason = public_name(f"{type(error).__name__}: {error}")[:200]
        finally:
            self._at_work(False)
        if not self._came_any and self._hardware != "none":
            self._in_software = not self._in_software
        return self._came_any

    def _packets(self, container: Any, video: Any) -> Iterator[Any]:
        """What comes, ``taken_s`` being when it was taken; to the ring, if there is one, on its way."""
        untimed = not self.plays_file and is_untimed(container)
        ring = self._begin_ring(video, ARRIVAL_CLOCK if untimed else None)
        begin_s, stamp = time.monotonic(), None
        for packet in container.demux(video):
            self.packet_s = time.monotonic()
            if untimed and packet.size:
                stamp = stamp_arrival(packet, self.packet_s - begin_s, stamp)
            number = packet.pts if packet.dts is None else packet.dts
            timed = number is not None and not self.plays_file and not untimed
            stamp_s = float(number * packet.time_base) if timed else None
            self.taken_s = self._clock.taken_s(stamp_s, self.packet_s)
            self._paced_s = self.packet_s if stamp_s is None else stamp_s
            if ring is not None:
                ring.add(packet, self.taken_s)
            yield packet

    def _begin_ring(self, video: Any, clock: Fraction | None) -> PacketRing | None:
        """None where there are no films, or the camera sends what none can hold (a USB camera's raw pictures)."""
        import av

        try:
            if self._ring is not None:
                self._ring.begin(video, clock)
        except (av.FFmpegError, ValueError) as error:
            logger.warning("camera %s: there will be no films: %s", self.shown, error)
            self._ring = None
        return self._ring

    def _pictures(self, container: Any, video: Any) -> Iterator[Any]:
        hardware = "none" if self._in_software else self._hardware
        decoder = PictureDecoder(video, hardware=hardware, keyframes_only=self._keyframes_only, drops=self._drops)
        before_s = time.monotonic()
        for packet in self._not_late(self._packets(container, video), decoder):
            # FFmpeg's parser knows the end of a picture when the next one begins, or when it gives up waiting for that.
            held = self.packet_s - before_s > AGE_S_MAX and not self._keyframes_only
            before_s = self.packet_s
            self._at_work(True)
            pictures = list(decoder.decode(packet))
            self._at_work(False)
            if decoder.damaged:
                self.reason = "the camera sends damaged pictures"
            if held:
                self._drops["stale"] += len(pictures)
            else:
                yield from pictures

    def _not_late(self, packets: Iterator[Any], decoder: PictureDecoder) -> Iterator[Any]:
        """Those that are worth decoding: when it takes longer than the camera does, some are skipped undecoded."""
        catch_up, since_s = CatchUp(self._clock), None
        beat = Beat(self._interval_s, 0.0)  # on the camera's clock: those that wait come all at once
        for packet in packets:
            if catch_up.skips(self.packet_s, keyframe=bool(packet.is_keyframe)):
                if since_s is None:
                    since_s, beat = self.packet_s, Beat(self._interval_s, self._paced_s)
                self.reason = "decoding takes longer than the camera does"
                if (packet.is_keyframe or not self._keyframes_only) and beat.takes(self._paced_s):
                    self._drops["overload"] += 1
                if self.packet_s - since_s > DAMAGED_S_MAX:
                    raise ValueError(f"{self.reason}, and no keyframe comes")
                continue
            if since_s is not None:
                since_s = None
                decoder.forget()
            yield packet

    def _take_all(self, container: Any, video: Any) -> None:
        start_s = time.monotonic()
        beat = Beat(self._interval_s, start_s)
        first_s: float | None = None
        keyframes = Keyframes(video)
        for picture in self._pictures(container, video):
            if self.stop.is_set():
                return
            if self.plays_file and picture.time is not None:  # a file plays in real time
                first_s = picture.time if first_s is None else first_s
                if self.stop.wait(max(0.0, start_s + picture.time - first_s - time.monotonic())):
                    return
                self.taken_s = time.monotonic()
            taken_s = self.taken_s
            self._at_work(True)
            keyframes.take(picture, taken_s)
            self._at_work(False)
            if not beat.takes(taken_s):
                continue
            self._at_work(True)
            image = np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
            self._at_work(False)
            self._came()
            taken_at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - taken_s)
            self._publish(Frame(image, taken_at, taken_s, self.given, keyframes.latest))
            self.given += 1

    def _came(self) -> None:
        """Something useful came: the connection works."""
        self._came_any = True
        if self._in_software and self._hardware != "none":
            logger.warning("camera %s: decoding by %s does not work here; software does it", self.shown, self._hardware)
            self._hardware = "none"
        self.reason = "no picture came"  # until the reader knows better
        if self._lost_told:
            self._lost_told = False
            logger.info("camera %s: pictures again", self.shown)


class Beat:
    """Which pictures are wanted: one an interval, the first at *due_s*."""

    def __init__(self, interval_s: float, due_s: float) -> None:
        self._interval_s = interval_s
        self._due_s = due_s

    def takes(self, at_s: float) -> bool:
        """Whether a picture of that time is wanted; then the next one is due later."""
        if at_s + EARLY_SHARE * self._interval_s < self._due_s:
            return False
        self._due_s = next_due(self._due_s, at_s, self._interval_s)
        return True


def next_due(due_s: float, now_s: float, interval_s: float) -> float:
    """When the picture after the one taken at *now_s* is due: on the old beat, or a new one after a pause.

    Keeping to the beat holds the average rate; starting anew after a pause keeps two pictures from coming at once.
    """
    return due_s + interval_s if now_s < due_s + interval_s else now_s + interval_s
