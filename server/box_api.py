"""What boxes call: enrolment, batches, evidence. A box proves itself by the signature on its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.access import open_to
from server.audit import Actor, note
from server.boxes.keys import check_batch_key, check_not_revoked, check_picture_key, door_key, hold_keys
from server.deps import AppState, RemoteDep, StateDep, body_within, in_thread, look_up, transact
from server.dialects import lock_box
from server.gaps import find_missing
from server.ingest import (
    EnrolmentRefused,
    enrol_box,
    take_batch,
    take_evidence,
    verify_signature,
)
from server.live import Change
from server.problems import Problem
from server.retention.purged import recall_blobs
from server.together import transact_together
from server.turns import Haste
from telemetry.batch import FRAME_BYTES_MAX, Batch, BatchError, open_batch, read_header, split_batches
from telemetry.evidence import BLOB_BYTES_MAX, MANIFEST_BYTES_MAX, EvidenceError, open_evidence
from telemetry.messages import Identifier, Receipt, SeqRange
from telemetry.signing import KeyHistory

EVIDENCE_BYTES_MAX = BLOB_BYTES_MAX + MANIFEST_BYTES_MAX + 256
PLAIN_ROLES = ("original", "clip")
RECORDS_AHEAD_MAX = 5_000  # of one request in memory at once; a box sends half as many
Keys = Mapping[str, KeyHistory | None]
router = APIRouter(prefix="/api/v1", tags=["box"])
STATUS = {
    "malformed": 400, "too_large": 413, "unknown_box": 401, "signature": 400, "digest": 400, "revoked": 403,
    "replaced_key": 401,  # not for good: a box that ends its change of key may be right
}  # fmt: skip


class EnrolRequest(BaseModel):
    """``public_key``: 32 raw bytes of Ed25519 in base64."""

    code: Annotated[str, Field(max_length=64)]
    public_key: Annotated[str, Field(max_length=64)]
    name: Identifier


class EnrolAnswer(BaseModel):
    """The identity of the box from now on, and the public key with which the centre signs its commands."""

    box_id: str
    site: str
    time_zone: str
    centre_key: str


class ReceiptsAnswer(BaseModel):
    """One receipt per batch; what is not named was not taken and may be sent again. ``missing`` if it was asked for."""

    receipts: list[Receipt]
    missing: list[SeqRange] = []


@router.post("/enrol", status_code=201, dependencies=[open_to("box")])
def enrol(request: EnrolRequest, state: StateDep, remote: RemoteDep) -> EnrolAnswer:
    """Make a box known with a one-time code."""

    def work(db: Session) -> EnrolAnswer:
        box = enrol_box(db, request.code, request.public_key, request.name)
        note(db, Actor("box", box.id, box.name, remote), "box.enrol", ("box", box.id), site_id=box.site_id)
        return EnrolAnswer(
            box_id=box.id, site=box.site.name, time_zone=box.site.time_zone,
            centre_key=state.calls.signer.public_key_b64,
        )  # fmt: skip

    try:
        return transact(state, work)
    except EnrolmentRefused as error:
        raise Problem(
            403, "enrolment_code", "the code is unknown, used or too old; ask the operator for one"
        ) from error
    except ValueError as error:
        raise Problem(422, "public_key", str(error)) from error


@router.post("/batches", dependencies=[open_to("box")])
async def batches(
    request: Request,
    state: StateDep,
    brightline_historical: Annotated[str | None, Header()] = None,
    brightline_ask_missing: Annotated[str | None, Header()] = None,
) -> ReceiptsAnswer:
    """Take signed batches; the receipts are given after the commit. Nothing of a request with a bad frame is stored.

    ``brightline-historical`` marks old records: when many come at once, some are asked to wait (503, Retry-After).
    ``brightline-ask-missing`` asks which batches of these boxes are not here.
    """
    body = await body_within(request, FRAME_BYTES_MAX)
    historical, ask_missing = brightline_historical is not None, brightline_ask_missing is not None
    with state.backfill.entered(historical=historical):
        taken = await in_thread(lambda: _store(state, body, historical=historical, ask_missing=ask_missing))
    state.broadcaster.publish(taken.changes)
    return ReceiptsAnswer(receipts=taken.receipts, missing=taken.missing)


@dataclass(frozen=True)
class _Taken:
    receipts: list[Receipt]
    changes: list[Change]
    missing: list[SeqRange]


def _store(state: AppState, body: bytes, *, historical: bool = False, ask_missing: bool = False) -> _Taken:
    try:
        batches, keys = _open_batches(state, body)
        lanes = {item.header.lane for item in batches if isinstance(item, Batch)}
        haste = Haste.EVENTS if lanes == {"events"} else Haste.HISTORICAL if historical else Haste.USUAL
        series_here = state.settings.series.in_record
        take = partial(_take, batches=batches, keys=keys, series_here=series_here)
        receipts, changes = transact_together(state, take, haste, len(body))
    except BatchError as error:
        raise Problem(STATUS[error.code], error.code, error.detail) from error
    boxes = {receipt.box_id for receipt in receipts} if ask_missing else set()
    missing = [
        item for box_id in sorted(boxes) for item in transact(state, partial(_missing, box_id=box_id), beside=True)
    ]
    return _Taken(receipts, changes, missing)


def _missing(db: Session, box_id: str) -> list[SeqRange]:
    lock_box(db, box_id)
    return find_missing(db, box_id)


def _open_batches(state: AppState, body: bytes) -> tuple[list[Batch | bytes], Keys]:
    """The batches of a request, verified and unpacked before anyone waits for the lock of those who write; their keys.

    Strangers never get as far. Of a request with more than RECORDS_AHEAD_MAX records the rest stays packed.
    """
    frames = split_batches(body)
    headers = [read_header(raw)[0] for raw in frames]
    names = {header.box_id for header in headers}
    keys = look_up(state, lambda db: {name: door_key(db, name) for name in names})
    batches: list[Batch | bytes] = []
    records = 0
    for header, raw in zip(headers, frames, strict=True):
        records += header.count
        if batches and records > RECORDS_AHEAD_MAX:
            verify_signature(raw, keys.get)
            batches.append(raw)
        else:
            batches.append(open_batch(raw, keys.get))
    return batches, keys


def _take(
    db: Session, batches: Sequence[Batch | bytes], keys: Keys, series_here: bool
) -> tuple[list[Receipt], list[Change]]:
    """Store one after the other, unpacking what still is packed, so that memory is bounded; a bad one undoes all."""
    receipts: list[Receipt] = []
    changed: dict[int, Change] = {}
    held = {box_id: hold_keys(db, box_id) for box_id in sorted(keys)}  # in one order: so no two wait for each other
    for item in batches:
        batch = item if isinstance(item, Batch) else open_batch(item, keys.get)
        box_id = batch.header.box_id
        check_batch_key(db, batch, keys[box_id], held[box_id])
        receipt, alerts = take_batch(db, batch, series_here=series_here)
        receipts.append(receipt)
        changed.update({alert.id: Change.of(alert) for alert in alerts})
    return receipts, list(changed.values())


@router.put("/evidence/{sha256}", status_code=201, dependencies=[open_to("box")])
async def evidence(sha256: str, request: Request, state: StateDep) -> dict[str, str]:
    """Take one sealed picture."""
    body = await body_within(request, EVIDENCE_BYTES_MAX)
    change = await in_thread(lambda: _store_evidence(state, sha256, body))
    state.broadcaster.publish([change] if change else [])
    return {"sha256": sha256}


def _store_evidence(state: AppState, sha256: str, body: bytes) -> Change | None:
    try:
        sealed = look_up(state, lambda db: open_evidence(body, lambda box_id: door_key(db, box_id)))
    except EvidenceError as error:
        raise Problem(STATUS[error.code], error.code, error.detail) from error
    if sealed.manifest.role in PLAIN_ROLES:
        raise Problem(422, "plain_original", "an original leaves a box sealed to the regulator's key only")
    if sealed.manifest.sha256 != sha256:
        raise Problem(400, "digest", "the address names another picture than the manifest")

    def check(db: Session) -> None:
        check_not_revoked(db, sealed.manifest.box_id)
        check_picture_key(db, sealed)

    def store(db: Session) -> Change | None:
        check(db)  # again: another may have come since
        alert = take_evidence(db, sealed)
        if recall_blobs(db, [sha256], datetime.now(UTC)):
            state.blobs.put(sealed.blob)  # the retention may have deleted it since
        return Change.of(alert) if alert else None

    try:
        look_up(state, check)
        state.blobs.put(sealed.blob)  # kept before the record names it, and without holding up those who write
        return transact(state, store, beside=True)
    except (BatchError, EvidenceError) as error:
        raise Problem(STATUS[error.code], error.code, error.detail) from error


@router.get("/health", dependencies=[open_to("everybody")])
def health(state: StateDep, response: Response) -> dict[str, str]:
    """Whether this instance can work; 503 when its database does not answer."""
    try:
        look_up(state, lambda db: db.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    except SQLAlchemyError:
        response.status_code = 503
        return {"status": "failing", "version": version("brightline"), "database": "failing"}
    return {"status": "ok", "version": version("brightline"), "database": "ok"}
