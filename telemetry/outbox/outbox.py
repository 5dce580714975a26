"""The box's durable queue: what `commit` returned for is on disk and stays there until the centre's receipt.

Always true in here:
- readings, events and the state of the rules that made them are one SQLite transaction, synced before `commit` returns;
- a batch is sealed once and re-sent with the very same bytes; its `seq` is never used twice in its epoch;
- nothing waiting is deleted but on a receipt, or evicted oldest-first from the readings lane at the byte cap, which is
  itself committed as a `data_gap` event. Events are never evicted;
- on a full disk a reserve is given up so that events still go in; readings that find no room are counted and told;
- a file that SQLite cannot read is set aside, never deleted, what can be read of it is carried over, and a new epoch
  begins. The same holds when it turns bad while in use.

Methods block and may be called from any thread.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from telemetry.batch import BatchError, open_batch
from telemetry.messages import LANES, Event, Lane, Reading, Receipt, SeqRange
from telemetry.outbox import file
from telemetry.outbox.inspection import read_status
from telemetry.outbox.receipts import answer_missing, carry_out_receipt
from telemetry.outbox.reserve import DiskReserve, reserve_path
from telemetry.outbox.status import OutboxError, OutboxFull, OutboxStatus, Pending
from telemetry.outbox.store import BatchStore, Stamp, wall_stamp
from telemetry.signing import Signer

logger = logging.getLogger(__name__)
READINGS_BYTES_MAX = 1024**3  # 72 h of 200 sensors at 10 s need about 60 MB
DELIVERED_BYTES_MAX = 16 * 1024**2  # kept in case the centre lost what it receipted (restored from a backup)
RESERVE_BYTES = 8 * 1024**2
BATCH_RECORDS = 500
FULL_RETRY_S = 10.0
REFUSED_TELL_S = 60.0
Result = TypeVar("Result")


class Outbox:
    """See the module's docstring. Make one with `Outbox.open`."""

    def __init__(
        self,
        path: Path,
        make_store: Callable[[sqlite3.Connection], BatchStore],
        box_id: str,
        signer: Signer,
        readings_bytes_max: int,
        delivered_bytes_max: int,
        reserve: DiskReserve,
    ) -> None:
        self._path = path
        self._make_store = make_store
        self._box_id = box_id
        self._signer = signer
        self._readings_bytes_max = readings_bytes_max
        self._delivered_bytes_max = delivered_bytes_max
        self._reserve = reserve
        self._lock = threading.Lock()
        self._full_cap: int | None = None  # bytes that the readings may take while the disk is full
        self._full_retry_s = 0.0
        self._untold_refused = 0
        self._refused_told_s = 0.0
        self._stamp: Stamp = wall_stamp
        self._store = self._open_store()
        reserve.hold()

    @classmethod
    def open(
        cls,
        path: Path,
        box_id: str,
        signer: Signer,
        *,
        boot_id: str,
        readings_bytes_max: int = READINGS_BYTES_MAX,
        delivered_bytes_max: int = DELIVERED_BYTES_MAX,
        reserve_bytes: int = RESERVE_BYTES,
        batch_records: int = BATCH_RECORDS,
    ) -> Outbox:
        """Open or make the outbox file; a corrupt one is set aside as ``<name>.corrupt-<time>`` first."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

        def make_store(connection: sqlite3.Connection) -> BatchStore:
            return BatchStore(connection, box_id, signer, boot_id, batch_records)

        reserve = DiskReserve(reserve_path(path), reserve_bytes)
        return cls(path, make_store, box_id, signer, readings_bytes_max, delivered_bytes_max, reserve)

    def use_clock(self, stamp: Stamp) -> None:
        """Take the time of batches and of the outbox's own events from here: (time, whether it is right)."""
        with self._lock:
            self._stamp = self._store.stamp = stamp

    @property
    def epoch(self) -> str:
        return self._store.epoch

    # -- the file -----------------------------------------------------------------------------------------------

    def _open_store(self) -> BatchStore:
        lost_commits = file.wal_lost_commits(self._path)
        try:
            store = self._connect()
        except sqlite3.DatabaseError as error:
            if file.is_disk_full(error, self._path) and self._reserve.release():
                return self._open_store()
            if not file.is_damaged(error):
                raise OutboxError(f"{self._path}: cannot be opened ({error})") from error
            return self._replace_file(str(error))
        if lost_commits:
            # What was taken back may have been sent: its numbers must not be given to other bytes
            def tell() -> None:
                store.begin_epoch()
                store.append_events([store.gap("outbox_log_damaged", epoch=store.epoch)])

            logger.error("%s: the log was damaged; the newest commits are lost, a new epoch begins", self._path)
            self._run(store, tell)
        return store

    def _connect(self) -> BatchStore:
        connection = file.connect(self._path)
        try:
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('box_id', ?)", (self._box_id,))
            owner = connection.execute("SELECT value FROM meta WHERE key = 'box_id'").fetchone()[0]
            if owner != self._box_id:
                raise OutboxError(
                    f"{self._path}: belongs to box {owner}, not {self._box_id}; give this box its own data folder"
                )
            store = self._make_store(connection)
            store.stamp = self._stamp
            return store
        except (TypeError, ValueError) as error:  # a row that was always there is gone, or holds another type
            connection.close()
            raise sqlite3.DatabaseError(f"the tables are damaged: {error}") from error
        except BaseException:
            connection.close()
            raise

    def _replace_file(self, why: str) -> BatchStore:
        """Set the file aside, begin a new one and carry over what can still be read and proven."""
        target = file.quarantine(self._path)
        store = self._connect()
        saved = dict.fromkeys(LANES, 0)

        def carry_over() -> None:
            store.save_state(file.salvage_state(target))
            for item in file.salvage(target):
                if self._is_ours(item.raw) and item.lane in LANES:
                    saved[store.insert(item)] += item.count
            for row in file.salvage_fresh(target):
                saved["readings"] += store.insert_fresh(*row)
            numbers = {f"{lane}_saved": count for lane, count in saved.items()}
            store.append_events([store.gap("outbox_corrupt", epoch=store.epoch, quarantined=target.name, **numbers)])

        self._run(store, carry_over)
        logger.error("%s was damaged (%s) and is kept as %s; saved %s", self._path, why, target.name, saved)
        return store

    def _is_ours(self, raw: bytes) -> bool:
        try:
            return open_batch(raw, lambda _: self._signer.public_key).header.box_id == self._box_id
        except BatchError:
            return False

    def is_sound(self, batch: Pending) -> bool:
        """Whether a waiting batch bears this box's signature: if not, no centre will ever take it."""
        return self._is_ours(batch.raw)

    @staticmethod
    def _run(store: BatchStore, work: Callable[[], Result]) -> Result:
        """One transaction; on an error nothing of it stays, not even in the counters."""
        store.db.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            store.db.execute("COMMIT")
        except BaseException:
            if store.db.in_transaction:
                store.db.execute("ROLLBACK")
            store.recount()
            raise
        return result

    def _write(self, work: Callable[[BatchStore], Result]) -> Result:
        """One transaction under the lock; a file that turns out damaged is replaced and the work done once more."""
        try:
            return self._run(self._store, lambda: work(self._store))
        except (sqlite3.Error, TypeError, ValueError) as error:  # the latter two: a column holds what it never should
            sound = not file.is_damaged(error) if isinstance(error, sqlite3.Error) else file.is_sound(self._store.db)
            if sound:
                raise
            self._store.db.close()
            self._store = self._replace_file(str(error))
            return self._run(self._store, lambda: work(self._store))

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        """SQLite's errors as OutboxError; a full disk is given its room for the next try."""
        try:
            yield
        except sqlite3.Error as error:
            if file.is_disk_full(error, self._path):
                self._enter_full_disk()
            raise OutboxError(f"{what}: {error}") from error

    # -- commit -------------------------------------------------------------------------------------------------

    def commit(
        self, readings: Sequence[Reading], events: Sequence[Event], state: Mapping[str, str | None] | None = None
    ) -> None:
        """Put records and rule state on disk in one synced transaction. A state value of None deletes its key.

        Raises OutboxFull when events and state are on disk but the readings are not, any other OutboxError when
        nothing was kept.
        """
        with self._lock:
            self._leave_full_disk()
            try:
                self._write(lambda store: self._put(store, readings, events, state or {}))
            except sqlite3.Error as error:
                if not file.is_disk_full(error, self._path):
                    raise OutboxError(f"the outbox took nothing: {error}") from error
                self._commit_on_full_disk(readings, events, state or {})

    def _put(
        self,
        store: BatchStore,
        readings: Sequence[Reading],
        events: Sequence[Event],
        state: Mapping[str, str | None],
    ) -> None:
        cap = self._readings_bytes_max if self._full_cap is None else self._full_cap
        store.evict(cap)  # before the new records, so that they find room on a full disk
        store.append_events(events)
        store.append_readings(readings)
        store.save_state(state)
        store.evict(cap)

    def _commit_on_full_disk(
        self, readings: Sequence[Reading], events: Sequence[Event], state: Mapping[str, str | None]
    ) -> None:
        self._enter_full_disk()
        try:
            return self._write(lambda store: self._put(store, readings, events, state))
        except sqlite3.Error as error:
            if not file.is_disk_full(error, self._path):
                raise OutboxError(f"the outbox took nothing: {error}") from error
        try:
            self._write(lambda store: self._put_without_readings(store, len(readings), events, state))
        except sqlite3.Error as error:
            raise OutboxError(f"the disk is full and the outbox took nothing: {error}") from error
        if readings:
            raise OutboxFull(len(readings))

    def _enter_full_disk(self) -> None:
        """Make room: the reserve, what the centre has already, then the oldest readings instead of the newest."""
        waiting = self._store.waiting["readings"].size_bytes
        if self._full_cap is None:
            logger.error("%s: the disk is full; oldest readings make room, events keep their reserve", self._path)
        self._reserve.release()
        self._full_cap = max(0, waiting - max(waiting // 50, 256 * 1024))
        self._full_retry_s = time.monotonic() + FULL_RETRY_S
        try:
            file.limit_log(self._store.db, file.WAL_PAGES_MAX_FULL)
            self._store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._run(self._store, lambda: self._store.trim_delivered(0))
        except sqlite3.Error:
            return  # the commit that follows will tell

    def _put_without_readings(
        self, store: BatchStore, refused: int, events: Sequence[Event], state: Mapping[str, str | None]
    ) -> None:
        """Events and state only; refused readings are told at once, then at most once a minute."""
        store.append_events(events)
        store.save_state(state)
        store.evict(self._full_cap or 0)
        store.count_refused(refused)
        self._untold_refused += refused
        if time.monotonic() >= self._refused_told_s:
            self._tell_refused(store)

    def _tell_refused(self, store: BatchStore) -> None:
        if self._untold_refused:
            store.append_events([store.gap("disk_full", lane="readings", records=self._untold_refused)])
            self._untold_refused = 0
            self._refused_told_s = time.monotonic() + REFUSED_TELL_S

    def _leave_full_disk(self) -> None:
        """Back to the usual caps once there is room for the reserve and as much again."""
        if self._full_cap is None or time.monotonic() < self._full_retry_s:
            return
        self._full_retry_s = time.monotonic() + FULL_RETRY_S
        if not self._reserve.hold():
            return
        self._full_cap = None
        try:
            file.limit_log(self._store.db, file.WAL_PAGES_MAX)
            self._write(self._tell_room)
        except sqlite3.Error:
            return  # the commit that follows meets the same fault and deals with it
        logger.info("%s: there is room on the disk again", self._path)

    def _tell_room(self, store: BatchStore) -> None:
        self._tell_refused(store)
        store.append_events([store.note("disk_has_room")])

    # -- sending ------------------------------------------------------------------------------------------------

    def pending(
        self, lane: Lane, *, records_max: int, bytes_max: int, after_id: int = 0, seal: bool = True
    ) -> list[Pending]:
        """The oldest waiting batches of a lane behind *after_id*, at least one if any waits.

        With *seal*, readings that make no full batch yet are sealed first. A batch whose bytes changed on the disk is
        set aside and told.
        """
        with self._lock, self._faults("the outbox gave nothing"):
            if seal and lane == "readings" and self._store.fresh_records:
                self._write(lambda store: store.seal_fresh())
            found, damaged = self._write(lambda store: store.pending(lane, records_max, bytes_max, after_id))
            for item in damaged:
                logger.error("%s batch %d: its bytes were changed on the disk; set aside", lane, item.seq)
                self._write(_setting_aside(item, "the bytes on the disk were changed"))
        if damaged and not found:
            return self.pending(lane, records_max=records_max, bytes_max=bytes_max, after_id=after_id, seal=seal)
        return found

    def has_waiting(self, lane: Lane) -> bool:
        """Whether sealed batches of a lane wait; needs neither the disk nor the lock."""
        return self._store.waiting[lane].batches > 0

    def newest_id(self, lane: Lane) -> int:
        """The id of the batch sealed last in a lane, 0 if none waits."""
        with self._lock, self._faults("the outbox could not be asked"):
            query = "SELECT max(id) FROM batch WHERE lane = ? AND delivered = 0"
            return int(self._store.db.execute(query, (lane,)).fetchone()[0] or 0)

    def settle(self, receipts: Iterable[Receipt]) -> None:
        """Carry out the centre's receipts: keep what it has only for a while, set aside what it will never take.

        What it holds other bytes of (this file was taken back to an earlier state) is sealed again in a new epoch.
        """

        def carry_out(store: BatchStore) -> None:
            for receipt in receipts:
                if receipt.box_id == self._box_id:
                    carry_out_receipt(store, receipt)
            store.trim_delivered(self._delivered_bytes_max)

        receipts = list(receipts)
        with self._lock, self._faults("the receipts could not be carried out"):
            self._write(carry_out)

    def take_missing(self, missing: Sequence[SeqRange]) -> int:
        """Answer what the centre lacks: send again what is here, tell what is not; gives the batches sent again."""

        with self._lock, self._faults("the centre's question could not be answered"):
            return self._write(lambda store: answer_missing(store, missing))

    # -- looking ------------------------------------------------------------------------------------------------

    def load_state(self, prefix: str) -> dict[str, str]:
        """The saved states whose key starts with *prefix*; one that was changed on the disk is left out."""
        with self._lock, self._faults("the outbox could not be asked"):
            rows = self._store.db.execute(
                "SELECT key, value, crc FROM state WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)
            ).fetchall()
        return {key: value for key, value, crc in rows if file.state_crc(key, value) == crc}

    def status(self) -> OutboxStatus:
        with self._lock, self._faults("the outbox could not be asked"):
            return read_status(self._store.db, self._path)

    def close(self) -> None:
        with self._lock:
            self._store.db.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _setting_aside(item: Pending, reason: str) -> Callable[[BatchStore], None]:
    return lambda store: store.set_aside(item.epoch, item.lane, item.seq, reason)
