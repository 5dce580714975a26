"""The SQLite file of the outbox: opened with every commit synced, checked, and set aside when it is damaged.

A damaged file is renamed, never deleted, and whatever can still be read and proven in it is carried over.
"""

from __future__ import annotations

import sqlite3
import struct
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from telemetry.batch import FIRST_PREVIOUS, sha256_hex
from telemetry.messages import LANES
from telemetry.outbox.status import OutboxError

_SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_VERSION = 2
CHECK_BYTES_MAX = 64 * 1024 * 1024  # a larger file is checked as it is used: a full check would delay the start
WAL_PAGES_MAX = 256
WAL_PAGES_MAX_FULL = 8  # on a full disk the log must not eat the reserve
SALVAGE_S_MAX = 10.0
_WAL_HEADER = struct.Struct(">8I")
_WAL_FRAME = struct.Struct(">6I")


def connect(path: Path) -> sqlite3.Connection:
    """Open or make the file; raises sqlite3.DatabaseError if it is damaged, OutboxError if it is not ours to use."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.text_factory = _lenient_text
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        limit_log(connection, WAL_PAGES_MAX)
        if path.stat().st_size <= CHECK_BYTES_MAX and not is_sound(connection):
            raise sqlite3.DatabaseError("quick_check failed")
        _make_tables(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def limit_log(connection: sqlite3.Connection, pages: int) -> None:
    """Keep the write-ahead log to about so many pages of 4 KiB."""
    connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
    connection.execute(f"PRAGMA journal_size_limit = {pages * 4096}")


def _lenient_text(data: bytes) -> str:
    """Text whose bytes were changed shall be found wrong by its check sum, not break the reading."""
    return data.decode(errors="replace")


def is_sound(connection: sqlite3.Connection) -> bool:
    """Whether SQLite finds nothing wrong in the structure and the column types."""
    try:
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.Error:
        return False


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise OutboxError(f"{path}: was made by a version before 0.2; let that version empty it, then remove it")
    if version > SCHEMA_VERSION:
        raise OutboxError(f"{path}: was made by a newer version; install that one again")
    if version == SCHEMA_VERSION:
        return
    connection.executescript(f"BEGIN IMMEDIATE;\n{_SCHEMA.read_text('utf-8')}")
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (uuid.uuid4().hex,))
    for lane in LANES:
        connection.execute("INSERT OR IGNORE INTO lane VALUES (?, 0, ?, 0, 0, 0, 0, 0)", (lane, FIRST_PREVIOUS))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def is_disk_full(error: sqlite3.Error, path: Path) -> bool:
    """Whether SQLite failed for want of space (an I/O error on a disk without space counts)."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return True
    if code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return False
    import shutil

    return shutil.disk_usage(path.parent).free < WAL_PAGES_MAX * 4096


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault: other bytes than SQLite wrote, or bytes the disk cannot read."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return type(error) is sqlite3.DatabaseError
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or code in (
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
    )


def quarantine(path: Path) -> Path:
    """Set the file and its log aside; gives the new name."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    path.replace(target)
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.replace(target.with_name(target.name + suffix))
    return target


def quarantined(path: Path) -> list[str]:
    """Names of the files set aside beside *path*, oldest first."""
    names = (found.name for found in path.parent.glob(f"{path.name}.corrupt-*"))
    return sorted(name for name in names if not name.endswith(("-wal", "-shm")))


@dataclass(frozen=True)
class Salvaged:
    """A waiting batch found in a damaged file whose bytes still have their digest."""

    epoch: str
    lane: str
    seq: int
    count: int
    sha256: str
    raw: bytes


def salvage(path: Path) -> Iterator[Salvaged]:
    """The waiting batches that a damaged file still gives, oldest first, for at most SALVAGE_S_MAX."""
    end_s = time.monotonic() + SALVAGE_S_MAX
    for (item,) in _rows(path, "SELECT id FROM batch WHERE delivered = 0 ORDER BY id"):
        if time.monotonic() > end_s:
            return
        query = (
            "SELECT epoch, lane, seq, count, sha256, CAST(raw AS BLOB) FROM batch JOIN frame USING (id) WHERE id = ?"
        )
        for row in _rows(path, query, item):
            if isinstance(row[5], bytes) and sha256_hex(row[5]) == row[4]:
                yield Salvaged(*row)


def salvage_fresh(path: Path) -> list[tuple[str, int, int, bytes]]:
    """Boot, count, CRC and payload of the unsealed readings that a damaged file still gives."""
    rows = _rows(path, "SELECT boot_id, count, crc, CAST(payload AS BLOB) FROM fresh ORDER BY id")
    return [row for row in rows if isinstance(row[3], bytes) and zlib.crc32(row[3]) == row[2]]


def salvage_state(path: Path) -> dict[str, str]:
    """The saved states that a damaged file still gives."""
    rows = _rows(path, "SELECT key, value, crc FROM state")
    return {key: value for key, value, crc in rows if state_crc(key, value) == crc}


def state_crc(key: str, value: str) -> int:
    return zlib.crc32(f"{key}\0{value}".encode())


def _rows(path: Path, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(path, timeout=1)) as connection:
            yield from connection.execute(query, values)
    except (sqlite3.Error, ValueError):  # ValueError: text that is no longer UTF-8
        return


def wal_lost_commits(path: Path) -> bool:
    """Whether the write-ahead log holds commits behind a damaged place, which SQLite would drop without a word.

    A log that was cut by a power loss ends in at most one commit; two prove that synced bytes were changed.
    Format: https://www.sqlite.org/fileformat2.html#walformat
    """
    wal = path.with_name(path.name + "-wal")
    data = wal.read_bytes() if wal.exists() else b""
    if len(data) < _WAL_HEADER.size:
        return False
    magic, _, page_bytes, _, *salts, first, second = _WAL_HEADER.unpack_from(data)
    order = ">" if magic & 1 else "<"
    sums = _checksum(data[:24], (0, 0), order)
    broken = magic & ~1 != 0x377F0682 or sums != (first, second)
    if broken:
        page_bytes = 4096
        salts = list(_WAL_FRAME.unpack_from(data.ljust(64, b"\0"), _WAL_HEADER.size)[2:4])
    behind = 0
    for start in range(_WAL_HEADER.size, len(data) - _WAL_FRAME.size - page_bytes + 1, _WAL_FRAME.size + page_bytes):
        _, commit_pages, *frame_salts, first, second = _WAL_FRAME.unpack_from(data, start)
        if frame_salts != salts:
            broken = True  # damaged, or left over from before the log was started anew: then all behind it is, too
            continue
        if not broken:
            body = start + _WAL_FRAME.size
            sums = _checksum(data[start : start + 8], sums, order)
            sums = _checksum(data[body : body + page_bytes], sums, order)
            broken = sums != (first, second)
        behind += broken and commit_pages > 0
    return behind >= 2


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return first, second
