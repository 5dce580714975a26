"""The door for other vendors' systems: a token of one source at one site, and their own JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from server.access import open_to
from server.deps import AppState, StateDep, body_within, in_thread, look_up, transact
from server.live import Change
from server.problems import Problem
from server.vendors.intake import UnknownSource, ensure_secret, find_source, take_event

router = APIRouter(prefix="/api/v1", tags=["vendors"])
EVENT_BYTES_MAX = 64 * 1024
TOKEN_CHARACTERS_MAX = 200
Source = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


@router.post("/vendor-events/{source}", status_code=201, openapi_extra=BODY, dependencies=[open_to("box")])
async def vendor_event(
    source: Source, request: Request, state: StateDep, authorization: Annotated[str, Header()] = ""
) -> JSONResponse:
    """Take one event of another vendor's system; the same event again answers 200 and changes nothing.

    A code that is not known here is kept and raises an alert of its own kind.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARACTERS_MAX:
        raise Problem(401, "token_needed", "send the header Authorization: Bearer with the token of this source")
    await in_thread(lambda: look_up(state, lambda db: _known(db, token, source)))
    body = _object(await body_within(request, EVENT_BYTES_MAX))
    told, change, new = await in_thread(lambda: _take(state, token, source, body))
    state.broadcaster.publish([change] if change else [])
    return JSONResponse(told, 201 if new else 200)


def _known(db: Session, token: str, source: str) -> None:
    try:
        find_source(db, token, source)
    except UnknownSource:
        raise Problem(403, "token", "this token does not speak for this source") from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()  # neither NaN nor half a character can be stored
    except (ValueError, RecursionError):
        raise Problem(422, "invalid", "the body must be a JSON object") from None
    if not isinstance(body, dict):
        raise Problem(422, "invalid", "the body must be a JSON object")
    return body


def _take(state: AppState, token: str, source: str, body: dict[str, Any]) -> tuple[dict[str, Any], Change | None, bool]:
    secret = ensure_secret(state.settings.data_dir)

    def work(db: Session) -> tuple[dict[str, Any], Change | None, bool]:
        _known(db, token, source)
        row, alert, new = take_event(db, secret, find_source(db, token, source), body)
        told = {"incident_id": row.incident_id, "kind": row.kind, "known": row.kind is not None}
        return told, Change.of(alert) if alert and new else None, new

    try:
        return transact(state, work)
    except ValueError as error:
        raise Problem(422, "invalid", str(error)) from error
