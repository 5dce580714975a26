"""A decoder slower than its camera: pictures are skipped and counted, and what is judged says how old it is."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np
import pytest

from firmware_sim.camera import HttpCamera
from vision.decoder import PictureDecoder
from vision.frame import Frame
from vision.source import AGE_S_MAX, VideoSource
from vision.stream_clock import CatchUp, StreamClock

FPS = 10
BITS = 10  # bright and dark columns of a picture, which number it
WATCH_S = 5.0
OPENING_S_MAX = (
    1.5  # what comes while FFmpeg looks into the stream is as late as that, and nothing tells before the first skip
)


def numbered(number: int) -> av.VideoFrame:
    image = np.full((96, 16 * BITS, 3), 60, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            image[:, 16 * bit : 16 * bit + 16] = 230
    picture = av.VideoFrame.from_ndarray(image, format="bgr24")
    picture.pts = number
    return picture


def number_of(frame: Frame) -> int:
    return sum(1 << bit for bit in range(BITS) if frame.image[:, 16 * bit + 4 : 16 * bit + 12].mean() > 145)


class NumberingCamera:
    """Streams numbered pictures, a keyframe every second; ``sent_s``: when each left (monotonic)."""

    def __init__(self, camera: HttpCamera) -> None:
        self.sent_s: list[float] = []
        self._camera = camera
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._stream)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(20)

    def _stream(self) -> None:
        file = io.BytesIO()
        with av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as container:
            video = container.add_stream("libx264", rate=FPS)
            video.width, video.height, video.pix_fmt, video.gop_size = 16 * BITS, 96, "yuv420p", FPS
            video.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1"}
            begin_s = time.monotonic()
            while not self._stop.wait(max(0.0, begin_s + len(self.sent_s) / FPS - time.monotonic())):
                for packet in video.encode(numbered(len(self.sent_s))):
                    keyframe = bool(packet.is_keyframe)
                    container.mux(packet)
                    self._camera.write(file.getvalue(), keyframe=keyframe)
                    file.seek(0)
                    file.truncate()
                self.sent_s.append(time.monotonic())


def test_a_decoder_slower_than_the_camera_skips_and_says_how_old_its_pictures_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never, decode = threading.Event(), PictureDecoder.decode

    def slowly(decoder: PictureDecoder, packet: Any) -> Iterator[Any]:
        never.wait(2.5 / FPS)
        return decode(decoder, packet)

    monkeypatch.setattr(PictureDecoder, "decode", slowly)
    server = HttpCamera()
    camera = NumberingCamera(server)
    taken: list[tuple[int, float, float]] = []  # number, how old it is, how old it says to be
    drops: list[int] = []
    with server, camera.running(), VideoSource(server.url, rate_fps=FPS) as source:
        until_s = time.monotonic() + 60
        for item in source:
            now_s = time.monotonic()
            assert now_s < until_s
            if isinstance(item, Frame):
                number = number_of(item)
                taken.append((number, now_s - camera.sent_s[number], now_s - item.monotonic_s))
                drops.append(source.drops.total())
                if camera.sent_s[number] - camera.sent_s[taken[0][0]] > WATCH_S:
                    break
    skips = [index for index in range(1, len(taken)) if taken[index][0] - taken[index - 1][0] > FPS]
    assert skips, "up to a keyframe"
    assert all(said_s > real_s - OPENING_S_MAX for _, real_s, said_s in taken), taken
    assert all(said_s > real_s - 0.5 for _, real_s, said_s in taken[skips[0] :]), taken
    assert all(real_s < AGE_S_MAX + OPENING_S_MAX for _, real_s, _ in taken), "without, it is seven seconds by now"
    last = skips[-1]  # the first picture after a skip: the reader is not ahead of it
    due = taken[last][0] - taken[0][0] + 1
    assert 0.75 * due <= last + 1 + drops[last] - drops[0] <= due + 2, (taken, drops)  # a delay leaves some not due


def lags_s(stamps: list[float | None], came_s: list[float]) -> list[float]:
    clock = StreamClock()
    return [at_s - clock.taken_s(stamp_s, at_s) for stamp_s, at_s in zip(stamps, came_s, strict=True)]


EVEN_S = [index / 10 for index in range(100)]


@pytest.mark.parametrize(
    "stamps",
    [
        [None] * 100,
        [7.0] * 100,
        [stamp_s % 3 for stamp_s in EVEN_S],
        [stamp_s + (50.0 if stamp_s > 5 else 0.0) for stamp_s in EVEN_S],
        [stamp_s - (50.0 if stamp_s > 5 else 0.0) for stamp_s in EVEN_S],
        [2 * stamp_s for stamp_s in EVEN_S],
    ],
    ids=["none", "all the same", "counted over", "set forward", "set back", "too fast"],
)
def test_numbers_that_make_no_sense_make_no_picture_late(stamps: list[float | None]) -> None:
    assert lags_s(stamps, EVEN_S) == pytest.approx([0.0] * 100)


def test_a_packet_is_late_by_as_much_longer_as_it_took_than_the_soonest() -> None:
    held_up_s = [at_s + 0.5 * max(0.0, at_s - 5) for at_s in EVEN_S]
    assert lags_s(list(EVEN_S), held_up_s)[-1] == pytest.approx(0.5 * 4.9, abs=0.02)


def test_a_camera_whose_clock_is_slow_does_not_get_later_and_later() -> None:
    came_s = [float(second) for second in range(7200)]
    assert max(lags_s([at_s * (1 - 1e-4) for at_s in came_s], came_s)) < 0.001


def test_times_never_run_backwards() -> None:
    clock = StreamClock()
    stamps = [0.0, 0.1, None, 5.0, 0.2, 0.3, 0.4, 9.0, 9.1]
    came_s = [1.0, 2.0, 2.05, 2.1, 2.2, 3.0, 3.1, 3.2, 9.0]
    taken_s = [clock.taken_s(stamp_s, at_s) for stamp_s, at_s in zip(stamps, came_s, strict=True)]
    assert taken_s == sorted(taken_s)
    assert all(taken <= came for taken, came in zip(taken_s, came_s, strict=True))


def skipped(stamps: list[float], came_s: list[float]) -> list[bool]:
    """Which packets are skipped, with a keyframe every second (every tenth)."""
    clock = StreamClock()
    catch_up = CatchUp(clock)
    answers = []
    for index, (stamp_s, at_s) in enumerate(zip(stamps, came_s, strict=True)):
        clock.taken_s(stamp_s, at_s)
        answers.append(catch_up.skips(at_s, keyframe=index % 10 == 0))
    return answers


def test_after_a_silence_of_the_network_nothing_is_skipped() -> None:
    came_s = [at_s if at_s < 5 else max(at_s, 8 + (at_s - 5) / 10) for at_s in EVEN_S]
    assert not any(skipped(list(EVEN_S), came_s))


def test_a_camera_whose_numbers_are_too_slow_is_not_believed_for_long() -> None:
    came_s = [index / 10 for index in range(1200)]
    answers = skipped([at_s / 2 for at_s in came_s], came_s)
    assert any(answers)
    assert not any(answers[300:])
