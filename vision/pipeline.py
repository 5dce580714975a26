"""One camera from pictures to violations: source → sight → models → rules → snapshot.

Everything that happens comes out of `Watch.run` as one item; a picture that is lost or not clear is an item too, and no
violation opens or closes while it lasts. How long was really judged is counted and comes out as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from vision.camera_statistics import CameraStatistics
from vision.clip_desk import ClipDesk
from vision.coverage import CoverageLedger
from vision.crew import Crew
from vision.detector import Detector
from vision.frame import Frame
from vision.guard import Guard
from vision.happenings import CameraStatus, ModelChanged, ViolationClosed, ViolationOpened, WatchItem
from vision.packet_ring import PacketRing
from vision.scene import Scene
from vision.sight import SightCheck
from vision.snapshot import annotated_jpeg, raw_jpeg
from vision.source import SourceLost, VideoSource
from vision.violation import Closed, Opened
from vision.watch_settings import WatchSettings
from vision.zones import Masks


class Watch:
    """Watches one camera; *detectors* replace the models of the settings in tests."""

    def __init__(self, settings: WatchSettings, detectors: Sequence[Detector] | None = None) -> None:
        """Raises ModelError or ValueError (CatalogueError is one) for settings that cannot work."""
        self.settings = settings
        self._masks = Masks(settings.masks)
        self._crew = Crew(settings, detectors)
        self._sight = SightCheck()
        self._ledger = CoverageLedger(settings.camera_id, settings.coverage_interval_s)
        self._statistics = CameraStatistics(settings.camera_id)
        self._blind = False
        self._last_s: float | None = None

    def run(self, stop: threading.Event) -> Iterator[WatchItem]:
        """Items until *stop* is set or a file that does not loop ends."""
        settings = self.settings
        # A clip is the camera's own film: it would show what is masked.
        ring = None if self._masks.any or not settings.clip_after_s else PacketRing()
        clips = ClipDesk(ring, settings.clip_before_s, settings.clip_after_s)
        with VideoSource(settings.source, rate_fps=settings.rate_fps, loop=settings.loop, ring=ring) as source:
            for item in source:
                if stop.is_set():
                    return
                if isinstance(item, SourceLost):
                    yield from self.lost("offline: " + item.reason, item.monotonic_s)
                else:
                    for happened in self.judge(item):
                        clips.note(happened, item.monotonic_s)
                        yield happened
                yield from clips.ready(item.monotonic_s)
                if statistics := self._statistics.due(item.monotonic_s, source.dropped):  # blind too: we live
                    yield statistics
        yield from self.finish(datetime.now(UTC))

    def finish(self, at: datetime) -> Iterator[WatchItem]:
        """What there is to say at the end: the coverage since the last report."""
        if self._last_s is not None and (report := self._ledger.take(at, self._last_s)):
            yield report

    def lost(self, reason: str, now_s: float) -> Iterator[WatchItem]:
        """The items of a time without pictures."""
        self._sight.lost()
        at = datetime.now(UTC)
        yield from self._not_seen(reason, at, now_s)
        yield from self._told(at, now_s)

    def judge(self, frame: Frame) -> Iterator[WatchItem]:
        """The items that one picture gives rise to."""
        begun_s = time.monotonic()
        sight = self._sight.look(frame.image, frame.monotonic_s)
        if not sight.clear:
            self._statistics.doubtful += 1
            yield from self._not_seen(sight.reason if sight.blind else "", frame.captured_at, frame.monotonic_s)
        else:
            if self._blind:
                self._blind = False
                yield CameraStatus(self.settings.camera_id, False, "", frame.captured_at)
            yield from self._judge_clear(frame)
            self._statistics.judged_one(begun_s, time.monotonic(), frame.monotonic_s)
        yield from self._told(frame.captured_at, frame.monotonic_s)

    def _told(self, at: datetime, now_s: float) -> Iterator[WatchItem]:
        if self._ledger.is_due(now_s) and (report := self._ledger.take(at, now_s)):
            yield report
        for news in self._crew.news():
            yield ModelChanged(self.settings.camera_id, news.promoted, news.at, news.reason, news.live_sha256)

    def _step(self, at: datetime, now_s: float) -> float:
        """Seconds since the moment before; none may be counted twice or backwards."""
        self._ledger.start(at, now_s)
        step_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        return step_s

    def _not_seen(self, reason: str, at: datetime, now_s: float) -> Iterator[WatchItem]:
        """Nothing is judged. *reason* is empty while it is only a doubt."""
        step_s = self._step(at, now_s)
        self._ledger.count_blind(step_s)
        self._statistics.blind_s += step_s
        for looker in self._crew.lookers:
            looker.forget()
        for guard in self._crew.guards:
            guard.machine.blind()
            if self.settings.times.active(guard.rule.active, at):
                self._ledger.count(guard.code, guard.zone_id, step_s, judged=False)
        if reason and not self._blind:
            self._blind = True
            yield CameraStatus(self.settings.camera_id, True, reason, at)

    def _judge_clear(self, frame: Frame) -> Iterator[WatchItem]:
        now_s, at = frame.monotonic_s, frame.captured_at
        step_s = self._step(at, now_s)
        seen = replace(frame, image=self._masks.cover(frame.image))
        looked = [number for number, looker in enumerate(self._crew.lookers) if looker.is_due(now_s)]
        before = self._scene(seen)
        for number in looked:
            self._crew.lookers[number].look(seen)
        scene = self._scene(seen)
        for guard in self._crew.guards:
            active = self.settings.times.active(guard.rule.active, at)
            if active:
                watched = step_s <= guard.machine.rule.gap_s_max and guard.covers(before) and guard.covers(scene)
                self._ledger.count(guard.code, guard.zone_id, step_s, judged=watched)
            if guard.looker in looked and (outcome := guard.watch(scene, now_s, active=active)):
                yield self._item(guard, outcome, seen)

    def _scene(self, frame: Frame) -> Scene:
        fresh = [looker for looker in self._crew.lookers if looker.is_fresh(frame.monotonic_s)]
        return Scene(
            tuple(item for looker in fresh for item in looker.sightings),
            frozenset(name for looker in fresh for name in looker.classes),
            frame.image.shape[1],
            frame.image.shape[0],
            self._crew.thresholds,
        )

    def _item(self, guard: Guard, outcome: Opened | Closed, frame: Frame) -> ViolationOpened | ViolationClosed:
        camera_id = self.settings.camera_id
        if isinstance(outcome, Closed):
            reason = "recovered" if guard.was_active else "period_over"
            return ViolationClosed(outcome.incident_id, guard.code, guard.zone_id, frame.captured_at, camera_id, reason)
        box = guard.boxes.get(outcome.track_id)
        return ViolationOpened(
            incident_id=outcome.incident_id,
            kind=guard.code,
            zone=guard.zone_id,
            at=frame.captured_at,
            camera_id=camera_id,
            confidence=outcome.confidence,
            track_id=outcome.track_id,
            duration_s=outcome.duration_s,
            snapshot_jpeg=raw_jpeg(frame),
            annotated_jpeg=annotated_jpeg(frame, box, guard.code, outcome.confidence, camera_id),
            model_sha256=self._crew.lookers[guard.looker].detector.sha256,
        )
