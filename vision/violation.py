"""Decides in seconds, not in frames, when a violation is confirmed and when it is over. Pure: time comes in.

Per track, the last ``dwell_s`` seconds of *judged* observations count; a head too small to judge is unknown and
counts neither way. One incident per camera and kind, from confirmation until ``recover_s`` of sight without a
violation. While the camera cannot see, nothing opens and nothing closes.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["compliant", "violating", "unknown"]
GAP_S_MAX = 2.0  # a longer pause between frames is time not watched


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
    """``window_share`` of a track's judged observations within ``dwell_s`` must violate."""

    kind: str
    dwell_s: float
    recover_s: float
    window_share: float


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


@dataclass
class ViolationMachine:
    """One per camera and kind; ``incident_id`` is the open incident, given at restart to resume it."""

    rule: ViolationRule
    incident_id: str | None = None
    new_id: Callable[[], str] = _new_id
    _history: dict[int, deque[tuple[float, bool, float]]] = field(default_factory=dict)
    _first_s: dict[int, float] = field(default_factory=dict)
    _clear_s: float = 0.0
    _last_s: float | None = None

    def blind(self) -> None:
        """The camera sees nothing: forget half-made judgements, keep an open incident."""
        self._history.clear()
        self._first_s.clear()
        self._last_s = None

    def observe(self, observations: Iterable[Observation], now_s: float) -> Opened | Closed | None:
        """Judge one frame at monotonic *now_s*."""
        step_s = 0.0 if self._last_s is None else now_s - self._last_s
        if step_s > GAP_S_MAX:
            self.blind()
            step_s = 0.0
        self._last_s = now_s
        judged = [item for item in observations if item.verdict != "unknown"]
        for item in judged:
            history = self._history.setdefault(item.track_id, deque())
            history.append((now_s, item.verdict == "violating", item.confidence))
            self._first_s.setdefault(item.track_id, now_s)
        self._forget(now_s)
        if self.incident_id is not None:
            return self._maybe_close(judged, step_s)
        return self._maybe_open(judged, now_s)

    def _forget(self, now_s: float) -> None:
        for track_id, history in list(self._history.items()):
            while history and now_s - history[0][0] > self.rule.dwell_s:
                history.popleft()
            if not history:
                del self._history[track_id], self._first_s[track_id]

    def _maybe_close(self, judged: list[Observation], step_s: float) -> Closed | None:
        violating = any(item.verdict == "violating" for item in judged)
        self._clear_s = 0.0 if violating else self._clear_s + step_s
        if self._clear_s < self.rule.recover_s:
            return None
        closed = Closed(str(self.incident_id))
        self.incident_id = None
        self._history.clear()
        self._first_s.clear()
        return closed

    def _maybe_open(self, judged: list[Observation], now_s: float) -> Opened | None:
        for item in judged:
            history = self._history.get(item.track_id)
            watched_s = now_s - self._first_s.get(item.track_id, now_s)
            if item.verdict != "violating" or not history or watched_s < self.rule.dwell_s:
                continue
            hits = [entry for entry in history if entry[1]]
            if len(hits) < self.rule.window_share * len(history):
                continue
            self.incident_id = self.new_id()
            self._clear_s = 0.0
            confidence = sum(entry[2] for entry in hits) / len(hits)
            return Opened(self.incident_id, item.track_id, now_s - hits[0][0], confidence)
        return None
