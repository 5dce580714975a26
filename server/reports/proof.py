"""Proves a report against the signed batches it names: bytes, signatures and values. Trusts no derived table."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.boxes.keys import KeyBook
from server.clock_repair import signed_offset_ms
from server.models import StoredBatch
from server.reports.builder import QUANTITY
from server.reports.document import Content, Lane, digest_points
from server.reports.series import Point
from server.reports.sources import digest_of
from server.series.port import to_ms
from telemetry.batch import Batch, BatchError, open_batch
from telemetry.messages import Reading

Series = dict[int, tuple[int, Point]]  # time in ms → journal id and point; the batch that was stored first counts


def prove_content(db: Session, content: Content) -> list[str]:
    """What the batches say otherwise than the content: one sentence each, nothing when all is well."""
    proof = _Proof(db, content)
    problems = (
        [] if digest_of(content.refs) == content.batches_sha256 else ["the digest of its list of batches is wrong"]
    )
    for lane in content.lanes:
        problems += proof.read_lane(lane)
    return problems + proof.compare()


class _Proof:
    def __init__(self, db: Session, content: Content) -> None:
        self._db = db
        self._content = content
        self._keys = KeyBook(db)
        self._offsets_ms: dict[tuple[str, str], int] = {}
        self._series: dict[tuple[str, str], Series] = {
            (asset.sensor.box_id, asset.sensor.sensor_id): {} for asset in content.assets
        }

    def read_lane(self, lane: Lane) -> list[str]:
        """Open every named batch of a lane; one sentence for each that is not as the report says."""
        named = dict(lane.batches)
        problems: list[str] = []
        query = (
            select(StoredBatch.id, StoredBatch.seq, StoredBatch.raw)
            .where(StoredBatch.box_id == lane.box_id, StoredBatch.epoch == lane.epoch, StoredBatch.lane == lane.lane)
            .where(StoredBatch.seq.between(min(named), max(named)))
            .execution_options(yield_per=200)
        )
        for row in self._db.execute(query):
            digest = named.pop(row.seq, None)
            if digest is not None:
                problems += self._read(
                    row.id, row.raw, digest, f"batch {lane.box_id}/{lane.epoch[:8]}/{lane.lane}/{row.seq}"
                )
        return problems + [f"batch {lane.box_id}/{lane.epoch[:8]}/{lane.lane}/{seq}: is gone" for seq in sorted(named)]

    def _read(self, batch_id: int, raw: bytes, digest: str, name: str) -> list[str]:
        try:
            batch = open_batch(raw, self._keys.get)
        except BatchError as error:
            return [f"{name}: {error}"]
        if batch.sha256 != digest:
            return [f"{name}: its bytes are not those that the report rests on"]
        self._collect(batch, batch_id)
        return []

    def _collect(self, batch: Batch, batch_id: int) -> None:
        for _, record in batch.records:
            if not isinstance(record, Reading) or record.quantity != QUANTITY:
                continue
            series = self._series.get((batch.header.box_id, record.sensor_id))
            at_ms = to_ms(record.observed_at)
            if not record.clock_synced:
                at_ms += self._offset_ms(batch.header.box_id, batch.header.boot_id)
            if series is not None and (at_ms not in series or batch_id < series[at_ms][0]):
                series[at_ms] = (batch_id, (at_ms, record.value, record.quality))

    def _offset_ms(self, box_id: str, boot_id: str) -> int:
        """The clock correction of a boot as its box signed it, 0 without one."""
        known = self._offsets_ms.get((box_id, boot_id))
        if known is None:
            known = signed_offset_ms(self._db, self._keys, box_id, boot_id) or 0
            self._offsets_ms[box_id, boot_id] = known
        return known

    def compare(self) -> list[str]:
        """One sentence for each sensor whose readings in the report are not those of the batches."""
        first, last = to_ms(self._content.start), to_ms(self._content.end)
        problems: list[str] = []
        for asset in self._content.assets:
            series = self._series[asset.sensor.box_id, asset.sensor.sensor_id]
            points = [series[at_ms][1] for at_ms in sorted(series) if first <= at_ms < last]
            stated = digest_points(asset.points) if asset.points else asset.points_sha256
            if not digest_points(points) == asset.points_sha256 == stated:
                problems.append(f"sensor {asset.sensor.sensor_id}: its readings are not those of its batches")
        return problems
