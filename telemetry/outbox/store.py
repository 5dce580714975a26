"""The tables of the outbox: what one commit, one seal, one receipt or one eviction does to them.

The caller holds the lock and the transaction. The counters in memory follow the tables; after a roll-back
`recount` reads them anew.
"""

from __future__ import annotations

import sqlite3
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from telemetry.batch import (
    FIRST_PREVIOUS,
    BatchHeader,
    Record,
    dump_records,
    join_payloads,
    open_batch,
    seal_payload,
    sha256_hex,
)
from telemetry.messages import LANES, Event, Lane, Reading
from telemetry.outbox.file import Salvaged, state_crc
from telemetry.outbox.status import Pending, Waiting
from telemetry.signing import Signer

BATCH_RECORDS_MAX = 5_000
Stamp = Callable[[], tuple[datetime, bool]]


def wall_stamp() -> tuple[datetime, bool]:
    """The time by the wall clock, taken as right."""
    return datetime.now(UTC), True


@dataclass(frozen=True)
class _Chunk:
    """Unsealed readings of one commit; ``row_id`` is None while they are in no table."""

    row_id: int | None
    boot_id: str
    count: int
    payload: bytes


class BatchStore:
    """See the module's docstring. ``stamp`` gives the time and whether it is right."""

    def __init__(self, db: sqlite3.Connection, box_id: str, signer: Signer, boot_id: str, batch_records: int) -> None:
        self.db = db
        self._box_id = box_id
        self._signer = signer
        self._boot_id = boot_id
        self._batch_records = batch_records
        self.stamp: Stamp = wall_stamp
        self.recount()

    def recount(self) -> None:
        """Read the counters from the tables."""
        self.epoch = str(self.db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
        query = "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(bytes), 0) FROM batch"
        self.waiting: dict[Lane, Waiting] = {
            lane: Waiting(*self.db.execute(f"{query} WHERE lane = ? AND delivered = 0", (lane,)).fetchone())
            for lane in LANES
        }
        self.delivered_bytes = int(self.db.execute(f"{query} WHERE delivered = 1").fetchone()[2])
        self.fresh_records = int(self.db.execute("SELECT coalesce(sum(count), 0) FROM fresh").fetchone()[0])

    # -- writing ------------------------------------------------------------------------------------------------

    def append_events(self, events: Sequence[Event]) -> None:
        """Seal events at once: nothing may stand between an event and its way to the centre."""
        for start in range(0, len(events), BATCH_RECORDS_MAX):
            part = events[start : start + BATCH_RECORDS_MAX]
            self._seal("events", self._boot_id, len(part), dump_records("events", part))
        self._count("events", "records", len(events))

    def append_readings(self, readings: Sequence[Reading]) -> None:
        """Keep readings; whenever there are enough for a batch, seal one."""
        step = self._batch_records
        chunks = [
            _Chunk(None, self._boot_id, len(part), dump_records("readings", part))
            for part in (readings[start : start + step] for start in range(0, len(readings), step))
        ]
        self._count("readings", "records", len(readings))
        if self.fresh_records + len(readings) >= step:
            chunks = self._seal_chunks(self._load_fresh() + chunks, keep_rest=True)
        for chunk in chunks:
            if chunk.row_id is None:
                self.insert_fresh(chunk.boot_id, chunk.count, zlib.crc32(chunk.payload), chunk.payload)

    def insert_fresh(self, boot_id: str, count: int, crc: int, payload: bytes) -> int:
        """Keep readings that are not sealed yet; gives their number."""
        self.db.execute(
            "INSERT INTO fresh (boot_id, count, crc, payload) VALUES (?, ?, ?, ?)", (boot_id, count, crc, payload)
        )
        self.fresh_records += count
        return count

    def seal_fresh(self) -> None:
        """Seal what readings there are, however few."""
        self._seal_chunks(self._load_fresh(), keep_rest=False)

    def _load_fresh(self) -> list[_Chunk]:
        chunks: list[_Chunk] = []
        for row_id, boot_id, count, crc, payload in self.db.execute(
            "SELECT id, boot_id, count, crc, CAST(payload AS BLOB) FROM fresh ORDER BY id"
        ).fetchall():
            if zlib.crc32(payload) == crc:
                chunks.append(_Chunk(row_id, boot_id, count, payload))
                continue
            self.db.execute("DELETE FROM fresh WHERE id = ?", (row_id,))
            self.fresh_records -= count
            self._bury(self.epoch, "readings", -row_id, count, "the bytes on the disk were changed", payload)
        return chunks

    def _seal_chunks(self, chunks: Sequence[_Chunk], *, keep_rest: bool) -> list[_Chunk]:
        """Seal chunks in order, each batch of one boot; gives the rest that makes no full batch."""
        group: list[_Chunk] = []
        for chunk in chunks:
            if group and group[0].boot_id != chunk.boot_id:
                self._seal_group(group)
                group = []
            group.append(chunk)
            if sum(item.count for item in group) >= self._batch_records:
                self._seal_group(group)
                group = []
        if group and not keep_rest:
            self._seal_group(group)
            group = []
        return group

    def _seal_group(self, group: Sequence[_Chunk]) -> None:
        count = sum(chunk.count for chunk in group)
        self._seal("readings", group[0].boot_id, count, join_payloads([chunk.payload for chunk in group]))
        rows = [chunk for chunk in group if chunk.row_id is not None]
        self.db.executemany("DELETE FROM fresh WHERE id = ?", [(chunk.row_id,) for chunk in rows])
        self.fresh_records -= sum(chunk.count for chunk in rows)

    def _seal(self, lane: Lane, boot_id: str, count: int, payload: bytes) -> None:
        last_seq, last_sha256 = self.db.execute(
            "SELECT last_seq, last_sha256 FROM lane WHERE name = ?", (lane,)
        ).fetchone()
        header = BatchHeader(
            box_id=self._box_id,
            epoch=self.epoch,
            lane=lane,
            seq=last_seq + 1,
            previous_sha256=last_sha256,
            created_at=self.stamp()[0],
            count=count,
            boot_id=boot_id,
        )
        raw = seal_payload(header, payload, self._signer)
        digest = sha256_hex(raw)
        self.insert(Salvaged(self.epoch, lane, header.seq, count, digest, raw))
        self.db.execute("UPDATE lane SET last_seq = ?, last_sha256 = ? WHERE name = ?", (header.seq, digest, lane))

    def insert(self, item: Salvaged) -> Lane:
        """Put a sealed batch among those that wait; gives its lane."""
        cursor = self.db.execute(
            "INSERT INTO batch (epoch, lane, seq, count, bytes, sha256) VALUES (?, ?, ?, ?, ?, ?)",
            (item.epoch, item.lane, item.seq, item.count, len(item.raw), item.sha256),
        )
        self.db.execute("INSERT INTO frame (id, raw) VALUES (?, ?)", (cursor.lastrowid, item.raw))
        lane: Lane = "events" if item.lane == "events" else "readings"
        self.waiting[lane].add(1, item.count, len(item.raw))
        return lane

    def save_state(self, state: Mapping[str, str | None]) -> None:
        for key, value in state.items():
            if value is None:
                self.db.execute("DELETE FROM state WHERE key = ?", (key,))
            else:
                self.db.execute(
                    "INSERT OR REPLACE INTO state (key, value, crc) VALUES (?, ?, ?)",
                    (key, value, state_crc(key, value)),
                )

    def begin_epoch(self) -> None:
        """Number batches anew under a fresh epoch: the old numbers can no longer be trusted."""
        self.epoch = uuid.uuid4().hex
        self.db.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (self.epoch,))
        self.db.execute("UPDATE lane SET last_seq = 0, last_sha256 = ?", (FIRST_PREVIOUS,))

    # -- giving up ----------------------------------------------------------------------------------------------

    def evict(self, bytes_max: int) -> None:
        """Give up the oldest readings above *bytes_max* and tell it; one per cent more, so that it is seldom."""
        over = self.waiting["readings"].size_bytes - bytes_max
        if over <= 0:
            return
        goal = over + bytes_max // 100
        freed = records = last_id = 0
        spans: dict[str, list[int]] = {}  # epoch → first seq, last seq, batches, records
        for row_id, epoch, seq, count, size in self.db.execute(
            "SELECT id, epoch, seq, count, bytes FROM batch WHERE lane = 'readings' AND delivered = 0 ORDER BY id"
        ):
            span = spans.setdefault(epoch, [seq, seq, 0, 0])
            span[1:] = [seq, span[2] + 1, span[3] + count]
            last_id, freed, records = row_id, freed + size, records + count
            if freed >= goal:
                break
        chosen = "SELECT id FROM batch WHERE lane = 'readings' AND delivered = 0 AND id <= ?"
        self.db.execute(f"DELETE FROM frame WHERE id IN ({chosen})", (last_id,))  # noqa: S608 - a constant
        self.db.execute("DELETE FROM batch WHERE lane = 'readings' AND delivered = 0 AND id <= ?", (last_id,))
        self.waiting["readings"].add(-sum(span[2] for span in spans.values()), -records, -freed)
        self._count("readings", "evicted", records)
        for epoch, (first, last, _, count) in spans.items():
            self.tell_gap("evicted", "readings", epoch, first, last, records=count)

    def trim_delivered(self, bytes_max: int) -> None:
        """Forget the oldest delivered batches above *bytes_max*."""
        over = self.delivered_bytes - bytes_max
        if over <= 0:
            return
        freed = 0
        rows: list[tuple[int]] = []
        for row_id, size in self.db.execute("SELECT id, bytes FROM batch WHERE delivered = 1 ORDER BY id"):
            rows.append((row_id,))
            freed += size
            if freed >= over:
                break
        self.db.executemany("DELETE FROM frame WHERE id = ?", rows)
        self.db.executemany("DELETE FROM batch WHERE id = ?", rows)
        self.delivered_bytes -= freed

    def tell_gap(self, reason: str, lane: Lane, epoch: str, first: int, last: int, **data: int | str) -> None:
        """Commit an event that says which batches the centre will never get from here."""
        self.db.execute("INSERT OR IGNORE INTO told_missing VALUES (?, ?, ?, ?)", (epoch, lane, first, last))
        self.append_events([self.gap(reason, epoch=epoch, lane=lane, first_seq=first, last_seq=last, **data)])

    def gap(self, reason: str, **data: int | str) -> Event:
        """A `data_gap` event."""
        at, synced = self.stamp()
        return Event(
            event_id=uuid.uuid4().hex,
            incident_id=uuid.uuid4().hex,
            type="data_gap",
            severity="warning",
            source_id=self._box_id,
            at=at,
            clock_synced=synced,
            data={"reason": reason, **data},
        )

    def note(self, status: str, **data: int | str) -> Event:
        """A `box_status` event."""
        return self.gap(status, **data).model_copy(
            update={"type": "box_status", "severity": "info", "data": {"status": status, **data}}
        )

    # -- receipts -----------------------------------------------------------------------------------------------

    def pending(
        self, lane: Lane, records_max: int, bytes_max: int, after_id: int
    ) -> tuple[list[Pending], list[Pending]]:
        """The oldest waiting batches behind *after_id*, and those among them whose bytes were changed on the disk."""
        found: list[Pending] = []
        damaged: list[Pending] = []
        records = size = 0
        for row_id, epoch, seq, count, length, digest in self.db.execute(
            "SELECT id, epoch, seq, count, bytes, sha256 FROM batch WHERE lane = ? AND delivered = 0 AND id > ? "
            "ORDER BY id LIMIT 5000",
            (lane, after_id),
        ):
            records, size = records + count, size + length
            if found and (records > records_max or size > bytes_max):
                break
            row = self.db.execute("SELECT CAST(raw AS BLOB) FROM frame WHERE id = ?", (row_id,)).fetchone()
            item = Pending(row_id, epoch, lane, seq, count, row[0] if row else b"")
            (found if sha256_hex(item.raw) == digest else damaged).append(item)
        return found, damaged

    def mark_delivered(self, epoch: str, lane: Lane, seq: int) -> None:
        row = self._waiting_row(epoch, lane, seq)
        if row is not None:
            row_id, count, size = row
            self.db.execute("UPDATE batch SET delivered = 1 WHERE id = ?", (row_id,))
            self.waiting[lane].add(-1, -count, -size)
            self.delivered_bytes += size
            self._count(lane, "delivered", count)

    def send_again(self, epoch: str, lane: Lane, first: int, last: int) -> int:
        """Put delivered batches back among those that wait; gives their number."""
        rows = self.db.execute(
            "SELECT id, count, bytes FROM batch WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ? AND delivered = 1",
            (epoch, lane, first, last),
        ).fetchall()
        for row_id, count, size in rows:
            self.db.execute("UPDATE batch SET delivered = 0 WHERE id = ?", (row_id,))
            self.waiting[lane].add(1, count, size)
            self.delivered_bytes -= size
            self._count(lane, "delivered", -count)
        return len(rows)

    def set_aside(self, epoch: str, lane: Lane, seq: int, reason: str) -> None:
        """Move a waiting batch that will never be taken to the dead letters, and tell it."""
        raw = self._remove(epoch, lane, seq)
        if raw is not None:
            self._bury(epoch, lane, seq, raw[0], reason, raw[1])

    def seal_again(self, epoch: str, lane: Lane, seq: int) -> None:
        """Take the records of a waiting batch into the present epoch, in a batch of their own."""
        from telemetry.batch import read_header

        row = self._remove(epoch, lane, seq)
        if row is not None:
            batch = open_batch(row[1], lambda _: self._signer.public_key)
            records: list[Record] = [record for _, record in batch.records]
            boot_id = read_header(row[1])[0].boot_id
            self._seal(lane, boot_id, len(records), dump_records(lane, records))

    def _remove(self, epoch: str, lane: Lane, seq: int) -> tuple[int, bytes] | None:
        row = self._waiting_row(epoch, lane, seq)
        if row is None:
            return None
        row_id, count, size = row
        frame = self.db.execute("SELECT CAST(raw AS BLOB) FROM frame WHERE id = ?", (row_id,)).fetchone()
        self.db.execute("DELETE FROM frame WHERE id = ?", (row_id,))
        self.db.execute("DELETE FROM batch WHERE id = ?", (row_id,))
        self.waiting[lane].add(-1, -count, -size)
        return count, frame[0] if frame else b""

    def _bury(self, epoch: str, lane: Lane, seq: int, count: int, reason: str, raw: bytes) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO dead_letter (epoch, lane, seq, count, reason, raw) VALUES (?, ?, ?, ?, ?, ?)",
            (epoch, lane, seq, count, reason, raw),
        )
        self._count(lane, "rejected", count)
        if lane == "readings":  # a refused event must not give rise to the next one
            self.tell_gap("set_aside", lane, epoch, seq, seq, records=count, detail=reason[:200])

    def _waiting_row(self, epoch: str, lane: Lane, seq: int) -> tuple[int, int, int] | None:
        row: tuple[int, int, int] | None = self.db.execute(
            "SELECT id, count, bytes FROM batch WHERE epoch = ? AND lane = ? AND seq = ? AND delivered = 0",
            (epoch, lane, seq),
        ).fetchone()
        return row

    def _count(self, lane: Lane, column: str, records: int) -> None:
        if records:
            self.db.execute(f"UPDATE lane SET {column} = {column} + ? WHERE name = ?", (records, lane))  # noqa: S608

    def count_refused(self, records: int) -> None:
        self._count("readings", "refused", records)

    def absent(self, epoch: str, lane: Lane, first: int, last: int) -> Iterable[tuple[int, int]]:
        """The parts of a range that are neither here nor told as missing."""
        held = self.db.execute(
            "SELECT seq, seq FROM batch WHERE epoch = ?1 AND lane = ?2 AND seq BETWEEN ?3 AND ?4 "
            "UNION ALL SELECT first_seq, last_seq FROM told_missing WHERE epoch = ?1 AND lane = ?2 "
            "AND last_seq >= ?3 AND first_seq <= ?4 ORDER BY 1",
            (epoch, lane, first, last),
        )
        after = first
        for start, end in held:
            if start > after:
                yield after, start - 1
            after = max(after, end + 1)
        if after <= last:
            yield after, last
