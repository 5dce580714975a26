"""Exports an alert, or a site's days, as one ZIP that can be checked far away with public keys alone.

``bundle.json`` holds the head and, for each item, its leaf and the path to the head's root; the signed bytes of batches
and pictures lie beside it as they came from the box. Checked by `server.merkle.bundle_check`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from server.blob_port import BlobDamaged, BlobStore
from server.boxes.keys import KeyBook
from server.merkle.log import NotProvable, newest_head, prove
from server.merkle.papers import add_papers
from server.models import Alert, AlertMove, Box, Evidence, Rectification, Site, StoredBatch
from server.models_life_cycle import RectificationPhoto
from server.reports.models import BatchSource
from server.series.port import to_ms
from telemetry.messages import Event

FORMAT = "brightline-bundle-1"
ITEMS_MAX = 200_000
AROUND = timedelta(hours=1)  # readings before and after an alert that belong to its story


@dataclass(frozen=True)
class Item:
    """A leaf of the log with its proof; ``file`` holds the bytes that it is about, if there are any."""

    kind: str
    leaf: list[Any]
    position: int
    path: list[str]
    file: str | None


class Bundle:
    """Collects items into an open ZIP; what cannot be proved or read is listed in ``missing`` with the reason."""

    def __init__(self, db: Session, blobs: BlobStore, archive: zipfile.ZipFile) -> None:
        self._db = db
        self._blobs = blobs
        self._archive = archive
        self._items: list[Item] = []
        self._missing: list[str] = []
        self._names: set[str] = set()

    def add(self, kind: str, ref: object, file: str | None = None, data: bytes | None = None) -> None:
        """Add one row; raises ValueError when there are too many for one bundle."""
        try:
            proof = prove(self._db, kind, str(ref))
        except NotProvable as error:
            self._missing.append(f"{kind} {ref}: {error}")
            return
        if len(self._items) >= ITEMS_MAX:
            raise ValueError(f"more than {ITEMS_MAX} items; export fewer days at once")
        if file is not None and data is not None:
            self._write(file, data)
        path = [item.hex() for item in proof.path]
        self._items.append(Item(kind, json.loads(proof.data), proof.position, path, file))

    def _write(self, name: str, data: bytes) -> None:
        if name not in self._names:
            self._names.add(name)
            self._archive.writestr(name, data)

    def add_batch(self, batch_id: int) -> None:
        row = self._db.get_one(StoredBatch, batch_id)
        self.add("batch", batch_id, f"batches/{row.sha256}.blb", row.raw)
        self._db.expunge(row)

    def add_alert(self, alert: Alert) -> None:
        """The alert, its moves, repairs, decisions and pictures."""
        self.add("alert", alert.id)
        for move_id in self._db.scalars(select(AlertMove.id).where(AlertMove.alert_id == alert.id)):
            self.add("move", move_id)
        for repair in self._db.scalars(select(Rectification).where(Rectification.alert_id == alert.id)):
            self.add("rectification", repair.id)
            if repair.accepted is not None:
                self.add("decision", repair.id)
            photos = select(RectificationPhoto).where(RectificationPhoto.rectification_id == repair.id)
            for photo in self._db.scalars(photos):
                self.add("photo", photo.id)
                self._add_photo(photo.original_sha256)
                self._add_photo(photo.photo_sha256)
        mine = (Evidence.incident_id == alert.incident_id, Evidence.box_id == alert.box_id)
        for row in self._db.scalars(select(Evidence).where(*mine)):
            blob = self.blob(row.sha256)
            if blob is not None:
                sealed = row.signed_manifest + row.signature + blob
                self.add("evidence", row.key, f"evidence/{row.key}.ble", sealed)

    def add_file(self, kind: str, ref: int, digest: str, folder: str, data: bytes | None) -> None:
        """A row of which the leaf holds the digest of what it says, with these bytes."""
        self.add(kind, ref, f"{folder}/{digest}" if data is not None else None, data)

    def blob(self, digest: str) -> bytes | None:
        """A picture or a file of the blob store; what is not here is listed as missing."""
        try:
            return self._blobs.get(digest)
        except (KeyError, BlobDamaged):
            self._missing.append(f"picture {digest}: its bytes are not here")
            return None

    def _add_photo(self, digest: str) -> None:
        blob = self.blob(digest)
        if blob is not None:
            self._write(f"photos/{digest}", blob)

    def close(self, of: dict[str, Any], checkpoint: str) -> tuple[int, list[str]]:
        """Write the list; gives how many items there are and what is missing."""
        listed = {
            "format": FORMAT, "of": of, "checkpoint": checkpoint, "items": [asdict(item) for item in self._items],
            "missing": self._missing,
        }  # fmt: skip
        self._archive.writestr("bundle.json", json.dumps(listed, ensure_ascii=False, indent=1))
        return len(self._items), self._missing


def export_alert(db: Session, blobs: BlobStore, alert_id: int, out: Path) -> tuple[int, list[str]]:
    """Everything of one alert; raises ValueError for an unknown one, FileExistsError rather than replace a file."""
    alert = db.get(Alert, alert_id)
    if alert is None:
        raise ValueError(f"there is no alert {alert_id}")
    until = (alert.ended_at or alert.opened_at) + AROUND
    of_source = (BatchSource.box_id == alert.box_id, BatchSource.source_id == alert.source_id)
    batches = {
        *_batches(db, alert.opened_at - AROUND, until, *of_source, BatchSource.lane == "readings"),
        *_batches_of_incident(db, alert),
    }
    return _export(db, blobs, out, {"alert": alert_id, "incident": alert.incident_id}, [alert], sorted(batches))


def export_site(
    db: Session, blobs: BlobStore, site: Site, start: datetime, end: datetime, out: Path
) -> tuple[int, list[str]]:
    """All batches that speak of the time from *start* to *end*, the alerts that were opened in it, and its papers."""
    boxes = select(Box.id).where(Box.site_id == site.id)
    batches = sorted(set(_batches(db, start, end, BatchSource.box_id.in_(boxes))))
    alerts = select(Alert).where(Alert.site_id == site.id, Alert.opened_at >= start, Alert.opened_at < end)
    of = {"site": site.name, "from": start.isoformat(), "to": end.isoformat()}
    papers = partial(add_papers, db, site, start, end)
    return _export(db, blobs, out, of, db.scalars(alerts.order_by(Alert.id)), batches, papers)


def _export(
    db: Session,
    blobs: BlobStore,
    out: Path,
    of: dict[str, Any],
    alerts: Iterable[Alert],
    batches: Iterable[int],
    more: Callable[[Bundle], None] = lambda _: None,
) -> tuple[int, list[str]]:
    head = newest_head(db)
    if head is None:
        raise ValueError("no head of the log has been published yet; start the centre once")
    with zipfile.ZipFile(out, "x", zipfile.ZIP_DEFLATED) as archive:
        bundle = Bundle(db, blobs, archive)
        for alert in alerts:
            bundle.add_alert(alert)
        for batch_id in batches:
            bundle.add_batch(batch_id)
        more(bundle)
        return bundle.close(of, head.note)


def _batches(db: Session, start: datetime, end: datetime, *where: ColumnElement[bool]) -> Iterator[int]:
    """Batches that speak of some moment from *start* to *end*."""
    first_ms, last_ms = (to_ms(at) for at in (start, end))
    query = select(BatchSource.batch_id).where(BatchSource.last_ms >= first_ms, BatchSource.first_ms <= last_ms, *where)
    yield from db.scalars(query)


def _batches_of_incident(db: Session, alert: Alert) -> Iterator[int]:
    """The batches whose events tell of the incident."""
    mine = (
        BatchSource.box_id == alert.box_id, BatchSource.source_id == alert.source_id, BatchSource.lane == "events",
    )  # fmt: skip
    query = select(StoredBatch.id, StoredBatch.raw).join(BatchSource, BatchSource.batch_id == StoredBatch.id)
    keys = KeyBook(db)
    for batch_id, raw in db.execute(query.where(*mine).execution_options(yield_per=20)):
        batch = keys.opened(raw)
        records = batch.records if batch else ()
        if any(isinstance(item, Event) and item.incident_id == alert.incident_id for _, item in records):
            yield batch_id
