"""What boxes call: enrolment, batches, evidence. A box proves itself by the signature on its bytes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from server.deps import AppState, StateDep, body_within, in_thread, transact, transaction
from server.ingest import EnrolmentRefused, enrol_box, key_of, take_batch, take_evidence
from server.live import Change
from server.problems import Problem
from telemetry.batch import FRAME_BYTES_MAX, Batch, BatchError, open_batch, split_batches
from telemetry.evidence import BLOB_BYTES_MAX, MANIFEST_BYTES_MAX, EvidenceError, open_evidence
from telemetry.messages import Identifier, Receipt

router = APIRouter(prefix="/api/v1", tags=["box"])
STATUS = {"malformed": 400, "too_large": 413, "unknown_box": 401, "signature": 400, "digest": 400}


class EnrolRequest(BaseModel):
    """``public_key``: 32 raw bytes of Ed25519 in base64."""

    code: Annotated[str, Field(max_length=64)]
    public_key: Annotated[str, Field(max_length=64)]
    name: Identifier


class EnrolAnswer(BaseModel):
    """The identity of the box from now on."""

    box_id: str
    site: str
    time_zone: str


class ReceiptsAnswer(BaseModel):
    """One receipt per batch; what is not named was not taken and may be sent again."""

    receipts: list[Receipt]


@router.post("/enrol", status_code=201)
def enrol(request: EnrolRequest, state: StateDep) -> EnrolAnswer:
    """Make a box known with a one-time code."""
    try:
        with transaction(state) as db:
            box = enrol_box(db, request.code, request.public_key, request.name)
            return EnrolAnswer(box_id=box.id, site=box.site.name, time_zone=box.site.time_zone)
    except EnrolmentRefused as error:
        raise Problem(
            403, "enrolment_code", "the code is unknown, used or too old; ask the operator for one"
        ) from error
    except ValueError as error:
        raise Problem(422, "public_key", str(error)) from error


@router.post("/batches")
async def batches(request: Request, state: StateDep) -> ReceiptsAnswer:
    """Take signed batches; the receipts are given after the commit. Nothing of a request with a bad frame is stored."""
    body = await body_within(request, FRAME_BYTES_MAX)
    receipts, changes = await in_thread(lambda: _store(state, body))
    state.broadcaster.publish(changes)
    return ReceiptsAnswer(receipts=receipts)


def _store(state: AppState, body: bytes) -> tuple[list[Receipt], list[Change]]:
    def store(db: Session) -> tuple[list[Receipt], list[Change]]:
        opened: list[Batch] = [open_batch(raw, lambda box_id: key_of(db, box_id)) for raw in split_batches(body)]
        receipts, changed = [], {}
        for batch in opened:
            receipt, alerts = take_batch(db, batch)
            receipts.append(receipt)
            changed.update({alert.id: alert for alert in alerts})
        return receipts, [Change.of(alert) for alert in changed.values()]

    try:
        return transact(state, store)
    except BatchError as error:
        raise Problem(STATUS[error.code], error.code, error.detail) from error


@router.put("/evidence/{sha256}", status_code=201)
async def evidence(sha256: str, request: Request, state: StateDep) -> dict[str, str]:
    """Take one sealed picture."""
    body = await body_within(request, BLOB_BYTES_MAX + MANIFEST_BYTES_MAX + 256)
    change = await in_thread(lambda: _store_evidence(state, sha256, body))
    state.broadcaster.publish([change] if change else [])
    return {"sha256": sha256}


def _store_evidence(state: AppState, sha256: str, body: bytes) -> Change | None:
    try:
        with transaction(state) as db:
            sealed = open_evidence(body, lambda box_id: key_of(db, box_id))
            if sealed.manifest.sha256 != sha256:
                raise Problem(400, "digest", "the address names another picture than the manifest")
            state.blobs.put(sealed.blob)
            alert = take_evidence(db, sealed)
            return Change.of(alert) if alert else None
    except EvidenceError as error:
        raise Problem(STATUS[error.code], error.code, error.detail) from error


@router.get("/health")
def health(state: StateDep, response: Response) -> dict[str, str]:
    """Whether this instance can work; 503 when its database does not answer."""
    from importlib.metadata import version

    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        transact(state, lambda db: db.execute(text("SELECT 1")).scalar())
    except SQLAlchemyError:
        response.status_code = 503
        return {"status": "failing", "version": version("brightline"), "database": "failing"}
    return {"status": "ok", "version": version("brightline"), "database": "ok"}
