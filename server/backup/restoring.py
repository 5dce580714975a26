"""Makes a centre out of a backup, on an empty machine: every digest is checked before anything is written.

The copy becomes the record only as the last step. Settings are laid aside (``restored-settings``), not used: they speak
of the machine that is gone. The restored centre makes itself a new key; the old heads hold by the old public one.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from server.backup.making import BLOBS, run_postgres
from server.backup.manifest import BackupDamaged, Manifest, check_file, read_blob_list, read_manifest
from server.blob_folder import FolderBlobStore
from server.blob_port import BlobDamaged, BlobStore
from server.blobs import open_blobs
from server.database import make_engine, migrate, writing
from server.merkle.checkpoint import LogKey
from server.merkle.settings import HEADS_FILE
from server.merkle.verification import HeldOutside, read_heads_file
from server.series.stores import open_store
from server.series.upkeep import rebuild
from server.settings import PostgresRecord, Settings
from server.shared_keys import forget_keys
from server.verify import Verification, verify

ASIDE = "restored-settings"


class NotEmpty(ValueError):
    """There is something where the backup would go; nothing was touched."""


@dataclass(frozen=True)
class Restored:
    """Whose backup it was, and what `verify` says of the record that was made of it."""

    key: LogKey
    manifest: Manifest
    verification: Verification


def check_backup(folder: Path, trusted: list[LogKey] | None) -> tuple[Manifest, LogKey]:
    """Check every byte of a backup; raises BackupDamaged."""
    manifest, key = read_manifest(folder, trusted)
    for file in (manifest.record, *manifest.files):
        check_file(folder, file)
    store = FolderBlobStore(folder / BLOBS)
    for digest, _ in read_blob_list(check_file(folder, manifest.blob_list)):
        try:
            store.get(digest)
        except KeyError:
            raise BackupDamaged(f"blob {digest} is missing") from None
        except BlobDamaged as error:
            raise BackupDamaged(str(error)) from None
    return manifest, key


def restore(folder: Path, settings: Settings, trusted: list[LogKey] | None) -> Restored:
    """Restore into the empty places that *settings* name; raises NotEmpty, BackupDamaged, ValueError, OSError."""
    if settings.data_dir.exists() and any(settings.data_dir.iterdir()):
        raise NotEmpty(f"{settings.data_dir} is not empty")
    manifest, key = check_backup(folder, trusted)
    if manifest.database != settings.database.type:
        raise ValueError(f"the backup is of {manifest.database}, the settings name {settings.database.type}")
    if isinstance(settings.database, PostgresRecord):
        engine = make_engine(settings)
        tables = inspect(engine).get_table_names()
        engine.dispose()
        if tables:
            raise NotEmpty("the database is not empty")
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(open_blobs(settings)) as blobs:
        _put_blobs(folder, manifest, blobs)
        _put_files(folder, manifest, settings.data_dir)
        _put_record(folder, manifest, settings)
        return Restored(key, manifest, _brought_to_life(settings, blobs, trusted))


def _put_blobs(folder: Path, manifest: Manifest, blobs: BlobStore) -> None:
    store = FolderBlobStore(folder / BLOBS)
    for digest, _ in read_blob_list(folder / manifest.blob_list.file):
        blobs.put(store.get(digest))


def _put_files(folder: Path, manifest: Manifest, data_dir: Path) -> None:
    for file in manifest.files:
        target = data_dir if file.name == HEADS_FILE else data_dir / ASIDE
        target.mkdir(exist_ok=True, mode=0o700)
        shutil.copyfile(folder / file.file, target / file.name)
        (target / file.name).chmod(0o600)


def _put_record(folder: Path, manifest: Manifest, settings: Settings) -> None:
    source = folder / manifest.record.file
    if isinstance(settings.database, PostgresRecord):
        command = ["pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
        database = settings.database.sqlalchemy_url.database or ""
        run_postgres([*command, "--dbname", database, str(source)], settings.database)
        return
    part = settings.data_dir / "record.sqlite.part"
    shutil.copyfile(source, part)
    part.chmod(0o600)
    part.replace(settings.data_dir / "record.sqlite")


def _brought_to_life(settings: Settings, blobs: BlobStore, trusted: list[LogKey] | None) -> Verification:
    """Migrate, fill a series outside of the record again, and verify all."""
    migrate(settings)
    engine = make_engine(settings)
    heads = settings.data_dir / HEADS_FILE
    held = HeldOutside(trusted, read_heads_file(heads) if heads.exists() else ())
    try:
        if not settings.series.in_record:
            with closing(open_store(settings.series, engine)) as series:
                rebuild(engine, settings.series, series)
        with Session(writing(engine)) as db, db.begin():
            forget_keys(db)
        with Session(engine) as db, closing(open_store(settings.series, engine, reading=db.connection())) as series:
            return verify(db, blobs, series, held)
    finally:
        engine.dispose()
