"""The box's durable queue: what `commit` returned for is on disk and stays there until the centre's receipt.

Always true in here:
- readings, events and the state of the rules that made them are one SQLite transaction, synced before `commit` returns;
- records are sealed at commit, so a batch is re-sent with the very same bytes and its `seq` is never used twice;
- nothing is deleted but on a receipt, or evicted oldest-first from the readings lane at the byte cap, which is
  itself committed as a `data_gap` event;
- a file that SQLite cannot read is set aside, never deleted, and a new epoch begins.

Methods block and may be called from any thread.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel

from telemetry.batch import FIRST_PREVIOUS, BatchHeader, open_batch, seal_batch, sha256_hex
from telemetry.messages import LANES, Event, Lane, Reading, Receipt
from telemetry.signing import Signer

_SCHEMA = Path(__file__).with_name("outbox.sql")
BATCH_RECORDS_MAX = 5_000
READINGS_BYTES_MAX = 2 * 1024**3  # 72 h of 200 sensors at 10 s need about 0.6 GB


class OutboxError(Exception):
    """The outbox cannot take or give records now; the message says which file and why."""


class LaneStatus(BaseModel):
    """Counters of one lane: records ever committed, waiting, delivered, rejected, evicted."""

    last_seq: int
    records: int
    pending_batches: int
    pending_records: int
    pending_bytes: int
    delivered: int
    rejected: int
    evicted: int


class OutboxStatus(BaseModel):
    """What `brightline-edge outbox status` prints."""

    box_id: str
    epoch: str
    lanes: dict[Lane, LaneStatus]


@dataclass(frozen=True)
class Pending:
    """A sealed batch that waits for its receipt."""

    lane: Lane
    seq: int
    count: int
    raw: bytes


class Outbox:
    """See the module's docstring. Make one with `Outbox.open`."""

    def __init__(
        self, connection: sqlite3.Connection, box_id: str, signer: Signer, boot_id: str, readings_bytes_max: int
    ) -> None:
        self._db = connection
        self._box_id = box_id
        self._signer = signer
        self._boot_id = boot_id
        self._readings_bytes_max = readings_bytes_max
        self._lock = threading.Lock()
        self.epoch = str(connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
        self._readings_bytes = self._pending_bytes("readings")

    @classmethod
    def open(
        cls,
        path: Path,
        box_id: str,
        signer: Signer,
        *,
        boot_id: str,
        readings_bytes_max: int = READINGS_BYTES_MAX,
    ) -> Outbox:
        """Open or make the outbox file; a corrupt one is set aside as ``<name>.corrupt-<time>`` first."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        quarantined: Path | None = None
        try:
            connection = _connect(path)
        except sqlite3.DatabaseError:
            quarantined = _quarantine(path)
            connection = _connect(path)
        _check_owner(connection, path, box_id)
        outbox = cls(connection, box_id, signer, boot_id, readings_bytes_max)
        if quarantined is not None:
            outbox.commit([], [outbox._gap("outbox_corrupt", {"quarantined": quarantined.name})])
        return outbox

    def commit(
        self, readings: Sequence[Reading], events: Sequence[Event], state: Mapping[str, str | None] | None = None
    ) -> None:
        """Put records and rule state on disk in one synced transaction; raises OutboxError and then nothing was kept.

        A state value of None deletes its key.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._append("events", events)
                self._append("readings", readings)
                self._save_state(state or {})
                evicted = self._evict()
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._readings_bytes = self._pending_bytes("readings")
                raise OutboxError(f"the outbox took nothing: {error}") from error
            self._readings_bytes -= evicted

    def _append(self, lane: Lane, records: Sequence[Reading] | Sequence[Event]) -> None:
        for start in range(0, len(records), BATCH_RECORDS_MAX):
            part = records[start : start + BATCH_RECORDS_MAX]
            last_seq, last_sha256 = self._db.execute(
                "SELECT last_seq, last_sha256 FROM lane WHERE name = ?", (lane,)
            ).fetchone()
            header = BatchHeader(
                box_id=self._box_id,
                epoch=self.epoch,
                lane=lane,
                seq=last_seq + 1,
                previous_sha256=last_sha256,
                created_at=datetime.now(UTC),
                count=len(part),
                boot_id=self._boot_id,
            )
            raw = seal_batch(header, part, self._signer)
            self._db.execute(
                "INSERT INTO batch (lane, seq, count, bytes, raw) VALUES (?, ?, ?, ?, ?)",
                (lane, header.seq, len(part), len(raw), raw),
            )
            self._db.execute(
                "UPDATE lane SET last_seq = ?, last_sha256 = ?, records = records + ? WHERE name = ?",
                (header.seq, sha256_hex(raw), len(part), lane),
            )
            if lane == "readings":
                self._readings_bytes += len(raw)

    def _save_state(self, state: Mapping[str, str | None]) -> None:
        for key, value in state.items():
            if value is None:
                self._db.execute("DELETE FROM state WHERE key = ?", (key,))
            else:
                self._db.execute("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (key, value))

    def _evict(self) -> int:
        """Give up the oldest readings above the byte cap and tell it; returns the bytes freed."""
        freed = records = 0
        first = last = 0
        while self._readings_bytes - freed > self._readings_bytes_max:
            row = self._db.execute(
                "SELECT seq, count, bytes FROM batch WHERE lane = 'readings' ORDER BY seq LIMIT 1"
            ).fetchone()
            if row is None:
                break
            self._db.execute("DELETE FROM batch WHERE lane = 'readings' AND seq = ?", (row[0],))
            first, last = first or row[0], row[0]
            records, freed = records + row[1], freed + row[2]
        if records:
            self._db.execute("UPDATE lane SET evicted = evicted + ? WHERE name = 'readings'", (records,))
            self._append("events", [self._gap("evicted", {"first_seq": first, "last_seq": last, "records": records})])
        return freed

    def _gap(self, reason: str, data: dict[str, int | str]) -> Event:
        return Event(
            event_id=uuid.uuid4().hex,
            incident_id=uuid.uuid4().hex,
            type="data_gap",
            severity="warning",
            source_id=self._box_id,
            at=datetime.now(UTC),
            data={"reason": reason, "epoch": self.epoch, "lane": "readings", **data},
        )

    def pending(self, lane: Lane, *, records_max: int, bytes_max: int) -> list[Pending]:
        """The oldest waiting batches of a lane, at least one if any waits."""
        found: list[Pending] = []
        records = size = 0
        with self._lock:
            for seq, count, raw in self._db.execute(
                "SELECT seq, count, raw FROM batch WHERE lane = ? ORDER BY seq", (lane,)
            ):
                records, size = records + count, size + len(raw)
                if found and (records > records_max or size > bytes_max):
                    break
                found.append(Pending(lane, seq, count, raw))
        return found

    def settle(self, receipts: Iterable[Receipt]) -> None:
        """Carry out the centre's receipts: delete what it has, set aside what it will never take."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                for receipt in receipts:
                    if (receipt.box_id, receipt.epoch) == (self._box_id, self.epoch):
                        self._settle_one(receipt)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise OutboxError(f"the receipts could not be carried out: {error}") from error
            self._readings_bytes = self._pending_bytes("readings")

    def _settle_one(self, receipt: Receipt) -> None:
        key = (receipt.lane, receipt.seq)
        row = self._db.execute("SELECT count FROM batch WHERE lane = ? AND seq = ?", key).fetchone()
        if row is None:
            return
        column = "rejected" if receipt.status == "rejected" else "delivered"
        if receipt.status == "rejected":
            self._db.execute(
                "INSERT OR REPLACE INTO dead_letter (lane, seq, reason, raw) "
                "SELECT lane, seq, ?, raw FROM batch WHERE lane = ? AND seq = ?",
                (receipt.reason or "", *key),
            )
        self._db.execute("DELETE FROM batch WHERE lane = ? AND seq = ?", key)
        self._db.execute(f"UPDATE lane SET {column} = {column} + ? WHERE name = ?", (row[0], receipt.lane))  # noqa: S608

    def load_state(self, prefix: str) -> dict[str, str]:
        """The saved states whose key starts with *prefix*."""
        with self._lock:
            rows = self._db.execute("SELECT key, value FROM state WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
            return dict(rows.fetchall())

    def status(self) -> OutboxStatus:
        with self._lock:
            lanes: dict[Lane, LaneStatus] = {}
            for lane in LANES:
                row = self._db.execute(
                    "SELECT last_seq, records, delivered, rejected, evicted FROM lane WHERE name = ?", (lane,)
                ).fetchone()
                waiting = self._db.execute(
                    "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(bytes), 0) FROM batch WHERE lane = ?",
                    (lane,),
                ).fetchone()
                lanes[lane] = LaneStatus(
                    last_seq=row[0],
                    records=row[1],
                    delivered=row[2],
                    rejected=row[3],
                    evicted=row[4],
                    pending_batches=waiting[0],
                    pending_records=waiting[1],
                    pending_bytes=waiting[2],
                )
            return OutboxStatus(box_id=self._box_id, epoch=self.epoch, lanes=lanes)

    def verify(self) -> list[str]:
        """Problems found in the waiting batches (signature, digest, order); empty when all is well."""
        problems: list[str] = []
        for lane in LANES:
            with self._lock:
                rows = self._db.execute("SELECT seq, raw FROM batch WHERE lane = ? ORDER BY seq", (lane,)).fetchall()
            before: tuple[int, str] | None = None
            for seq, raw in rows:
                problem = self._problem(raw, seq, before)
                if problem:
                    problems.append(f"{lane} {seq}: {problem}")
                before = (seq, sha256_hex(raw))
        return problems

    def _problem(self, raw: bytes, seq: int, before: tuple[int, str] | None) -> str | None:
        from telemetry.batch import BatchError

        try:
            batch = open_batch(raw, lambda _: self._signer.public_key)
        except BatchError as error:
            return str(error)
        if batch.header.seq != seq:
            return f"holds seq {batch.header.seq}"
        if before is not None and before[0] == seq - 1 and batch.header.previous_sha256 != before[1]:
            return "does not follow the batch before it"
        return None

    def _pending_bytes(self, lane: Lane) -> int:
        query = "SELECT coalesce(sum(bytes), 0) FROM batch WHERE lane = ?"
        return int(self._db.execute(query, (lane,)).fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        connection.executescript(_SCHEMA.read_text("utf-8"))
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (uuid.uuid4().hex,))
        for lane in LANES:
            connection.execute("INSERT OR IGNORE INTO lane VALUES (?, 0, ?, 0, 0, 0, 0)", (lane, FIRST_PREVIOUS))
    except sqlite3.OperationalError as error:
        connection.close()
        raise OutboxError(f"{path}: cannot be opened ({error})") from error
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _quarantine(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    path.replace(target)
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.replace(target.with_name(target.name + suffix))
    return target


def _check_owner(connection: sqlite3.Connection, path: Path, box_id: str) -> None:
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('box_id', ?)", (box_id,))
    owner = connection.execute("SELECT value FROM meta WHERE key = 'box_id'").fetchone()[0]
    if owner != box_id:
        connection.close()
        raise OutboxError(f"{path}: belongs to box {owner}, not {box_id}; give this box its own data folder")
