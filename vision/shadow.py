"""A candidate model beside the live one: it sees a share of the same pictures, and nobody waits for it.

The live thread only hands over a picture and what it saw in it. One thread of low priority runs the candidate, one
picture at a time, and rests after each until its CPU time is back under its bound; a picture that finds it busy is
skipped and counted. After a promotion the two have changed places: the former model is the shadow, and when the two
differ too often, the rate falls or the camera process does not live, the promotion is taken back. A candidate with
which the process dies in native code is turned off (`shadow_refused`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vision.detections import Detections, Floats
from vision.frame import Frame, Image
from vision.manifest import ModelError, ModelManifest
from vision.shadow_counts import Comparison, Seen, ShadowCounts, compare, wilson
from vision.shadow_folder import Decision, Refusal, ShadowFolder

if TYPE_CHECKING:
    from vision.detector import Detector
    from vision.looker import LoadedModel
    from vision.watch_settings import ModelUse, ShadowUse

logger = logging.getLogger(__name__)
LOOK_S = 2.0  # between two looks at the decision
SAVE_S = 10.0
WINDOW = 200  # comparisons, and pictures of the rate, that a rollback is decided on
RATE_SHARE_MIN = 0.7  # of the rate before the promotion
STARTS_MAX = 3  # starts of the camera process in a row that did not last LASTED_S
LASTED_S = 60.0
CROP_PX_MAX = 640
NICE = 5  # not the lowest: while it holds the interpreter's lock, the live thread waits for it


@dataclass(frozen=True)
class ModelChange:
    """The candidate became the live model, or the former one is it again."""

    promoted: bool
    at: datetime
    reason: str
    live_sha256: str
    other_sha256: str


def current_use(use: ModelUse, folder: Path | None, number: int) -> ModelUse:
    """*use* with the two models in their places by the decision in force; called once at each start.

    An order to make the candidate live is carried out here. A promoted model with which the process did not live
    STARTS_MAX times in a row is taken back here.
    """
    if use.shadow is None or folder is None:
        return use
    kept = ShadowFolder(folder / str(number))
    decision = _decision(use, use.shadow, kept)
    if decision is None or not decision.promoted or decision.live_sha256 != sha256_of(use.shadow.path):
        return use
    if decision.starts >= STARTS_MAX:
        reason = f"the camera process ended {decision.starts} times in a row"
        kept.decide(replace(turned(decision, "automatic", reason), announced=False))
        return use
    kept.decide(replace(decision, starts=decision.starts + 1), told=False)
    return replace(use, path=use.shadow.path, shadow=replace(use.shadow, path=use.path))


def shadow_refused(use: ModelUse, folder: ShadowFolder, *, crashed: bool) -> Refusal | None:
    """Why the candidate of *use* must not be loaded; None when it may. *crashed*: it ended the process again and again.

    The same bytes in a new release are tried anew: what they ran on may have been the fault, and somebody asks for it.
    Raises ModelError for a candidate without a manifest.
    """
    assert use.shadow is not None
    sha256 = sha256_of(use.shadow.path)
    if not crashed:
        return folder.refusal(sha256, use.shadow.release)
    reason = "the camera process died inside of it more than once"
    refusal = Refusal(sha256, datetime.now(UTC).isoformat(), reason, use.shadow.release)
    logger.warning("candidate %s is off: %s", use.shadow.path.name, reason)
    try:
        folder.refuse(refusal)
    except OSError as error:  # it is off for this run all the same
        logger.warning("that %s is off cannot be noted: %s", use.shadow.path.name, error)
    return refusal


def _decision(use: ModelUse, shadow: ShadowUse, kept: ShadowFolder) -> Decision | None:
    """The one in force; an order that was not carried out yet makes a new one."""
    found = kept.decision()
    if not shadow.live_by or (found is not None and found.order == shadow.live_by):
        return found
    ordered = Decision(
        sha256_of(shadow.path), sha256_of(use.path), promoted=True, at=datetime.now(UTC).isoformat(), by="order",
        reason=f"order {shadow.live_by}", rate_fps=shadow.rate_fps_before, announced=False, order=shadow.live_by,
    )  # fmt: skip
    kept.decide(ordered)
    return ordered


def sha256_of(path: Path) -> str:
    """Of a model, by its manifest; raises ModelError."""
    return ModelManifest.load(path).sha256


def turned(before: Decision, by: str, reason: str, rate_fps: float = 0.0) -> Decision:
    """The decision that gives the two models each other's place."""
    assert by in ("person", "automatic")
    return Decision(
        before.other_sha256, before.live_sha256, not before.promoted, datetime.now(UTC).isoformat(),
        "person" if by == "person" else "automatic", reason, rate_fps, order=before.order,
    )  # fmt: skip


