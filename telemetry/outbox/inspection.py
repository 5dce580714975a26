"""Looks into an outbox file without changing it, also while a box uses it: status, verification, export.

An export is the waiting batches one behind the other, exactly as they would travel: a centre or anyone with the
box's public key can check it offline.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from telemetry.batch import BatchError, open_batch, read_frame, sha256_hex
from telemetry.messages import LANES, Lane
from telemetry.outbox.file import SCHEMA_VERSION, quarantined, salvage
from telemetry.outbox.reserve import reserve_path
from telemetry.outbox.status import LaneStatus, OutboxError, OutboxStatus
from telemetry.signing import PublicKey

What = Literal["waiting", "dead_letters", "damaged"]
KeyOf = Callable[[str], PublicKey | None]


@contextmanager
def looking_into(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read; raises OutboxError if there is no readable outbox."""
    if not path.is_file():
        raise OutboxError(f"{path}: there is no outbox; the box makes it at its first start")
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA query_only = 1")
        if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            raise OutboxError(f"{path}: was made by another version")
        yield connection
    except sqlite3.Error as error:
        raise OutboxError(f"{path}: cannot be read ({error}); the box sets it aside at its next start") from error
    finally:
        connection.close()


def read_status(db: sqlite3.Connection, path: Path) -> OutboxStatus:
    """The counters of an outbox."""
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    fresh = db.execute("SELECT coalesce(sum(count), 0) FROM fresh").fetchone()[0]
    lanes: dict[Lane, LaneStatus] = {}
    for lane in LANES:
        row = db.execute(
            "SELECT last_seq, records, delivered, rejected, evicted, refused FROM lane WHERE name = ?", (lane,)
        ).fetchone()
        batches, records, size = db.execute(
            "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(bytes), 0) FROM batch "
            "WHERE lane = ? AND delivered = 0",
            (lane,),
        ).fetchone()
        unsealed = fresh if lane == "readings" else 0
        lanes[lane] = LaneStatus(
            last_seq=row[0],
            records=row[1],
            pending_batches=batches + (unsealed > 0),
            pending_records=records + unsealed,
            pending_bytes=size,
            delivered=row[2],
            rejected=row[3],
            evicted=row[4],
            refused=row[5],
        )
    delivered = db.execute("SELECT coalesce(sum(bytes), 0) FROM batch WHERE delivered = 1").fetchone()[0]
    return OutboxStatus(
        box_id=meta["box_id"],
        epoch=meta["epoch"],
        reserve_held=reserve_path(path).exists(),
        file_bytes=path.stat().st_size,
        fresh_records=fresh,
        kept_delivered_bytes=delivered,
        dead_letters=db.execute("SELECT count(*) FROM dead_letter").fetchone()[0],
        quarantined_files=quarantined(path),
        lanes=lanes,
    )


@dataclass
class FrameCheck:
    """What a walk over sealed batches found; empty ``problems`` when all is well."""

    batches: int = 0
    records: int = 0
    problems: list[str] = field(default_factory=list)


def verify_frames(frames: Iterable[bytes], key_of: KeyOf) -> FrameCheck:
    """Check signature, contents and chain of batches, given in the order of each lane."""
    found = FrameCheck()
    before: dict[tuple[str, str, str], tuple[int, str]] = {}
    for number, raw in enumerate(frames, 1):
        found.batches += 1
        try:
            batch = open_batch(raw, key_of)
        except BatchError as error:
            found.problems.append(f"batch {number} of the file: {error}")
            continue
        header = batch.header
        name = f"{header.lane} {header.seq} (epoch {header.epoch[:8]})"
        found.records += header.count
        found.problems += [f"{name}: record {item.index}: {item.reason}" for item in batch.rejected]
        key = (header.box_id, header.epoch, header.lane)
        last = before.get(key)
        if last is not None and header.seq <= last[0]:
            found.problems.append(f"{name}: stands behind {last[0]}")
        if last is not None and header.seq == last[0] + 1 and header.previous_sha256 != last[1]:
            found.problems.append(f"{name}: does not follow the batch before it")
        before[key] = (header.seq, batch.sha256)
    return found


def waiting_frames(db: sqlite3.Connection) -> Iterator[bytes]:
    """The bytes of all waiting batches, events first, each lane in order."""
    for lane in LANES:
        for (raw,) in db.execute(
            "SELECT CAST(raw AS BLOB) FROM batch JOIN frame USING (id) "
            "WHERE lane = ? AND delivered = 0 ORDER BY epoch, seq",
            (lane,),
        ):
            yield raw


def verify_outbox(path: Path, key_of: KeyOf) -> FrameCheck:
    """Check every waiting batch of an outbox file; raises OutboxError."""
    with looking_into(path) as db:
        found = verify_frames(waiting_frames(db), key_of)
        for lane, seq, digest, raw in db.execute(
            "SELECT lane, seq, sha256, CAST(raw AS BLOB) FROM batch JOIN frame USING (id)"
        ):
            if sha256_hex(raw) != digest:
                found.problems.append(f"{lane} {seq}: its bytes were changed on the disk")
    return found


def read_export(path: Path) -> Iterator[bytes]:
    """The batches of an export, one at a time; raises BatchError or OSError."""
    with path.open("rb") as file:
        while raw := read_frame(file):
            yield raw


def dead_letters(db: sqlite3.Connection) -> Iterator[bytes]:
    """The bytes of the batches that were set aside; some of them may be damaged."""
    for (raw,) in db.execute("SELECT CAST(raw AS BLOB) FROM dead_letter ORDER BY epoch, lane, seq"):
        yield raw


def _frames_of(path: Path, what: What) -> Iterator[bytes]:
    if what == "damaged":
        yield from (item.raw for item in salvage(path))
        return
    with looking_into(path) as db:
        yield from dead_letters(db) if what == "dead_letters" else waiting_frames(db)


def export(path: Path, target: Path, what: What = "waiting") -> int:
    """Write batches to a new file; gives their number. ``damaged``: what waits in a set-aside file that still reads.

    Raises OutboxError or OSError (the target exists, or its disk is full; nothing is left of it then).
    """
    written = 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            for raw in _frames_of(path, what):
                file.write(raw)
                written += 1
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return written
