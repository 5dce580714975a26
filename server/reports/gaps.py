"""Why a reading is missing: what the box said, what it gave up, what never arrived; else that nobody recorded why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.boxes.keys import KeyBook
from server.models import Box, StoredBatch, StoredEvent
from server.reports.document import Gap
from server.reports.series import Point, Span, at_of, find_gaps, usable
from server.reports.sources import BatchRef, find_batches
from server.series.port import to_ms
from telemetry.messages import Reading

REASONS_MAX = 200  # so many gaps are looked up in the box's own readings; each costs one batch to open
FOREVER_MS = 2**62
Reason = tuple[str, str]  # code and detail of a Gap


class GapReasons:
    """Explains the gaps of one sensor in one period."""

    def __init__(self, db: Session, box: Box, sensor_id: str, start: datetime, end: datetime) -> None:
        self._db = db
        self._box = box
        self._keys = KeyBook(db)
        self._sensor_id = sensor_id
        self._faults = self._find_faults(end)
        self._evictions = [
            event.data
            for event in db.scalars(
                select(StoredEvent).where(
                    StoredEvent.box_id == box.id,
                    StoredEvent.source_id == box.id,
                    StoredEvent.type == "data_gap",
                    StoredEvent.at >= start,
                )
            )
        ]

    def explain(self, points: Sequence[Point], start_ms: int, end_ms: int) -> list[Gap]:
        """Every gap with its length and reason, in order of time."""
        missing = [point[0] for point in points if not usable(point)]
        found: list[Gap] = []
        for span in find_gaps(points, start_ms, end_ms):
            bad = [at_ms for at_ms in missing if span[0] <= at_ms < span[1]]
            code, detail = self._reason(span, bad, len(found) < REASONS_MAX)
            length_s = (span[1] - span[0]) / 1000
            fields = {"start": at_of(span[0]), "end": at_of(span[1]), "length_s": length_s}
            found.append(Gap.model_validate({**fields, "code": code, "detail": detail}))
        return found

    def _reason(self, span: Span, bad: Sequence[int], look_up: bool) -> Reason:
        if bad:
            said = self._said_at(bad[0]) if look_up else ""
            return "bad_readings", said or str(len(bad))
        for since_ms, until_ms, text in self._faults:
            if since_ms < span[1] and until_ms > span[0]:
                return "sensor_fault", text
        return self._lost_on_the_way(span)

    def _find_faults(self, end: datetime) -> list[tuple[int, int, str]]:
        """From and to (milliseconds since 1970 UTC) of each sensor fault, with the box's reason."""
        query = select(StoredEvent).where(
            StoredEvent.box_id == self._box.id,
            StoredEvent.source_id == self._sensor_id,
            StoredEvent.type.in_(("sensor_fault", "sensor_recovered")),
            StoredEvent.at < end,
        )
        begun: dict[str, tuple[int, str]] = {}
        ended: dict[str, int] = {}
        for event in self._db.scalars(query):
            if "code" in event.data:
                continue  # judged from readings that came, or from the gap itself: neither explains a gap
            if event.type == "sensor_fault":
                begun[event.incident_id] = (to_ms(event.at), str(event.data.get("reason") or ""))
            else:
                ended[event.incident_id] = to_ms(event.at)
        return sorted((since, ended.get(key, FOREVER_MS), text) for key, (since, text) in begun.items())

    def _said_at(self, at_ms: int) -> str:
        """The box's reason for a reading without a value."""
        for ref in find_batches(self._db, self._box.id, self._sensor_id, "readings", at_ms, at_ms + 1, 3)[:3]:
            for record in self._records(ref):
                if record.sensor_id == self._sensor_id and to_ms(record.observed_at) == at_ms:
                    return record.reason or ""
        return ""

    def _records(self, ref: BatchRef) -> list[Reading]:
        raw = self._db.scalar(
            select(StoredBatch.raw).where(
                StoredBatch.box_id == ref.box_id, StoredBatch.epoch == ref.epoch,
                StoredBatch.lane == ref.lane, StoredBatch.seq == ref.seq,
            )
        )  # fmt: skip
        batch = self._keys.opened(raw)
        if batch is None:
            return []  # the report only lacks the box's word
        return [record for _, record in batch.records if isinstance(record, Reading)]

    def _lost_on_the_way(self, span: Span) -> Reason:
        """Batches that should lie between the last one before the gap and the first one after it."""
        before = self._nearest(span[0], span[0] + 1)
        after = self._nearest(span[1], span[1] + 1)
        if before is None or after is None or before.epoch != after.epoch or after.seq - before.seq < 2:
            return "unknown", ""
        first, last = before.seq + 1, after.seq - 1
        for data in self._evictions:
            if data.get("epoch") == before.epoch and _overlaps(data, first, last):
                return "evicted", f"{data.get('first_seq')}-{data.get('last_seq')}"
        stored = self._db.scalar(
            select(func.count()).select_from(StoredBatch).where(
                StoredBatch.box_id == before.box_id, StoredBatch.epoch == before.epoch,
                StoredBatch.lane == before.lane, StoredBatch.seq.between(first, last),
            )
        )  # fmt: skip
        lacking = last - first + 1 - (stored or 0)
        return ("missing_batches", f"{lacking}: {first}-{last}") if lacking else ("unknown", "")

    def _nearest(self, start_ms: int, end_ms: int) -> BatchRef | None:
        found = find_batches(self._db, self._box.id, self._sensor_id, "readings", start_ms, end_ms, 1)
        return found[0] if found else None


def _overlaps(data: dict[str, Any], first: int, last: int) -> bool:
    first_seq, last_seq = data.get("first_seq"), data.get("last_seq")
    return isinstance(first_seq, int) and isinstance(last_seq, int) and first_seq <= last and last_seq >= first
