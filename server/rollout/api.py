"""Releases and roll-outs for people's programs, and the door at which boxes fetch a release."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from server.access import needs, open_to
from server.audit import person
from server.blob_port import BlobDamaged, BlobsUnavailable
from server.boxes.door import admit
from server.deps import AppState, CsrfDep, RemoteDep, StateDep, UserDep, body_within, in_thread, look_up, transact
from server.models import User
from server.problems import Problem
from server.rollout.desk import (
    Kept,
    RolloutRefused,
    Wanted,
    begin_rollout,
    find_rollout,
    make_release,
    may_fetch,
    move_rollout,
    releases_of,
    rollouts_of,
)
from server.rollout.model_upload import BODY, keep_model, read_form
from server.rollout.models import Release, Rollout
from server.rollout.release_bytes import RangeRefused, cut_piece
from server.rollout.state import Move
from telemetry.commands import Fetch, Signed, read_fetch, verify_fetch
from telemetry.messages import Identifier
from telemetry.released_model import Mode
from telemetry.releases import RELEASE_BYTES_MAX, ReleaseError, read_release

router = APIRouter(prefix="/api/v1", tags=["rollout"])
RolloutId = Annotated[int, Path(ge=1, le=2**53)]
Whole = Annotated[int, Field(ge=1, le=2**53)]
YAML = {"requestBody": {"required": True, "content": {"application/yaml": {"schema": {"type": "string"}}}}}


class RolloutRequest(BaseModel):
    """``stages``: how many boxes have it after each: numbers, or shares of all. ``soak_s``: from one to the next.

    ``mode``: a model in ``shadow`` looks along beside the one in force and says nothing of what it sees.
    """

    model_config = ConfigDict(extra="forbid")

    release: Whole
    sites: Annotated[list[Whole], Field(max_length=500)] = []
    region: Whole | None = None
    boxes: Annotated[list[Identifier], Field(max_length=500)] = []
    stages: Annotated[list[int | Annotated[str, Field(max_length=4)]], Field(min_length=1, max_length=10)] = [
        1,
        "10%",
        "100%",
    ]
    soak_s: Annotated[int, Field(ge=1, le=30 * 86_400)] = 3600
    mode: Mode = "live"


@router.post("/releases", status_code=201, dependencies=[needs("box.manage"), CsrfDep], openapi_extra=YAML)
async def release(
    request: Request,
    name: Annotated[str, Query(min_length=1, max_length=80)],
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
) -> dict[str, Any]:
    """Keep a YAML document of sections that may be rolled out; it is never changed. The boxes check its meaning."""
    raw = await body_within(request, RELEASE_BYTES_MAX)
    return await in_thread(lambda: _keep(state, name, raw, user, remote))


def _keep(state: AppState, name: str, raw: bytes, user: User, remote: str) -> dict[str, Any]:
    try:
        read_release(raw)
    except ReleaseError as error:
        raise Problem(422, "release", str(error)) from error
    digest = state.blobs.put(raw)
    row = transact(state, lambda db: make_release(db, Kept(name, digest, len(raw)), user, person(user, remote)))
    return release_json(row)


@router.post("/model-releases", status_code=201, dependencies=[needs("box.manage"), CsrfDep], openapi_extra=BODY)
async def model_release(request: Request, user: UserDep, state: StateDep, remote: RemoteDep) -> dict[str, Any]:
    """Keep a model and its manifest; neither is ever changed. The boxes find out whether it runs."""
    form = await read_form(request)
    return release_json(await in_thread(lambda: keep_model(state, form, user, remote)))


@router.get("/releases", dependencies=[needs("box.manage")])
def releases(user: UserDep, state: StateDep) -> dict[str, Any]:
    """The newest releases that the caller may roll out."""
    return {"releases": [release_json(row) for row in look_up(state, lambda db: releases_of(db, user))]}


@router.post("/rollouts", status_code=201, dependencies=[needs("box.manage"), CsrfDep])
def rollout(request: RolloutRequest, user: UserDep, state: StateDep, remote: RemoteDep) -> dict[str, Any]:
    """Roll a release out in stages to boxes that are named, or stand at sites or in a region."""
    return begin(state, request, user, remote)


def begin(state: AppState, request: RolloutRequest, user: User, remote: str) -> dict[str, Any]:
    """Raises Problem 422."""
    silent_after_s = state.settings.boxes.silent_after_s
    if request.soak_s < silent_after_s:  # a box that fell silent would not be missed before the next stage
        raise Problem(422, "rollout", f"soak_s must be at least {silent_after_s:.0f}: then a silent box is noticed")
    wanted = Wanted(
        request.release, request.sites, request.region, request.boxes, tuple(request.stages), request.soak_s,
        request.mode,
    )  # fmt: skip

    def work(db: Session) -> dict[str, Any]:
        return rollout_json(begin_rollout(db, wanted, user, person(user, remote), datetime.now(UTC)))

    return _refusing(state, work)


@router.get("/rollouts", dependencies=[needs("box.read")])
def rollouts(user: UserDep, state: StateDep) -> dict[str, Any]:
    """The newest roll-outs of which the caller may see every box."""
    return {"rollouts": look_up(state, lambda db: [rollout_json(row) for row in rollouts_of(db, user)])}


@router.get("/rollouts/{rollout_id}", dependencies=[needs("box.read")])
def one_rollout(rollout_id: RolloutId, user: UserDep, state: StateDep) -> dict[str, Any]:
    """One roll-out and how far each box is."""
    return look_up(state, lambda db: rollout_json(found(db, user, rollout_id)))


@router.post("/rollouts/{rollout_id}/{move}", dependencies=[needs("box.manage"), CsrfDep])
def move(rollout_id: RolloutId, move: Move, user: UserDep, state: StateDep, remote: RemoteDep) -> dict[str, Any]:
    """Pause it, go on, or take it back from every box that has it."""
    return make_move(state, rollout_id, move, user, remote)


def make_move(state: AppState, rollout_id: int, move: Move, user: User, remote: str) -> dict[str, Any]:
    """Raises Problem 404 or 422."""

    def act(db: Session) -> dict[str, Any]:
        row = found(db, user, rollout_id)
        move_rollout(db, row, move, person(user, remote), datetime.now(UTC))
        return rollout_json(row)

    return _refusing(state, act)


def _refusing(state: AppState, work: Any) -> dict[str, Any]:
    try:
        done: dict[str, Any] = transact(state, work)
    except RolloutRefused as error:
        raise Problem(422, "rollout", str(error)) from error
    return done


def found(db: Session, user: User, rollout_id: int) -> Rollout:
    """Raises Problem 404."""
    row = find_rollout(db, user, rollout_id)
    if row is None:
        raise Problem(404, "unknown_rollout", "there is no such roll-out for you")
    return row


@router.post("/boxes/self/release", dependencies=[open_to("box")], response_class=Response)
async def fetch(
    signed: Signed, state: StateDep, range: Annotated[str, Header(max_length=64, pattern="^[ -~]*$")] = ""
) -> Response:
    """A box fetches the release that a command tells it to apply, a model by pieces (``Range: bytes=FIRST-LAST``).

    409 as for its commands, 416 for a piece that it has not.
    """
    asked = await admit(state, signed, read_fetch, verify_fetch)
    raw = await in_thread(lambda: _bytes_of(state, asked))
    try:
        piece, where = cut_piece(raw, range)
    except RangeRefused as error:
        raise Problem(416, "range", str(error), headers={"content-range": f"bytes */{len(raw)}"}) from error
    headers = {"cache-control": "no-store", **({"content-range": where} if where else {})}
    return Response(piece, 206 if where else 200, headers, "application/octet-stream")


def _bytes_of(state: AppState, asked: Fetch) -> bytes:
    if not look_up(state, lambda db: may_fetch(db, asked.box_id, asked.sha256)):
        raise Problem(404, "unknown_release", "no command that waits for this box names it")
    try:
        return state.releases.get(state.blobs, asked.sha256)
    except (KeyError, BlobDamaged, BlobsUnavailable, OSError) as error:
        raise Problem(503, "blobs", "the release cannot be read now") from error


def release_json(row: Release) -> dict[str, Any]:
    return {
        "id": row.id, "kind": row.kind, "name": row.name, "sha256": row.sha256, "size_bytes": row.size_bytes,
        "slot": row.slot, "model_sha256": row.model_sha256, "by": row.made_by, "made_at": row.made_at,
    }  # fmt: skip


def rollout_json(row: Rollout) -> dict[str, Any]:
    boxes = [
        {
            "id": item.box_id, "name": item.box.name, "stage": item.stage, "state": item.state,
            "since": item.changed_at, "reason": item.reason,
        }
        for item in row.boxes
    ]  # fmt: skip
    return {
        "id": row.id, "release": release_json(row.release), "mode": row.mode, "state": row.state, "stage": row.stage,
        "stages": row.stages, "soak_s": row.soak_s, "reason": row.reason, "by": row.begun_by,
        "begun_at": row.begun_at, "changed_at": row.changed_at, "boxes": boxes,
    }  # fmt: skip
