"""Cuts the film of each incident once enough of what came after it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from vision.happenings import ClipReady, ViolationOpened, WatchItem
from vision.packet_ring import RING_S, PacketRing

PENDING_MAX = 32


@dataclass
class ClipDesk:
    """``ring`` None: there are no clips. ``before_s`` counts back from when the violation began."""

    ring: PacketRing | None
    before_s: float
    after_s: float
    _pending: list[tuple[float, float, ViolationOpened]] = field(default_factory=list)

    def note(self, item: WatchItem, now_s: float) -> None:
        """Remember an incident that was confirmed at monotonic *now_s*."""
        if self.ring is None or not isinstance(item, ViolationOpened) or len(self._pending) >= PENDING_MAX:
            return
        back_s = min(item.duration_s + self.before_s, RING_S - self.after_s)
        self._pending.append((now_s - back_s, now_s + self.after_s, item))

    def ready(self, now_s: float) -> Iterator[ClipReady]:
        """The clips whose time has come; one of which nothing is left (the camera was lost) is left out."""
        due = [entry for entry in self._pending if entry[1] <= now_s]
        self._pending = [entry for entry in self._pending if entry[1] > now_s]
        for from_s, to_s, item in due:
            assert self.ring is not None
            if clip := self.ring.clip(from_s, to_s):
                confirmed_s = to_s - self.after_s
                at, first_at, last_at = (
                    item.at + timedelta(seconds=moment_s - confirmed_s)
                    for moment_s in (to_s, clip.first_s, clip.last_s)
                )
                yield ClipReady(
                    item.incident_id, item.kind, item.zone, at, item.camera_id, clip.mp4, first_at,
                    last_at, clip.frames, item.model_sha256,
                )  # fmt: skip
