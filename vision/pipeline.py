"""One camera from pictures to violations: sight → models → rules → snapshot.

Everything that happens comes out of `Watch.judge` and `Watch.lost` as items; a picture that is lost or not clear is an
item too, and no violation opens or closes while it lasts. How long was really judged is counted and comes out as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from vision.camera_statistics import CameraStatistics
from vision.coverage import CoverageLedger
from vision.crew import Crew, tell_nobody
from vision.detector import Detector
from vision.frame import Frame
from vision.guard import Guard
from vision.happenings import CameraStatus, CandidateOff, ModelChanged, ViolationClosed, ViolationOpened, WatchItem
from vision.looks import LookDesk
from vision.model_shelf import ModelShelf
from vision.scene import Scene
from vision.sight_memory import SightMemory
from vision.snapshot import annotated_jpeg, raw_jpeg, share_of_picture
from vision.violation import Closed, Opened
from vision.watch_settings import WatchSettings
from vision.zones import Masks


class Watch:
    """Watches one camera; *detectors* replace the models of the settings in tests. Cameras may share a *shelf*."""

    def __init__(
        self,
        settings: WatchSettings,
        detectors: Sequence[Detector] | None = None,
        shelf: ModelShelf | None = None,
        in_shadow: Callable[[int], Callable[[bool], None]] = tell_nobody,
    ) -> None:
        """Raises ModelError or ValueError (CatalogueError is one) for settings that cannot work."""
        self.settings = settings
        self._masks = Masks(settings.masks)
        self._crew = Crew(settings, detectors, shelf, in_shadow)
        self._memory = SightMemory(settings)
        self._sight = self._memory.sight
        self._ledger = CoverageLedger(settings.camera_id, settings.coverage_interval_s)
        self.statistics = CameraStatistics(settings.camera_id)
        self.looks = LookDesk(settings.camera_id)
        self._blind = settings.blind
        self._last_s: float | None = None
        self._size: tuple[int, ...] | None = None  # height and width of the last picture

    def finish(self) -> Iterator[WatchItem]:
        """What there is to say at the end: the coverage since the last report."""
        self._ledger.settle(math.inf)
        if report := self._ledger.take(self._crew.models):
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
        self._take_size(frame)
        sight = self._sight.look(frame.image, frame.monotonic_s, frame.keyframe)
        if sight.blind and sight.reason == "frozen":
            self._ledger.take_back()
        if not sight.clear:
            self.statistics.doubtful += 1
            yield from self._not_seen(sight.reason if sight.blind else "", frame.captured_at, frame.monotonic_s)
        else:
            if self._blind:
                self._blind = False
                yield CameraStatus(self.settings.camera_id, False, "", frame.captured_at)
            self._memory.keep(frame.monotonic_s)
            yield from self._judge_clear(frame)
            self.statistics.judged_one(begun_s, time.monotonic(), frame.monotonic_s)
        yield from self._told(frame.captured_at, frame.monotonic_s)

    def _take_size(self, frame: Frame) -> None:
        """After a reconnection pictures may have another size: boxes and half-made judgements are of the old one."""
        size = frame.image.shape[:2]
        if self._size is not None and size != self._size:
            for looker in self._crew.lookers:
                looker.begin_anew()
            for guard in self._crew.guards:
                guard.machine.blind()
        self._size = size

    def _told(self, at: datetime, now_s: float) -> Iterator[WatchItem]:
        self._ledger.settle(self._sight.alive_s(now_s))
        if self._ledger.is_due() and (report := self._ledger.take(self._crew.models)):
            yield report
        for news in self._crew.news():
            yield ModelChanged(
                self.settings.camera_id, news.promoted, news.at, news.reason, news.live_sha256, news.other_sha256
            )
        for refusal in self._crew.refusals():
            yield CandidateOff(self.settings.camera_id, at, refusal.reason, refusal.sha256)

    def _step(self, at: datetime, now_s: float) -> float:
        """Seconds since the moment before; none may be counted twice or backwards."""
        step_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        self._ledger.step(at, now_s, step_s)
        return step_s

    def _not_seen(self, reason: str, at: datetime, now_s: float) -> Iterator[WatchItem]:
        """Nothing is judged. *reason* is empty while it is only a doubt."""
        step_s = self._step(at, now_s)
        self._ledger.count_blind()
        self.statistics.blind_s += step_s
        for looker in self._crew.lookers:
            looker.forget()
        for guard in self._crew.guards:
            guard.machine.blind()
            if self.settings.times.active(guard.rule.active, at):
                self._ledger.count(guard.code, guard.zone_id, judged=False)
        yield from self.looks.miss(self._crew, at, now_s)
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
                self._ledger.count(guard.code, guard.zone_id, judged=watched)
            if guard.looker in looked and (outcome := guard.watch(scene, now_s, active=active)):
                yield self._item(guard, outcome, seen)
        yield from self.looks.see(seen, self._crew, step_s)

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
        shared = self._crew.share(frame)
        drawn = replace(frame, image=shared.image)
        height, width = frame.image.shape[:2]
        return ViolationOpened(
            incident_id=outcome.incident_id,
            kind=guard.code,
            zone=guard.zone_id,
            at=frame.captured_at,
            camera_id=camera_id,
            confidence=outcome.confidence,
            track_id=outcome.track_id,
            duration_s=outcome.duration_s,
            original_jpeg=raw_jpeg(frame),
            snapshot_jpeg=raw_jpeg(drawn),
            annotated_jpeg=annotated_jpeg(drawn, box, guard.code, outcome.confidence, camera_id),
            faces=shared.faces,
            model_sha256=self._crew.lookers[guard.looker].detector.sha256,
            box=None if box is None else share_of_picture(box, width, height),
        )