def check_pair(use: ModelUse, live: Detector, other: Detector) -> None:
    """Raises ValueError unless the shadow of *use* could take its model's place, and is another one."""
    assert use.shadow is not None
    if live.names != other.names:
        raise ValueError(f"{use.shadow.path}: a shadow needs the classes of {use.path}, with the same numbers")
    if live.sha256 == other.sha256:
        raise ValueError(f"{use.shadow.path}: is the same model as {use.path}; give the candidate")


@dataclass(frozen=True)
class _Pair:
    """Both models and what is counted of them; replaced whole, so that the two threads need no lock."""

    use: ModelUse
    live: LoadedModel
    other: LoadedModel
    counts: ShadowCounts = field(default_factory=ShadowCounts)
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))

    @property
    def digests(self) -> tuple[str, str]:
        return self.live.detector.sha256, self.other.detector.sha256


class Shadow:
    """One candidate on one model of one camera.

    ``swap`` makes a model the live one, on the live thread; ``see`` looks with a detector as the live one is used;
    ``at_work`` is told when the candidate goes into native code and when it is out of it.
    """

    def __init__(
        self,
        use: ModelUse,
        live: LoadedModel,
        other: LoadedModel,
        folder: ShadowFolder,
        swap: Callable[[ModelUse], tuple[LoadedModel, LoadedModel]],
        see: Callable[[Detector, Image], Detections],
        look_s: float = LOOK_S,
        at_work: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """*use* is the one in force. Raises ValueError unless both models have the same classes."""
        check_pair(use, live.detector, other.detector)
        pair = _Pair(use, live, other)
        if folder.state().get("models") == list(pair.digests):
            pair = replace(pair, counts=folder.counts())
        decision = folder.decision()
        known = decision is not None and {decision.live_sha256, decision.other_sha256} == set(pair.digests)
        self._pair, self._folder, self._swap, self._see, self._look_s = pair, folder, swap, see, look_s
        self._at_work = at_work
        self._decision = decision if known else None
        self._refused: Decision | None = None  # whose model could not be loaded
        self._taken: deque[float] = deque(maxlen=WINDOW)
        self._owed = 0.0
        self._looked_s = self._saved_s = self._began_s = time.monotonic()
        self._lasted = self._mute = False
        self._slot: tuple[Frame, Detections] | None = None
        self._free, self._work = threading.Event(), threading.Event()
        self.news: deque[ModelChange] = deque(maxlen=16)
        if self._decision is not None and not self._decision.announced:
            self._announce(self._decision)
            self._put(replace(self._decision, announced=True), told=False)
        self._free.set()
        self._failures = _failures()
        threading.Thread(target=self._run, name="shadow", daemon=True).start()

    def offer(self, frame: Frame, found: Detections) -> None:
        """On the live thread, after each look of the live model: never waits."""
        self._taken.append(frame.monotonic_s)
        self._owed += self._share.share
        if self._owed >= 1:
            self._owed -= 1
            if self._free.is_set():
                self._free.clear()
                self._slot = (frame, found)
                self._work.set()
            else:
                self._pair.counts.skipped += 1
        now_s = time.monotonic()
        if now_s - self._looked_s >= self._look_s:
            self._looked_s = now_s
            self._decide(now_s)

    @property
    def _share(self) -> ShadowUse:
        assert self._pair.use.shadow is not None
        return self._pair.use.shadow

    @property
    def rate_fps(self) -> float:
        """Pictures that the live model judged a second, lately; by the median pause: a blind time does not count."""
        taken = list(self._taken)
        pauses = [later - earlier for earlier, later in pairwise(taken)]
        return 1 / pause if pauses and (pause := median(pauses)) > 0 else 0.0

    def _decide(self, now_s: float) -> None:
        """Follow the decision on the disk; take a promotion back that went wrong."""
        found = self._folder.decision()
        if not self._lasted and now_s - self._began_s >= LASTED_S:
            self._lasted = True
            if found is not None and found.starts:
                self._put(replace(found, starts=0), told=False)
        wanted = (found.live_sha256, found.other_sha256) if found else ()
        if found is not None and wanted == self._pair.digests[::-1] and found != self._refused:
            self._turn(found)
        elif self._decision is not None and self._decision.promoted and (reason := self._wrong(self._decision)):
            decision = turned(self._decision, "automatic", reason)
            if self._put(decision, told=True):
                self._turn(decision)

    def _wrong(self, decision: Decision) -> str:
        """Why the promotion shall be taken back; empty while it stands."""
        recent, bound = list(self._pair.recent), self._share.disagreement_max
        differ = recent.count(False)
        if len(recent) >= WINDOW // 4 and wilson(differ, len(recent))[0] > bound:
            return f"{differ} of {len(recent)} pictures differ from the former model, more than {bound:.0%}"
        if len(self._taken) == WINDOW and self.rate_fps < RATE_SHARE_MIN * decision.rate_fps:
            return f"{self.rate_fps:.2f} pictures a second instead of {decision.rate_fps:.2f}"
        return ""

    def _turn(self, decision: Decision) -> None:
        use = replace(self._pair.use, path=self._share.path, shadow=replace(self._share, path=self._pair.use.path))
        try:
            live, other = self._swap(use)
        except ModelError as error:
            self._refused = decision
            logger.warning("the models do not change places: %s", error)
            return
        self._pair, self._decision = _Pair(use, live, other), decision
        self._taken.clear()
        self._announce(decision)

    def _announce(self, decision: Decision) -> None:
        name = self._pair.use.path.name
        self.news.append(ModelChange(decision.promoted, datetime.now(UTC), decision.reason, *self._pair.digests))
        logger.warning("model %s is live now: %s", name, decision.reason or decision.by)

    def _put(self, decision: Decision, *, told: bool) -> bool:
        """Whether *decision* is on the disk; a full disk stops no watch."""
        try:
            self._folder.decide(decision, told=told)
        except OSError as error:
            self._complain(error)
            return False
        self._decision = decision
        return True

    def _complain(self, error: OSError) -> None:
        if not self._mute:
            logger.warning("the shadow's figures cannot be written: %s", error)
        self._mute = True

    def _run(self) -> None:
        """The shadow's own thread, for ever."""
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            self._work.wait()
            self._work.clear()
            slot = self._slot
            assert slot is not None
            used_s = self._look(*slot)
            time.sleep(used_s * (1 / self._share.cpu_share - 1))
            self._free.set()

    def _look(self, frame: Frame, found: Detections) -> float:
        """Compare one picture; the seconds of CPU that it took."""
        pair, begun_s = self._pair, time.thread_time()
        self._at_work(True)
        try:
            theirs = self._see(pair.other.detector, frame.image)
        except self._failures as error:  # a candidate must not end the watch
            pair.counts.errors += 1
            logger.debug("the candidate failed on a picture: %s", error)
            return time.thread_time() - begun_s
        finally:
            self._at_work(False)
        names = pair.live.detector.names
        result = compare(Seen.of(found, names, pair.live.thresholds), Seen.of(theirs, names, pair.other.thresholds))
        pair.counts.add(result)
        pair.counts.cpu_s += time.thread_time() - begun_s
        pair.recent.append(result.agrees)
        self._save(frame, result, pair)
        return time.thread_time() - begun_s

    def _save(self, frame: Frame, result: Comparison, pair: _Pair) -> None:
        counts, models = pair.counts, list(pair.digests)
        try:
            if not result.agrees:
                said = {
                    side: [{"class": name, "xyxy": [round(float(v), 1) for v in box]} for name, box in boxes]
                    for side, boxes in (("only_live", result.only_live), ("only_candidate", result.only_other))
                }
                boxes = [box for _, box in (*result.only_live, *result.only_other)]
                self._folder.keep(frame.captured_at, _crop_jpeg(frame.image, boxes), {**said, "models": models})
            if counts.pictures == 1 or time.monotonic() - self._saved_s >= SAVE_S:
                self._saved_s = time.monotonic()
                self._folder.save_counts(counts, models=models, rate_fps=round(self.rate_fps, 2))
        except OSError as error:
            self._complain(error)
        else:
            self._mute = False


def _failures() -> tuple[type[Exception], ...]:
    """What a model may raise on a picture."""
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals

    return (ModelError, refusals.Fail, refusals.InvalidArgument, refusals.RuntimeException, refusals.NotImplemented)


def _crop_jpeg(image: Image, boxes: list[Floats]) -> bytes:
    """The part of *image* in which the boxes lie, with a margin, at most CROP_PX_MAX wide or high."""
    left, top = np.min([box[:2] for box in boxes], axis=0)
    right, bottom = np.max([box[2:] for box in boxes], axis=0)
    margin = 0.25 * max(right - left, bottom - top)
    height, width = image.shape[:2]
    x1, y1 = max(0, int(left - margin)), max(0, int(top - margin))
    x2, y2 = min(width, int(right + margin) + 1), min(height, int(bottom + margin) + 1)
    part = image[y1:y2, x1:x2]
    scale = min(1.0, CROP_PX_MAX / max(part.shape[:2]))
    if scale < 1:
        part = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.imencode(".jpg", part)[1]).tobytes()
