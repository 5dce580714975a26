"""Decides in seconds, not in frames, when a violation is confirmed and when it is over. Pure: time comes in.

Per track, the last ``dwell_s`` seconds count, each judged observation for the time since the frame before it; a head
too small to judge is unknown and counts neither way. One incident per camera, kind and zone, from confirmation until
``recover_s`` of unbroken sight without a violation; time in which an offender's head is merely unknown does not count
as recovery. For ``cool_down_s`` after it the next one is not announced, only judged. While the camera cannot see,
nothing opens and nothing closes.
"""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["compliant", "violating", "unknown"]
GAP_S_MAX = 2.0  # for cameras of a picture a second or more; slower ones say their own
JUDGED_SHARE_MIN = 0.5  # of ``dwell_s``: two glimpses, one at each end, confirm nothing
ROUNDING_S = 1e-6


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Observation:
    """One tracked object in one frame, judged for one kind of violation."""

    track_id: int
    verdict: Verdict
    confidence: float


@dataclass(frozen=True)
class ViolationRule:
    """``window_share`` of a track's judged time within ``dwell_s`` must violate. ``gap_s_max``: a longer pause between
    two observations is time not watched."""

    kind: str
    dwell_s: float
    recover_s: float
    window_share: float
    cool_down_s: float = 0.0
    gap_s_max: float = GAP_S_MAX

    def __post_init__(self) -> None:
        if self.cool_down_s < 0 or self.gap_s_max <= 0:
            raise ValueError("cool_down_s must not be below 0, gap_s_max must be above 0")
        if self.dwell_s <= 0 or self.recover_s <= 0 or not 0 < self.window_share <= 1:
            raise ValueError("dwell_s and recover_s must be above 0, window_share above 0 and at most 1")


@dataclass(frozen=True)
class Opened:
    """The violation is confirmed on this track."""

    incident_id: str
    track_id: int
    duration_s: float
    confidence: float


@dataclass(frozen=True)
class Closed:
    """The violation has not been seen for ``recover_s`` of sight."""

    incident_id: str


@dataclass(frozen=True)
class _Judged:
    at_s: float
    lasted_s: float
    violating: bool
    confidence: float


@dataclass
class ViolationMachine:
    """One per camera, kind and zone; ``incident_id`` is the open incident, given at restart to resume it."""

    rule: ViolationRule
    incident_id: str | None = None
    new_id: Callable[[], str] = _new_id
    _history: dict[int, deque[_Judged]] = field(default_factory=dict)
    _first_s: dict[int, float] = field(default_factory=dict)
    _offenders: dict[int, float] = field(default_factory=dict)  # track → last seen, while an incident is open
    _clear_s: float = 0.0
    _last_s: float | None = None
    _quiet_until_s: float = -math.inf

    def is_offender(self, track_id: int) -> bool:
        """Whether this track holds the open incident open: a fainter sight of it is enough to go on."""
        return track_id in self._offenders

    def blind(self) -> None:
        """The camera sees nothing: forget half-made judgements and half a recovery, keep an open incident."""
        self._history.clear()
        self._first_s.clear()
        self._offenders.clear()
        self._clear_s = 0.0
        self._last_s = None

    def observe(self, observations: Iterable[Observation], now_s: float) -> Opened | Closed | None:
        """Judge one frame at monotonic *now_s*."""
        step_s = 0.0 if self._last_s is None else now_s - self._last_s
        if not 0 <= step_s <= self.rule.gap_s_max:
            self.blind()
            step_s = 0.0
        self._last_s = now_s
        seen = list(observations)
        judged = [item for item in seen if item.verdict != "unknown"]
        for item in judged:
            history = self._history.setdefault(item.track_id, deque())
            lasted_s = step_s if history else 0.0  # before its first sight, nobody watched it
            history.append(_Judged(now_s, lasted_s, item.verdict == "violating", item.confidence))
            self._first_s.setdefault(item.track_id, now_s)
        self._forget(now_s)
        if self.incident_id is not None:
            return self._maybe_close(seen, now_s, step_s)
        return self._maybe_open(judged, now_s)

    def _forget(self, now_s: float) -> None:
        for track_id, history in list(self._history.items()):
            while history and now_s - history[0].at_s > self.rule.dwell_s + ROUNDING_S:
                history.popleft()
            if not history:
                del self._history[track_id], self._first_s[track_id]

    def _maybe_close(self, seen: list[Observation], now_s: float, step_s: float) -> Closed | None:
        self._note_offenders(seen, now_s)
        hidden = any(item.verdict == "unknown" and item.track_id in self._offenders for item in seen)
        if any(item.verdict == "violating" for item in seen):
            self._clear_s = 0.0
        elif not hidden:
            self._clear_s += step_s
        if self._clear_s < self.rule.recover_s - ROUNDING_S:
            return None
        closed = Closed(str(self.incident_id))
        self.incident_id = None
        self._quiet_until_s = now_s + self.rule.cool_down_s
        self._history.clear()
        self._first_s.clear()
        self._offenders.clear()
        return closed

    def _note_offenders(self, seen: list[Observation], now_s: float) -> None:
        for item in seen:
            if item.verdict == "violating" or (item.verdict == "unknown" and item.track_id in self._offenders):
                self._offenders[item.track_id] = now_s
            elif item.verdict == "compliant":
                self._offenders.pop(item.track_id, None)
        for track_id, seen_s in list(self._offenders.items()):
            if now_s - seen_s > self.rule.recover_s:
                del self._offenders[track_id]

    def _maybe_open(self, judged: list[Observation], now_s: float) -> Opened | None:
        """Open on the surest of the tracks that are confirmed now: it gives the evidence."""
        if now_s < self._quiet_until_s:
            return None
        confirmed = [item.track_id for item in judged if item.verdict == "violating" and self._confirms(item, now_s)]
        if not confirmed:
            return None
        hits = {track_id: [entry for entry in self._history[track_id] if entry.violating] for track_id in confirmed}
        confidence = {
            track_id: sum(entry.confidence for entry in entries) / len(entries) for track_id, entries in hits.items()
        }
        surest = max(confirmed, key=lambda track_id: confidence[track_id])
        self.incident_id = self.new_id()
        self._clear_s = 0.0
        self._offenders = {item.track_id: now_s for item in judged if item.verdict == "violating"}
        return Opened(self.incident_id, surest, now_s - hits[surest][0].at_s, confidence[surest])

    def _confirms(self, item: Observation, now_s: float) -> bool:
        if now_s - self._first_s[item.track_id] < self.rule.dwell_s - ROUNDING_S:
            return False
        history = self._history[item.track_id]
        judged_s = sum(entry.lasted_s for entry in history)
        violating_s = sum(entry.lasted_s for entry in history if entry.violating)
        enough_s = JUDGED_SHARE_MIN * self.rule.dwell_s
        return judged_s >= enough_s - ROUNDING_S and violating_s >= self.rule.window_share * judged_s - ROUNDING_S
