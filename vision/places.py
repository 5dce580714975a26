"""Objects by their places: a bin that somebody hid for some seconds is still that bin, although its track is another.

For rules on states that last. A new track goes on with an object that is not seen at the moment, where it stands on
its place or, for what flickers, within reach of it. Two that are seen at once are always two. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from vision.detections import NO_TRACK, Floats, iou_matrix
from vision.scene import Scene, Sighting, distance_px

SAME_PLACE_IOU_MIN = 0.2  # as the tracker's


@dataclass
class _Object:
    track_id: int  # whose sights are this object's now
    xyxy: Floats
    seen_s: float


class Places:
    """One per rule and zone. An object is called by the id of its first track.

    ``grace_s``: so long it may be unseen. ``reach``: how far from its place it may come back, in its own larger sides.
    """

    def __init__(self, grace_s: float, reach: float = 0.0) -> None:
        self._grace_s = grace_s
        self._reach = reach
        self._objects: dict[int, _Object] = {}

    def name(self, scene: Scene, subjects: Iterable[str], now_s: float) -> Scene:
        """*scene* with the tracks of the *subjects* called by their objects."""
        self._objects = {key: item for key, item in self._objects.items() if now_s - item.seen_s <= self._grace_s}
        wanted, known = set(subjects), {item.track_id for item in self._objects.values()}
        seen = {
            item.track_id: item
            for item in scene.sightings
            if item.track_id in known or (item.name in wanted and item.track_id != NO_TRACK)
        }
        named = self._known(seen)
        self._join([track_id for track_id in seen if track_id not in named], seen, named)
        for track_id, key in named.items():
            self._objects[key] = _Object(track_id, seen[track_id].xyxy, now_s)
        renamed = [
            replace(item, track_id=named[item.track_id]) if item is seen.get(item.track_id) else item
            for item in scene.sightings
        ]
        return replace(scene, sightings=tuple(renamed))

    def _known(self, seen: dict[int, Sighting]) -> dict[int, int]:
        """Track → object. A track that comes back takes its own object from the one that went on with it."""
        named = {track_id: track_id for track_id in seen if track_id in self._objects}
        taken = set(named.values())
        for key, item in self._objects.items():
            if item.track_id in seen and item.track_id not in named and key not in taken:
                named[item.track_id] = key
        return named

    def _join(self, new: list[int], seen: dict[int, Sighting], named: dict[int, int]) -> None:
        """Give the *new* tracks the objects that nobody shows, the best match first, else objects of their own."""
        hidden = set(self._objects) - set(named.values())
        pairs = [(self._match(self._objects[key].xyxy, seen[track_id].xyxy), track_id, key)
                 for track_id in new for key in hidden]  # fmt: skip
        for match, track_id, key in sorted(pairs, reverse=True):
            if match > 0 and track_id not in named and key in hidden:
                named[track_id] = key
                hidden.remove(key)
        for track_id in new:
            named.setdefault(track_id, track_id)

    def _match(self, before: Floats, now: Floats) -> float:
        """Above 1 on the same place, up to 1 within reach, 0 elsewhere."""
        overlap = float(iou_matrix(before[None], now[None])[0, 0])
        if overlap >= SAME_PLACE_IOU_MIN:
            return 1 + overlap
        reach_px = self._reach * float(max(before[2:] - before[:2]))
        return max(0.0, 1 - distance_px(before, now) / reach_px) if reach_px > 0 else 0.0
