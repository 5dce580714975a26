"""Makes a backup beside a running centre: a consistent copy of the database, and every blob that it names.

The database is copied first and blobs are only ever added (the retention is kept off meanwhile), so each blob that the
copy names is found. A blob that a former backup left in the same folder is checked instead of being fetched again.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.audit import CONSOLE, note
from server.backup.manifest import (
    BackupFile,
    Manifest,
    digest_of_file,
    read_manifest,
    write_manifest,
    write_whole,
)
from server.blob_folder import FolderBlobStore
from server.blob_port import BlobDamaged, BlobStore
from server.blob_references import referenced_blobs
from server.boxes import settings as boxes
from server.database import writing
from server.merkle.settings import HEADS_FILE
from server.notification import settings as notification
from server.retention.worker import DUTY
from server.series import settings as series
from server.settings import FILE_NAME, PostgresRecord, Settings
from server.work import hold_duty, leave_duty
from telemetry.signing import Signer

LEASE_S = 6 * 3600.0
DUMP_TIMEOUT_S = 6 * 3600.0
# what is taken along of the data folder: settings hold references to secrets, never secrets
FILES = (FILE_NAME, series.FILE_NAME, notification.FILE_NAME, boxes.FILE_NAME, HEADS_FILE)
BLOBS = "blobs"


class BackupBusy(ValueError):
    """Another backup or a purge is running."""


@dataclass(frozen=True)
class Made:
    """How many blobs the backup has, how many of them are new in its folder, and which the centre has lost."""

    blobs: int
    new: int
    lost: list[str]


def make_backup(engine: Engine, settings: Settings, blobs: BlobStore, signer: Signer, out: Path) -> Made:
    """Write or renew the backup in *out*. Raises BackupBusy, BlobsUnavailable, OSError, ValueError."""
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    worker = f"backup {uuid.uuid4().hex[:16]}"
    with Session(writing(engine)) as db, db.begin():
        if not hold_duty(db, DUTY, worker, LEASE_S):
            raise BackupBusy("a purge or another backup is running; try again in some minutes")
    try:
        return _make(engine, settings, blobs, signer, out)
    finally:
        with Session(writing(engine)) as db, db.begin():
            leave_duty(db, DUTY, worker)


def _make(engine: Engine, settings: Settings, blobs: BlobStore, signer: Signer, out: Path) -> Made:
    at = datetime.now(UTC)
    taken = [settings.data_dir / name for name in FILES]  # the heads before the database, which then has them all
    files = [_keep(out, path.name, path.read_bytes()) for path in taken if path.is_file()]
    with Session(writing(engine)) as db, db.begin():
        note(db, CONSOLE, "record.backup", ("record", settings.database.type))
    record = _copy_database(settings, out)
    store = FolderBlobStore(out / BLOBS)
    lines, lost, new = [], [], 0
    with Session(engine) as db:
        for digest in referenced_blobs(db):
            size_bytes, fetched = _copy_blob(blobs, store, digest)
            new += fetched
            if size_bytes is None:
                lost.append(digest)
            else:
                lines.append(f"{digest} {size_bytes}\n")
    blob_list = _keep(out, "blobs.txt", "".join(lines).encode())
    manifest = Manifest(
        at=at, database=settings.database.type, record=record, blob_list=blob_list, files=files, lost=lost
    )
    write_manifest(out, manifest, signer)
    _tidy(out)
    return Made(len(lines), new, lost)


def _copy_blob(source: BlobStore, to: FolderBlobStore, digest: str) -> tuple[int | None, int]:
    """The size (None: the centre has lost it) and 1 if it was fetched."""
    try:
        return len(to.get(digest)), 0
    except BlobDamaged:
        to.delete(digest)
    except KeyError:
        pass
    try:
        data = source.get(digest)
    except (KeyError, BlobDamaged):
        return None, 0
    to.put(data)
    return len(data), 1


def _keep(out: Path, name: str, data: bytes) -> BackupFile:
    digest = sha256(data).hexdigest()
    file = f"{digest[:16]}-{name}"
    write_whole(out / file, data)
    return BackupFile(file=file, name=name, sha256=digest, size_bytes=len(data))


def _copy_database(settings: Settings, out: Path) -> BackupFile:
    name = "record.dump" if isinstance(settings.database, PostgresRecord) else "record.sqlite"
    part = out / f".{name}.part"
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    if isinstance(settings.database, PostgresRecord):
        command = ["pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--file", str(part)]
        run_postgres(command, settings.database)
    else:
        with (
            closing(sqlite3.connect(f"{(settings.data_dir / 'record.sqlite').as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(part)) as target,
        ):
            source.backup(target)  # in one step: writers go on beside it
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    with part.open("rb") as file:
        os.fsync(file.fileno())
    digest, size_bytes = digest_of_file(part)
    kept = BackupFile(file=f"{digest[:16]}-{name}", name=name, sha256=digest, size_bytes=size_bytes)
    part.replace(out / kept.file)
    return kept


def run_postgres(command: list[str], record: PostgresRecord) -> None:
    """One of PostgreSQL's programs on the record's database; raises ValueError with what it says."""
    url = record.sqlalchemy_url
    environment = {
        **os.environ, "PGHOST": url.host or "", "PGPORT": str(url.port or 5432), "PGUSER": url.username or "",
        "PGDATABASE": url.database or "", "PGPASSWORD": str(url.password or ""), "PGSSLMODE": record.sslmode,
        "PGCONNECT_TIMEOUT": str(max(2, round(record.connect_timeout_s))),
        **({"PGSSLROOTCERT": str(record.ca_file)} if record.ca_file else {}),
    }  # fmt: skip
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=DUMP_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise ValueError(f"{command[0]} is not installed; it comes with PostgreSQL's client programs") from None
    if done.returncode:
        raise ValueError(f"{command[0]}: {done.stderr.strip()[-400:]}")


def _tidy(out: Path) -> None:
    """Remove the files of former backups; blobs stay for those that come."""
    manifest, _ = read_manifest(out, None)
    needed = {file.file for file in (manifest.record, manifest.blob_list, *manifest.files)}
    for path in out.iterdir():
        if path.is_file() and path.name[16:17] == "-" and path.name not in needed:
            path.unlink()
