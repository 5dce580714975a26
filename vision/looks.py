"""Looks at a camera's picture because somebody asked: a snapshot now, a film of a moment ago, or whether
a violation is still there.

A second look needs as much sight as it takes to confirm a violation: the rule's ``dwell_s`` of judged time. Only what
was seen counts: nobody in the picture says nothing of masks, but an empty floor is free of rats. Orders come from any
thread; each is answered once, at the latest when its time is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from vision.catalogue import AbsenceRule, PresenceRule, PresentRule
from vision.frame import Frame
from vision.happenings import Looked
from vision.packet_ring import RING_S, PacketRing
from vision.segments import NotRecorded, RecordedClip
from vision.snapshot import raw_jpeg
from vision.violation import GAP_S_MAX, Verdict

if TYPE_CHECKING:
    from concurrent.futures import Future

    from vision.crew import Crew
    from vision.guard import Guard
    from vision.recording import Recording

PATIENCE_S = 20.0  # for a picture that can be judged, besides thrice the rule's own time
ORDERS_MAX = 8
SEEN_SHARE_MIN = 0.8  # of the judged time for "compliant": the rest may be unknown
SPEAKS_WHEN_EMPTY = (PresentRule, PresenceRule, AbsenceRule)  # nothing there is an answer


@dataclass(frozen=True)
class LookOrder:
    """``kind`` and ``zone`` of what to look for again; a clip is of the moment ``at``; a snapshot has none of them."""

    order_id: str
    what: Literal["snapshot", "recheck", "clip"]
    kind: str = ""
    zone: str = ""
    at: datetime | None = None
    before_s: float = 0.0
    after_s: float = 0.0


@dataclass
class _Look:
    order: LookOrder
    until_s: float
    guard: Guard | None = None
    judged_s: float = 0.0
    violating_s: float = 0.0
    compliant_s: float = 0.0
    empty_s: float = 0.0


class LookDesk:
    """One camera's orders; all but `take` is for the thread that judges."""

    def __init__(self, camera_id: str) -> None:
        self._camera_id = camera_id
        self._new: deque[LookOrder] = deque(maxlen=ORDERS_MAX)
        self._new_films: deque[LookOrder] = deque(maxlen=ORDERS_MAX)
        self._from_disk: list[tuple[LookOrder, Future[RecordedClip]]] = []
        self._looks: list[_Look] = []

    def take(self, order: LookOrder) -> None:
        """Have it looked at from the next picture on."""
        (self._new_films if order.what == "clip" else self._new).append(order)

    def see(self, frame: Frame, crew: Crew, step_s: float) -> Iterator[Looked]:
        """A clear picture was judged, *step_s* after the one before; *frame* is as it may be seen (masked)."""
        yield from self._begin(frame.monotonic_s, frame.captured_at, crew)
        for look in list(self._looks):
            verdict, reason = self._judge(look, frame.monotonic_s, step_s)
            if verdict is not None or look.guard is None:
                self._looks.remove(look)
                yield self._answer(look, frame, crew, verdict, reason)

    def miss(self, crew: Crew, at: datetime, now_s: float) -> Iterator[Looked]:
        """Time passes without a picture that can be judged."""
        yield from self._begin(now_s, at, crew)
        for look in [look for look in self._looks if now_s >= look.until_s]:
            self._looks.remove(look)
            yield self._said(look.order, at, "failed", "the camera sees nothing")

    def _begin(self, now_s: float, at: datetime, crew: Crew) -> Iterator[Looked]:
        while self._new:
            order = self._new.popleft()
            if order.what == "snapshot":
                self._looks.append(_Look(order, now_s + PATIENCE_S))
                continue
            wanted = (order.kind, order.zone)
            guard = next((item for item in crew.guards if (item.code, item.zone_id) == wanted), None)
            if guard is None:
                said = f"this camera does not watch for {order.kind}" + (f" in {order.zone}" if order.zone else "")
                yield self._said(order, at, "refused", said)
            else:
                self._looks.append(_Look(order, now_s + PATIENCE_S + 3 * guard.rule.dwell_s, guard))

    def films(
        self, ring: PacketRing | None, recording: Recording | None, now: datetime, now_s: float
    ) -> Iterator[Looked]:
        """The clips whose end has come, cut from what *ring* still holds, or else from the *recording*; *now* is the
        same moment as *now_s*."""
        yield from self._read_from_disk(now)
        for order in list(self._new_films):
            at = order.at or now
            to_s = now_s + (at - now).total_seconds() + order.after_s
            if to_s > now_s + PATIENCE_S:
                self._new_films.remove(order)
                yield self._said(order, now, "refused", "that moment is still to come")
            elif to_s <= now_s:
                self._new_films.remove(order)
                if ring is None:
                    yield self._said(order, now, "refused", "no film is kept of this camera")
                elif answer := self._cut(order, ring, now, now_s, to_s):
                    yield answer
                elif recording is not None:
                    self._from_disk.append((order, recording.cut(at, order.before_s, order.after_s)))
                else:
                    said = f"gone: the film of that moment, the last {RING_S:.0f} s are kept"
                    yield self._said(order, now, "refused", said)

    def _cut(self, order: LookOrder, ring: PacketRing, now: datetime, now_s: float, to_s: float) -> Looked | None:
        """None when the ring does not hold that moment (any more)."""
        moment_s = to_s - order.after_s
        clip = ring.clip(moment_s - order.before_s, to_s)
        if clip is None or not clip.first_s <= moment_s <= clip.last_s + GAP_S_MAX:
            return None
        first_at, last_at = (now + timedelta(seconds=moment - now_s) for moment in (clip.first_s, clip.last_s))
        return self._show(order, RecordedClip(clip.mp4, first_at, last_at, clip.frames))

    def _read_from_disk(self, now: datetime) -> Iterator[Looked]:
        ready = [pair for pair in self._from_disk if pair[1].done()]
        self._from_disk = [pair for pair in self._from_disk if pair not in ready]
        for order, future in ready:
            error = future.exception()
            if isinstance(error, NotRecorded):
                yield self._said(order, now, "refused", str(error))
            elif error is not None:
                yield self._said(order, now, "failed", f"the recording cannot be read: {error}"[:200])
            else:
                yield self._show(order, future.result())

    def _show(self, order: LookOrder, clip: RecordedClip) -> Looked:
        return replace(
            self._said(order, clip.last_at, "done", ""),
            clip_mp4=clip.mp4,
            first_at=clip.first_at,
            last_at=clip.last_at,
            frames=clip.frames,
        )

    def _said(
        self, order: LookOrder, at: datetime, status: Literal["done", "refused", "failed"], reason: str
    ) -> Looked:
        return Looked(order.order_id, self._camera_id, at, status, reason, order.kind, order.zone)

    @staticmethod
    def _judge(look: _Look, now_s: float, step_s: float) -> tuple[Verdict | None, str]:
        """The verdict once there is one."""
        guard = look.guard
        if guard is None:
            return None, ""
        if guard.watched_at_s == now_s and guard.was_active and step_s <= guard.machine.rule.gap_s_max:
            look.judged_s += step_s
            look.violating_s += step_s if "violating" in guard.verdicts else 0.0
            look.compliant_s += step_s if set(guard.verdicts) == {"compliant"} else 0.0
            look.empty_s += step_s if not guard.verdicts else 0.0
        if look.judged_s < guard.rule.dwell_s and now_s < look.until_s:
            return None, ""
        if look.judged_s < guard.rule.dwell_s:
            return "unknown", "it could not be judged for long enough" if guard.was_active else "outside of its times"
        if look.violating_s >= guard.rule.window_share * look.judged_s:
            return "violating", ""
        clear_s = look.compliant_s + (look.empty_s if isinstance(guard.rule, SPEAKS_WHEN_EMPTY) else 0.0)
        if clear_s >= SEEN_SHARE_MIN * look.judged_s:
            return "compliant", ""
        return "unknown", "nobody was seen" if look.empty_s > look.judged_s / 2 else "it was not clear"

    def _answer(self, look: _Look, frame: Frame, crew: Crew, verdict: Verdict | None, reason: str) -> Looked:
        shared = crew.share(frame)
        looker = crew.lookers[look.guard.looker if look.guard else 0]
        return Looked(
            look.order.order_id, self._camera_id, frame.captured_at, "done", reason, look.order.kind, look.order.zone,
            verdict=verdict,
            original_jpeg=raw_jpeg(frame),
            snapshot_jpeg=raw_jpeg(replace(frame, image=shared.image)),
            faces=shared.faces,
            model_sha256=looker.detector.sha256,
        )  # fmt: skip
