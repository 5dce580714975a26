"""What one moment says about one rule in one zone: compliant, violating or unknown, object by object. Pure.

In doubt it is ``unknown``: too small, too faint, cut off, hidden, or a class that nobody looked for lately. An unknown
never opens an incident. What lasts, and what is over, is decided by `vision.violation` over the seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vision.catalogue import DEFAULT_CONFIDENCE, AbsenceRule, PresenceRule, PresentRule, Rule, StateRule, WornRule
from vision.detections import NO_TRACK, Floats
from vision.scene import Scene, Sighting, distance_px, share_within
from vision.violation import Observation, Verdict
from vision.zones import Zone

ZONE_TRACK = 0  # the zone itself is judged by an absence rule; trackers count from 1
ITEM_SHARE_MIN = 0.4  # of an item's area on the part where it is worn
HELD_SHARE_MIN = 0.5  # of a thing's area on its holder
SAME_PLACE_SHARE_MIN = 0.5
HIDDEN_SHARE_MAX = 0.3  # of a part behind somebody who stands nearer
EDGE_PX = 2.0  # a box this near to the edge of the picture is cut off there
# The part of a person's box, as shares of its width and height: left, top, right, bottom. A hat reaches above the box.
PARTS = {"head": (0.1, -0.1, 0.9, 0.25), "torso": (0.0, 0.15, 1.0, 0.65), "whole": (0.0, 0.0, 1.0, 1.0)}


@dataclass(frozen=True)
class Judged:
    """One object, judged; ``xyxy`` is its box, None where the zone itself was judged."""

    observation: Observation
    xyxy: Floats | None


def judge(rule: Rule, scene: Scene, zone: Zone, is_offender: Callable[[int], bool] = lambda _: False) -> list[Judged]:
    """Everything in *zone* that *rule* speaks of. ``is_offender``: whose fainter sight is enough (hysteresis)."""
    if not set(rule.needs) <= scene.looked_for:
        unknown = _subjects(rule, scene, zone)
        return [Judged(Observation(item.track_id, "unknown", item.confidence), item.xyxy) for item in unknown]
    if isinstance(rule, AbsenceRule):
        return [_absence(rule, scene, zone)]
    judged = _turned_away(rule, scene, zone, is_offender)
    for item in _subjects(rule, scene, zone):
        least = least_confidence(rule, item.name, scene.thresholds)
        if rule.keep_confidence is not None and is_offender(item.track_id):
            least = rule.keep_confidence
        verdict: Verdict = "unknown"
        if item.height_px >= rule.min_px and item.confidence >= least:
            verdict = _verdict(rule, item, scene)
        judged.append(Judged(Observation(item.track_id, verdict, item.confidence), item.xyxy))
    return judged


def least_confidence(rule: Rule, name: str, thresholds: Mapping[str, float]) -> float:
    """What a verdict on class *name* needs: the rule's own value, else the model's, else the usual."""
    return rule.confidence if rule.confidence is not None else thresholds.get(name, DEFAULT_CONFIDENCE)


def _is_sure(item: Sighting, rule: Rule, scene: Scene) -> bool:
    return item.confidence >= least_confidence(rule, item.name, scene.thresholds)


def _subjects(rule: Rule, scene: Scene, zone: Zone) -> list[Sighting]:
    return [
        item
        for item in scene.of(rule.subjects)
        if item.track_id != NO_TRACK and zone.holds(item.xyxy, scene.width, scene.height)
    ]


def _turned_away(rule: Rule, scene: Scene, zone: Zone, is_offender: Callable[[int], bool]) -> list[Judged]:
    """Offenders that the model now takes for something the rule does not speak of: they have not recovered by that."""
    return [
        Judged(Observation(item.track_id, "unknown", item.confidence), item.xyxy)
        for item in scene.sightings
        if item.name not in rule.subjects
        and is_offender(item.track_id)
        and zone.holds(item.xyxy, scene.width, scene.height)
    ]


def _verdict(rule: Rule, item: Sighting, scene: Scene) -> Verdict:
    if isinstance(rule, PresentRule):
        return _present(rule, item, scene)
    if isinstance(rule, WornRule):
        return _worn(rule, item, scene)
    if isinstance(rule, StateRule):
        return _state(rule, item, scene)
    assert isinstance(rule, PresenceRule)
    return "violating"


def _present(rule: PresentRule, item: Sighting, scene: Scene) -> Verdict:
    for other in scene.of(rule.confused_with):
        if share_within(item.xyxy, other.xyxy) >= SAME_PLACE_SHARE_MIN and other.confidence >= item.confidence / 2:
            return "unknown"  # a cat where the rat should be: half as sure is doubt enough
    if rule.held_by:
        holders = [other for other in scene.of(rule.held_by) if share_within(item.xyxy, other.xyxy) >= HELD_SHARE_MIN]
        if not any(_is_sure(other, rule, scene) for other in holders):
            return "unknown" if holders else "compliant"  # a telephone that lies on the table
    return "violating"


def _worn(rule: WornRule, item: Sighting, scene: Scene) -> Verdict:
    if not rule.wearer:
        return "violating" if item.name in rule.violating else "compliant"
    part = part_of(item, rule.part)
    worn = [other for other in scene.of(rule.item) if share_within(other.xyxy, part) >= ITEM_SHARE_MIN]
    if any(_is_sure(other, rule, scene) for other in worn):
        return "compliant"
    if worn or _cut_off(part, item, scene) or _hidden(part, item, rule, scene):
        return "unknown"
    return "violating"


def part_of(person: Sighting, part: str) -> Floats:
    """The box where *part* of a person is, in pixels."""
    left, top = person.xyxy[:2]
    shares = PARTS[part]
    size = np.array([person.width_px, person.height_px] * 2, np.float32)
    return np.asarray(np.array([left, top] * 2, np.float32) + np.array(shares, np.float32) * size, np.float32)


def _cut_off(part: Floats, person: Sighting, scene: Scene) -> bool:
    """Whether the edge of the picture may hide what is worn: the person goes on beyond it, or the part does."""
    left, top, right, _ = person.xyxy
    return bool(
        left <= EDGE_PX or top <= EDGE_PX or right >= scene.width - EDGE_PX or part[3] >= scene.height - EDGE_PX
    )


def _hidden(part: Floats, person: Sighting, rule: WornRule, scene: Scene) -> bool:
    """Whether somebody nearer, whose box ends lower, stands before it."""
    return any(
        other is not person and other.xyxy[3] > person.xyxy[3] and share_within(part, other.xyxy) > HIDDEN_SHARE_MAX
        for other in scene.of(rule.wearer)
    )


def _state(rule: StateRule, item: Sighting, scene: Scene) -> Verdict:
    if item.name in rule.compliant:
        return "compliant"
    near = [
        other
        for other in scene.of(rule.unless_near)
        if distance_px(item.xyxy, other.xyxy) <= rule.near_heights * other.height_px
    ]
    if any(_is_sure(other, rule, scene) for other in near):
        return "compliant"
    return "unknown" if near else "violating"


def _absence(rule: AbsenceRule, scene: Scene, zone: Zone) -> Judged:
    there = [item for item in scene.of(rule.classes) if zone.holds(item.xyxy, scene.width, scene.height)]
    sure = [item for item in there if _is_sure(item, rule, scene) and item.height_px >= rule.min_px]
    verdict: Verdict = "compliant" if sure else "unknown" if there else "violating"
    return Judged(Observation(ZONE_TRACK, verdict, 1.0 if not there else max(i.confidence for i in there)), None)
