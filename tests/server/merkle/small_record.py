"""A small record made in this process: an alert with a picture and a repair, readings, a log with two heads."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.accounts import add_user, ensure_site, make_enrolment_code
from server.blobs import FolderBlobStore, open_blobs
from server.database import make_engine, migrate, writing
from server.ingest import enrol_box, take_batch, take_evidence
from server.life_cycle.record import record_move
from server.merkle.keys import ensure_signer
from server.merkle.log import append_pending, publish
from server.merkle.verification import HeldOutside
from server.merkle.worker import write_heads
from server.models import Alert, Rectification, User
from server.models_life_cycle import RectificationPhoto
from server.series.stores import open_store
from server.service import Hand, make_move
from server.settings import PostgresRecord, Settings, SqliteRecord
from server.verify import Verification, verify
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, Record, open_batch, seal_batch, sha256_hex
from telemetry.evidence import EvidenceManifest, open_evidence, seal_evidence
from telemetry.messages import Event, Lane, Reading
from telemetry.signing import Signer
from tests.ready_record import lay_ready_record

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SQLITE = SqliteRecord()
PASSWORD = "a long enough password"


@dataclass
class SmallRecord:
    """The record in a folder, and the box that sends to it."""

    data: Path
    box_id: str
    box: Signer
    epoch: str
    last: dict[Lane, tuple[int, str]]
    database: SqliteRecord | PostgresRecord = SQLITE

    @property
    def settings(self) -> Settings:
        return Settings(data_dir=self.data, database=self.database)

    @property
    def blobs(self) -> FolderBlobStore:
        found = open_blobs(self.settings)
        assert isinstance(found, FolderBlobStore)
        return found

    @property
    def signer(self) -> Signer:
        return ensure_signer(self.data)

    @contextmanager
    def changing(self) -> Iterator[Session]:
        engine = make_engine(self.settings)
        with Session(writing(engine), expire_on_commit=False) as db, db.begin():
            yield db
        engine.dispose()

    def copy(self, to: Path) -> SmallRecord:
        shutil.copytree(self.data, to)
        return SmallRecord(to, self.box_id, self.box, self.epoch, dict(self.last))

    def send(self, db: Session, lane: Lane, records: list[Record]) -> str:
        """One batch; its digest."""
        seq, previous = self.last.get(lane, (0, FIRST_PREVIOUS))
        header = BatchHeader(
            box_id=self.box_id, epoch=self.epoch, lane=lane, seq=seq + 1, previous_sha256=previous, created_at=AT,
            count=len(records), boot_id="boot",
        )  # fmt: skip
        raw = seal_batch(header, records, self.box)
        receipt, _ = take_batch(db, open_batch(raw, lambda _: self.box.public_key))
        assert receipt.status == "accepted"
        self.last[lane] = (seq + 1, sha256_hex(raw))
        return sha256_hex(raw)

    def send_picture(self, db: Session, blob: bytes, incident_id: str, at: datetime = AT) -> str:
        """One shared picture; its digest."""
        manifest = EvidenceManifest(
            evidence_id=uuid.uuid4().hex, sha256=sha256_hex(blob), size_bytes=len(blob), media_type="image/jpeg",
            role="annotated", incident_id=incident_id, box_id=self.box_id, camera_id="cam-1", place="备餐间",
            taken_at=at, kind="no_mask", model_sha256="0" * 64, config_sha256="0" * 64,
        )  # fmt: skip
        sealed = open_evidence(seal_evidence(manifest, blob, self.box), lambda _: self.box.public_key)
        self.blobs.put(blob)
        take_evidence(db, sealed)
        return manifest.sha256

    def raise_alert(self, db: Session, incident_id: str) -> int:
        data = {"kind": "no_mask", "place": "备餐间"}
        event = Event(
            event_id=uuid.uuid4().hex, incident_id=incident_id, source_id="cam-1", at=AT, type="violation_opened",
            severity="critical", data=data,
        )  # fmt: skip
        self.send(db, "events", [event])
        return db.scalars(select(Alert.id).where(Alert.incident_id == incident_id)).one()

    def repair(self, db: Session, alert_id: int, photo: bytes) -> None:
        """Staff say that it is repaired, a regulator accepts."""
        staff, regulator = (db.scalars(select(User).where(User.role == role)).one() for role in ("staff", "regulator"))
        now, digest = datetime.now(UTC), self.blobs.put(photo)
        alert = db.get_one(Alert, alert_id)
        record_move(db, alert, "submit", staff, "擦干净了", now, "::1")
        repair = Rectification(
            alert_id=alert_id, note="擦干净了", person="Li", place="备餐间", scene="clean", submitted_by_id=staff.id,
            submitted_at=now,
        )  # fmt: skip
        db.add(repair)
        db.flush()
        said = {"original_sha256": digest, "photo_sha256": digest, "taken_from": "form", "taken_at": now}
        db.add(RectificationPhoto(rectification_id=repair.id, **said))
        make_move(db, Hand(regulator, "::1"), alert_id, "accept")

    def grow(self, now: datetime = AT) -> None:
        """Leaves for all that waits, and a head over them, in the file too."""
        with self.changing() as db:
            while append_pending(db, 4):
                pass
            assert publish(db, self.signer, now) is not None
        with self.changing() as db:
            write_heads(db, self.data / "log-heads.jsonl")

    def verify(self, held: HeldOutside | None = None) -> Verification:
        engine = make_engine(self.settings)
        with (
            Session(engine) as db,
            closing(open_store(self.settings.series, engine, reading=db.connection())) as series,
        ):
            found = verify(db, self.blobs, series, held)
        engine.dispose()
        return found

    def tamper(self, *statements: str) -> None:
        """Change the database as somebody with the disk would, past all triggers."""
        with closing(sqlite3.connect(self.data / "record.sqlite")) as db:
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                assert db.execute(statement).rowcount > 0, statement
            db.commit()


def readings(count: int, first_s: float = 0.0, value: float = 4.0) -> list[Record]:
    return [
        Reading(
            sensor_id="cold-1", quantity="temperature", value=value, unit="°C",
            observed_at=AT + timedelta(seconds=first_s + index), quality="good",
        )
        for index in range(count)
    ]  # fmt: skip


def make_record(
    data: Path, jpeg: Callable[..., bytes], database: SqliteRecord | PostgresRecord = SQLITE
) -> SmallRecord:
    """A record whose log has all its rows, under two heads an hour apart."""
    box = Signer.generate()
    made = SmallRecord(data, "", box, uuid.uuid4().hex, {}, database)
    if isinstance(database, SqliteRecord):
        lay_ready_record(data)
    else:
        migrate(made.settings)
    with made.changing() as db:
        site = ensure_site(db, "Canteen A")
        made.box_id = enrol_box(db, make_enrolment_code(db, site), box.public_key_b64, "box").id
        add_user(db, "li", "Li", PASSWORD, "staff", site)
        add_user(db, "wang", "Wang", PASSWORD, "regulator", None)
        made.send(db, "readings", readings(5))
        alert_id = made.raise_alert(db, "inc-1")
        made.send_picture(db, jpeg(1), "inc-1")
    made.grow(AT)
    if database.type == "sqlite":
        keep_as_it_is(data)
    with made.changing() as db:
        made.repair(db, alert_id, jpeg(2))
        made.send(db, "readings", readings(5, 5.0))
    made.grow(AT + timedelta(hours=1))
    return made


def keep_as_it_is(data: Path) -> None:
    """A copy of the database, for who puts it back later."""
    paths = (data / "record.sqlite", data / "an-hour-ago.sqlite")
    with closing(sqlite3.connect(paths[0])) as db, closing(sqlite3.connect(paths[1])) as to:
        db.backup(to)
