"""Follows objects from frame to frame: two-stage association by overlap, as ByteTrack does (Zhang et al., 2022).

Confident boxes are matched first, doubtful ones only to tracks that would otherwise be lost. A track moves with
its own smoothed velocity while unseen, for a second at most: a wrong guess shall not carry it away. Ids belong to one
tracker; nothing is shared in the process.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from vision.detections import NO_TRACK, Detections, Floats, Ints, iou_matrix

IOU_MIN = 0.2
VELOCITY_SMOOTHING = 0.5
PREDICTION_S_MAX = 1.0


@dataclass
class _Track:
    track_id: int
    group: int
    xyxy: Floats
    seen_s: float
    velocity: Floats = field(default_factory=lambda: np.zeros(2, np.float32))  # of the centre, pixels per second

    def predicted(self, now_s: float) -> Floats:
        moved = self.velocity * min(now_s - self.seen_s, PREDICTION_S_MAX)
        return np.asarray(self.xyxy + np.tile(moved, 2), np.float32)

    def observe(self, xyxy: Floats, now_s: float) -> None:
        elapsed_s = now_s - self.seen_s
        if elapsed_s > 0:
            fresh = (xyxy.reshape(2, 2).mean(axis=0) - self.xyxy.reshape(2, 2).mean(axis=0)) / elapsed_s
            kept = VELOCITY_SMOOTHING * self.velocity
            self.velocity = np.asarray(kept + (1 - VELOCITY_SMOOTHING) * fresh, np.float32)
        self.xyxy, self.seen_s = xyxy, now_s


class Tracker:
    """One per camera and model; call `update` with each frame's detections.

    A class needs ``confident``, or its own value in ``confident_by_class``, to begin a track. ``groups`` (class →
    group): only classes of one group follow one another on a track, as a bin that is opened; left out, all may.
    ``ids`` gives the numbers, so that the trackers of one camera can share them.
    """

    def __init__(
        self,
        *,
        confident: float = 0.5,
        confident_by_class: Mapping[int, float] | None = None,
        groups: Mapping[int, int] | None = None,
        ids: Iterator[int] | None = None,
        lost_s_max: float = 3.0,
    ) -> None:
        self._confident = confident
        self.confident_by_class = confident_by_class or {}
        self._groups = groups or {}
        self._ids = ids or itertools.count(1)
        self._lost_s_max = lost_s_max
        self._tracks: list[_Track] = []

    def update(self, found: Detections, now_s: float) -> Detections:
        """The same detections with their track ids; doubtful ones that fit no track have -1."""
        self._tracks = [track for track in self._tracks if now_s - track.seen_s <= self._lost_s_max]
        ids = np.full(len(found), NO_TRACK, np.int64)
        least = [self.confident_by_class.get(int(kind), self._confident) for kind in found.class_id]
        is_high = found.confidence >= np.array(least, np.float32)
        high, low = np.flatnonzero(is_high), np.flatnonzero(~is_high)
        free = self._match(found, high, self._tracks, ids, now_s)
        self._match(found, low, free, ids, now_s)
        for index in high[ids[high] == NO_TRACK]:
            ids[index] = next(self._ids)
            self._tracks.append(_Track(int(ids[index]), self._group(found.class_id[index]), found.xyxy[index], now_s))
        return found.tracked(ids)

    def _group(self, class_id: np.int64) -> int:
        return self._groups.get(int(class_id), 0)

    def _match(
        self, found: Detections, candidates: Ints, tracks: list[_Track], ids: Ints, now_s: float
    ) -> list[_Track]:
        """Greedy matching, best overlap first; fills *ids* and returns the tracks left over."""
        if not tracks or not len(candidates):
            return tracks
        predicted = np.stack([track.predicted(now_s) for track in tracks])
        overlap = iou_matrix(predicted, found.xyxy[candidates])
        if self._groups:
            mine = np.array([self._group(kind) for kind in found.class_id[candidates]])
            overlap[np.array([track.group for track in tracks])[:, None] != mine[None]] = 0
        taken: set[int] = set()
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            row, column = divmod(int(flat), len(candidates))
            if overlap[row, column] < IOU_MIN:
                break
            index = int(candidates[column])
            if row in taken or ids[index] != NO_TRACK:
                continue
            taken.add(row)
            tracks[row].observe(found.xyxy[index], now_s)
            ids[index] = tracks[row].track_id
        return [track for row, track in enumerate(tracks) if row not in taken]
