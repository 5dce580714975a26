"""Several cameras before one watcher: readers decode beside each other, judges look, one model is in memory.

A picture is judged when its camera's turn comes (`vision.scheduler`) and a judge, a thread each, is free; a camera is
with one judge at a time. A loss, statistics and films do not wait for a turn. Nothing that one camera sends or fails to
send holds up another's pictures. What happens comes out in the thread of whoever iterates.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

    def take(self, now_s: float) -> list[WatchItem]:
        """What comes of the latest picture, or of none having come, and what is due by the clock after it."""
        happened: list[WatchItem] = []
        item = self.source.take(now_s)
        if isinstance(item, Frame):
            self._judging(True)
            happened += self._watch.judge(item)
            self._judging(False)  # after an error it stays so: then the camera is the suspect
            for one in happened:
                self._clips.note(one, item.monotonic_s)
        elif item is not None:
            happened += self._watch.lost("offline: " + item.reason, item.monotonic_s)
        return [*happened, *self.tick(time.monotonic())]

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
        yield from self._watch.finish()


def check_source(watch: Watch) -> None:
    """Raises ValueError for a camera whose address, rate or hardware cannot work."""
    Station(watch, threading.Condition(), lambda _: None, lambda _: None)


def watch_cameras(
    watches: Sequence[Watch], stop: threading.Event, crumbs: Crumbs | None = None, *, judges: int = 1
) -> Iterator[WatchItem]:
    """Items of all cameras, each with its camera's id, until *stop* is set or all films that do not loop are over.

    So many *judges* look at once, each at another camera.
    """
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
        yield from Judges(stations, ready, judges).watch(stop)
    if not stop.is_set():
        for station in stations:
            yield from station.finish()


def share_cores(cores: int, cameras: int) -> tuple[int, int]:
    """How many judges, and threads of one inference: two judges of one thread do more than one of two."""
    judges = min(cores, cameras)
    return judges, cores // judges


def _stop_all(stations: Sequence[Station]) -> None:
    for station in stations:
        station.source.stop()
        if station.tap is not None:
            station.tap.stop.set()


class Judges:
    """*count* threads, and with which of the *stations* they are; *ready* is notified when there may be work."""

    def __init__(self, stations: Sequence[Station], ready: threading.Condition, count: int) -> None:
        self._stations = stations
        self._ready = ready
        self._count = count
        self._scheduler = Scheduler([station.source.interval_s for station in stations])
        self._judged: dict[int, Future[list[WatchItem]]] = {}  # what is under way, by the station's number

    def watch(self, stop: threading.Event) -> Iterator[WatchItem]:
        """What happens, until *stop* is set or all sources have ended."""
        with ThreadPoolExecutor(self._count, "judge") as pool:
            while not stop.is_set() and not all(station.source.ended for station in self._stations):
                self._wait()
                yield from self._results(lambda future: future.done())
                now_s = time.monotonic()
                for station in self._idle().values():
                    if now_s >= station.source.lost_at_s and not station.source.has_picture():
                        yield from station.take(now_s)
                self._begin(pool, now_s)
                for station in self._idle().values():
                    yield from station.tick(time.monotonic())
            yield from self._results(lambda future: True)

    def _idle(self) -> dict[int, Station]:
        """Those that no judge is with."""
        return {number: one for number, one in enumerate(self._stations) if number not in self._judged}

    def _waiting(self) -> list[int]:
        """Those that a free judge could go to."""
        if len(self._judged) >= self._count:
            return []
        return [number for number, station in self._idle().items() if station.source.has_picture()]

    def _begin(self, pool: ThreadPoolExecutor, now_s: float) -> None:
        while (chosen := self._scheduler.choose(self._waiting(), now_s)) is not None:
            self._judged[chosen] = pool.submit(self._stations[chosen].take, now_s)
            self._judged[chosen].add_done_callback(self._wake)

    def _results(self, wanted: Callable[[Future[list[WatchItem]]], bool]) -> Iterator[WatchItem]:
        """What came of the *wanted* judgements; raises what went wrong in one."""
        for number in [number for number, future in self._judged.items() if wanted(future)]:
            yield from self._judged.pop(number).result()

    def _wake(self, _: Future[list[WatchItem]]) -> None:
        with self._ready:
            self._ready.notify_all()

    def _wait(self) -> None:
        """Until a judge is done, or free and a picture there, a camera counts as lost, or TICK_S is over."""
        lost_at_s = [station.source.lost_at_s for station in self._idle().values() if not station.source.ended]
        patience_s = min(lost_at_s, default=math.inf) - time.monotonic()
        with self._ready:
            self._ready.wait_for(
                lambda: any(future.done() for future in self._judged.values()) or bool(self._waiting()),
                min(TICK_S, max(0.0, patience_s)),
            )
