"""What is in a leaf: for each kind of row the fields that never change, as one canonical line of JSON.

A leaf begins with its kind, so that no row can pass for one of another kind. Whoever holds the row's content can make
the leaf again; the hash alone tells nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from server.models import Alert, AlertMove, Evidence, Rectification, StoredBatch
from server.models_assets import AssetVersion
from server.models_audit import AuditEntry
from server.models_life_cycle import RectificationPhoto
from server.models_self_control import RetainedSample, SampleRemoval, SelfControlEdition
from server.reports.models import ReportEntry, ReportFile, SignedReport
from server.retention.models import Tombstone
from server.seals.models import RowSeal

REFS_AT_ONCE_MAX = 500
NO_ROW = -1
Key = InstrumentedAttribute[int] | InstrumentedAttribute[str]


@dataclass(frozen=True)
class Kind:
    """A kind of leaf: the key of its row, the columns that it holds in order, and when a row becomes a leaf.

    ``once``: the column whose first value makes the leaf, of a kind whose leaves are not made when a row is added.
    """

    name: str
    key: Key
    columns: tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...]
    join: Callable[[Select[Any]], Select[Any]] = lambda query: query
    seal: Callable[[Sequence[Any]], Sequence[Any]] = lambda fields: fields
    once: InstrumentedAttribute[Any] | None = None

    @property
    def table(self) -> str:
        return str(self.key.class_.__tablename__)

    def query(self) -> Select[Any]:
        """Key and fields of the rows of this kind."""
        query = self.join(select(self.key, *self.columns))
        return query if self.once is None else query.where(self.once.is_not(None))

    @property
    def watched(self) -> set[str]:
        """The columns that its trigger reads."""
        return {self.key.key} | ({self.once.key} if self.once is not None else set())

    def ref(self, text: str) -> int | str:
        """The key of a row as its column has it; of a damaged one a key that no row has."""
        if self.key.type.python_type is str:
            return text
        return int(text) if text.isdecimal() else NO_ROW

    def data(self, row: Row[Any] | Sequence[Any]) -> bytes:
        """The leaf of a row that `query` gave."""
        return leaf_data(self.name, self.seal(list(row)[1:]))


def leaf_data(kind: str, fields: Sequence[Any]) -> bytes:
    """The bytes that are hashed: a JSON array in UTF-8 without spaces; times in ISO 8601 UTC, with microseconds."""
    return json.dumps([kind, *map(_plain, fields)], ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def evidence_fields(fields: Sequence[Any]) -> list[Any]:
    """The manifest and its signature by their digest: they are long, and name the rest."""
    *known, signed, signature = fields
    return [*known, sha256(signed + signature).hexdigest()]


def _with_digest(fields: Sequence[Any]) -> list[Any]:
    """The last field, which is long, by its digest."""
    *known, document = fields
    return [*known, sha256(document).hexdigest()]


def _with_report(query: Select[Any]) -> Select[Any]:
    return query.join(SignedReport, SignedReport.id == ReportEntry.report_id)


def _with_reports_file(query: Select[Any]) -> Select[Any]:
    return query.join(SignedReport, SignedReport.id == ReportFile.report_id)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "batch", StoredBatch.id,
            (StoredBatch.box_id, StoredBatch.epoch, StoredBatch.lane, StoredBatch.seq, StoredBatch.sha256),
        ),
        Kind(
            "evidence", Evidence.key,
            (
                Evidence.sha256, Evidence.box_id, Evidence.incident_id, Evidence.role, Evidence.size_bytes,
                Evidence.signed_manifest, Evidence.signature,
            ),
            seal=evidence_fields,
        ),
        Kind("alert", Alert.id, (Alert.id, Alert.incident_id, Alert.site_id, Alert.box_id, Alert.kind)),
        Kind(
            "move", AlertMove.id,
            (
                AlertMove.id, AlertMove.alert_id, AlertMove.at, AlertMove.user_id, AlertMove.move,
                AlertMove.old_state, AlertMove.new_state, AlertMove.note, AlertMove.remote_addr,
            ),
        ),
        Kind(
            "rectification", Rectification.id,
            (
                Rectification.id, Rectification.alert_id, Rectification.note, Rectification.person, Rectification.place,
                Rectification.scene, Rectification.submitted_by_id, Rectification.submitted_at,
            ),
        ),
        Kind(
            "photo", RectificationPhoto.id,
            (
                RectificationPhoto.id, RectificationPhoto.rectification_id, RectificationPhoto.original_sha256,
                RectificationPhoto.photo_sha256, RectificationPhoto.taken_at, RectificationPhoto.taken_from,
                RectificationPhoto.latitude, RectificationPhoto.longitude,
            ),
        ),
        Kind(
            "decision", Rectification.id,
            (
                Rectification.id, Rectification.accepted, Rectification.decided_by_id, Rectification.decided_at,
                Rectification.decision_note,
            ),
            once=Rectification.accepted,
        ),
        Kind(
            "report", ReportEntry.id,
            (
                SignedReport.number, SignedReport.content_sha256, SignedReport.batches_sha256, ReportEntry.edition,
                ReportEntry.move, ReportEntry.user_id, ReportEntry.at,
            ),
            join=_with_report,
        ),
        Kind(
            "report_file", ReportFile.id,
            (
                SignedReport.number, ReportFile.edition, ReportFile.format, ReportFile.language, ReportFile.sha256,
                ReportFile.size_bytes,
            ),
            join=_with_reports_file,
        ),
        Kind(
            "self_control", SelfControlEdition.id,
            (
                SelfControlEdition.id, SelfControlEdition.record_id, SelfControlEdition.edition,
                SelfControlEdition.move, SelfControlEdition.user_id, SelfControlEdition.at,
                SelfControlEdition.remote_addr, SelfControlEdition.document,
            ),
            seal=_with_digest,
        ),
        Kind(
            "sample", RetainedSample.id,
            (
                RetainedSample.id, RetainedSample.site_id, RetainedSample.meal, RetainedSample.dish,
                RetainedSample.weight_g, RetainedSample.taken_at, RetainedSample.taken_by, RetainedSample.box_id,
                RetainedSample.sensor_id, RetainedSample.entered_at, RetainedSample.entered_by_id,
            ),
        ),
        Kind(
            "sample_end", SampleRemoval.sample_id,
            (
                SampleRemoval.sample_id, SampleRemoval.how, SampleRemoval.at, SampleRemoval.reason,
                SampleRemoval.user_id, SampleRemoval.entered_at,
            ),
        ),
        Kind(
            "asset", AssetVersion.id,
            (AssetVersion.id, AssetVersion.sheet, AssetVersion.asset_id, AssetVersion.at, AssetVersion.sha256),
        ),
        Kind(
            "seal", RowSeal.id,
            (
                RowSeal.id, RowSeal.table_name, RowSeal.ref, RowSeal.at, RowSeal.sha256, RowSeal.found,
                RowSeal.broken,
            ),
        ),
        Kind("audit", AuditEntry.seq, (AuditEntry.seq, AuditEntry.sha256)),
        Kind(
            "tombstone", Tombstone.id,
            (Tombstone.kind, Tombstone.ref, Tombstone.rule, Tombstone.size_bytes, Tombstone.at, Tombstone.key),
        ),
        Kind(
            "tombstone_end", Tombstone.id, (Tombstone.id, Tombstone.withdrawn_at),
            once=Tombstone.withdrawn_at,
        ),
    )
}  # fmt: skip


def read_leaves(db: Session, kind: str, refs: Iterable[str]) -> dict[str, bytes]:
    """The leaves' data of rows of one kind, by their keys; a row that is not there is left out."""
    of, found = KINDS[kind], {}
    wanted = [of.ref(ref) for ref in refs]
    for start in range(0, len(wanted), REFS_AT_ONCE_MAX):
        query = of.query().where(of.key.in_(wanted[start : start + REFS_AT_ONCE_MAX]))
        found.update({str(row[0]): of.data(row) for row in db.execute(query)})
    return found
