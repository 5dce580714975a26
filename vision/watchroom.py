"""Several cameras before one watcher: readers decode beside each other, one loop judges, one model is in memory.

A picture is judged when its camera's turn comes (`vision.scheduler`); a loss, statistics and films do not wait for a
turn. Nothing that one camera sends or fails to send holds up another's pictures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from vision.clip_desk import ClipDesk
from vision.crumbs import Crumbs
from vision.frame import Frame
from vision.happenings import RecordingChanged, WatchItem
from vision.packet_ring import PacketRing
from vision.packet_tap import PacketTap
from vision.pipeline import Watch
from vision.recording import RecordedRing, Recording
from vision.scheduler import Scheduler
from vision.source import VideoSource

TICK_S = 0.5  # how late a stop or a statistic may be noticed


class Station:
    """One camera's source, film and judge."""

    def __init__(
        self,
        watch: Watch,
        ready: threading.Condition,
        reading: Callable[[bool], None],
        judging: Callable[[bool], None],
    ) -> None:
        settings = watch.settings
        # A clip is the camera's own film: it shows what is masked.
        films = settings.clip_after_s > 0 and (settings.masked_films or not settings.masks)
        self.recording = Recording(settings.recording) if films and settings.recording else None
        ring = (RecordedRing(self.recording) if self.recording else PacketRing()) if films else None
        apart = bool(ring and settings.clip_source and settings.clip_source != settings.source)
        self.tap = PacketTap(settings.clip_source, ring, loop=settings.loop) if ring and apart else None
        self.source = VideoSource(
            settings.source, rate_fps=settings.rate_fps, loop=settings.loop, ring=None if apart else ring, ready=ready,
            at_work=reading, keyframes_only=settings.keyframes_only, hardware=settings.hardware,
        )  # fmt: skip
        self._watch = watch
        self._clips = ClipDesk(ring, settings.clip_before_s, settings.clip_after_s)
        self._judging = judging

    def take(self, now_s: float) -> Iterator[WatchItem]:
        """What comes of the latest picture, or of none having come."""
        item = self.source.take(now_s)
        if isinstance(item, Frame):
            self._judging(True)
            for happened in self._watch.judge(item):
                self._judging(False)  # what is done with it is not this camera's doing
                self._clips.note(happened, item.monotonic_s)
                yield happened
                self._judging(True)
            self._judging(False)
        elif item is not None:
            yield from self._watch.lost("offline: " + item.reason, item.monotonic_s)

    def tick(self, now_s: float) -> Iterator[WatchItem]:
        """What is due by the clock, pictures or not."""
        yield from self._clips.ready(now_s)
        yield from self._watch.looks.films(self._clips.ring, self.recording, datetime.now(UTC), now_s)
        while self.recording is not None and self.recording.changes:
            change = self.recording.changes.popleft()
            yield RecordingChanged(self._watch.settings.camera_id, datetime.now(UTC), change.on, change.reason)
        if statistics := self._watch.statistics.due(now_s, self.source.drops):
            yield statistics

    def finish(self) -> Iterator[WatchItem]:
        yield from self._watch.finish(datetime.now(UTC))


def check_source(watch: Watch) -> None:
    """Raises ValueError for a camera whose address, rate or hardware cannot work."""
    Station(watch, threading.Condition(), lambda _: None, lambda _: None)


def watch_cameras(watches: Sequence[Watch], stop: threading.Event, crumbs: Crumbs | None = None) -> Iterator[WatchItem]:
    """Items of all cameras, each with its camera's id, until *stop* is set or all films that do not loop are over."""
    ready = threading.Condition()
    names = [watch.settings.camera_id for watch in watches]
    crumbs = crumbs or Crumbs(None, names)
    stations = [
        Station(watch, ready, crumbs.of_reader(name), crumbs.of_judge(name))
        for watch, name in zip(watches, names, strict=True)
    ]
    with ExitStack() as stack:
        for station in stations:
            if station.recording is not None:
                stack.enter_context(station.recording)
            stack.enter_context(station.source)
            if station.tap is not None:
                stack.enter_context(station.tap)
        stack.callback(_stop_all, stations)  # at once, before any is waited for
        yield from _watch(stations, ready, stop)
    if not stop.is_set():
        for station in stations:
            yield from station.finish()


def _stop_all(stations: Sequence[Station]) -> None:
    for station in stations:
        station.source.stop()
        if station.tap is not None:
            station.tap.stop.set()


def _watch(stations: Sequence[Station], ready: threading.Condition, stop: threading.Event) -> Iterator[WatchItem]:
    scheduler = Scheduler([station.source.interval_s for station in stations])
    while not stop.is_set() and not all(station.source.ended for station in stations):
        _wait(stations, ready)
        now_s = time.monotonic()
        for station in stations:
            if now_s >= station.source.lost_at_s and not station.source.has_picture():
                yield from station.take(now_s)
        waiting = [number for number, station in enumerate(stations) if station.source.has_picture()]
        if (chosen := scheduler.choose(waiting, now_s)) is not None:
            yield from stations[chosen].take(now_s)
        for station in stations:
            yield from station.tick(time.monotonic())


def _wait(stations: Sequence[Station], ready: threading.Condition) -> None:
    """Until a picture is there, a camera counts as lost, or TICK_S is over."""
    open_stations = [station for station in stations if not station.source.ended]
    patience_s = min(station.source.lost_at_s for station in open_stations) - time.monotonic()
    with ready:
        ready.wait_for(
            lambda: any(station.source.has_picture() for station in stations), min(TICK_S, max(0.0, patience_s))
        )
