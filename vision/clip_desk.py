"""Cuts the film of each incident once enough of what came after it is there, or says why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from vision.happenings import ClipMissing, ClipReady, ViolationOpened, WatchItem
from vision.packet_ring import RING_S, PacketRing

PENDING_MAX = 32


@dataclass
class ClipDesk:
    """``ring`` None: there are no clips. ``before_s`` counts back from when the violation began."""

    ring: PacketRing | None
    before_s: float
    after_s: float
    _pending: list[tuple[float, float, ViolationOpened]] = field(default_factory=list)
    _refused: list[ViolationOpened] = field(default_factory=list)

    def note(self, item: WatchItem, now_s: float) -> None:
        """Remember an incident that was confirmed at monotonic *now_s*."""
        if self.ring is None or not isinstance(item, ViolationOpened):
            return
        if len(self._pending) >= PENDING_MAX:
            self._refused.append(item)
            return
        back_s = min(item.duration_s + self.before_s, RING_S - self.after_s)
        self._pending.append((now_s - back_s, now_s + self.after_s, item))

    def ready(self, now_s: float) -> Iterator[ClipReady | ClipMissing]:
        """The clips whose time has come, and those that will never be: too many wait, or nothing of it is left."""
        refused, self._refused = self._refused, []
        for item in refused:
            yield _missing(item, item.at, "too many films wait")
        due = [entry for entry in self._pending if entry[1] <= now_s]
        self._pending = [entry for entry in self._pending if entry[1] > now_s]
        for from_s, to_s, item in due:
            assert self.ring is not None
            clip = self.ring.clip(from_s, to_s)
            confirmed_s = to_s - self.after_s
            at = item.at + timedelta(seconds=self.after_s)
            if clip is None:
                yield _missing(item, at, "the camera's stream is lost")
                continue
            first_at, last_at = (
                item.at + timedelta(seconds=moment_s - confirmed_s) for moment_s in (clip.first_s, clip.last_s)
            )
            yield ClipReady(
                item.incident_id, item.kind, item.zone, at, item.camera_id, clip.mp4, first_at,
                last_at, clip.frames, item.model_sha256,
            )  # fmt: skip


def _missing(item: ViolationOpened, at: datetime, reason: str) -> ClipMissing:
    return ClipMissing(item.incident_id, item.kind, item.zone, at, item.camera_id, reason)
