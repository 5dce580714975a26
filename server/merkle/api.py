"""The log for everybody: the published heads, and proofs for whoever holds a batch, a picture or a report.

A proof is asked for by the SHA-256 of the thing itself, which only somebody who has it can know.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from server.access import open_to
from server.accounts import find_session
from server.deps import COOKIE, StateDep, look_up
from server.merkle.checkpoint import TreeHead, read_unverified
from server.merkle.log import NotProvable, known_keys, newest_head, prove, prove_consistency
from server.merkle.models import LogHead
from server.models import Evidence, StoredBatch
from server.pages import render
from server.problems import Problem
from server.reports.models import ReportFile

PAGE_HEADS = 48
WAIT = "no head has been published since it came; ask again within the hour"
router = APIRouter(tags=["log"])
Size = Annotated[int, Query(ge=1, le=2**53)]
ProofKind = Literal["batch", "evidence", "report"]


class HeadAnswer(BaseModel):
    """``checkpoint`` is the signed note (C2SP tlog-checkpoint) that holds the rest; ``root`` is in hex, ``at`` UTC."""

    size: int
    root: str
    at: str
    checkpoint: str
    keys: list[str]


class ProofAnswer(BaseModel):
    """``leaf`` is the JSON array that was hashed, ``path`` the hashes of RFC 9162, lowest first, in hex."""

    position: int
    size: int
    leaf: list[Any]
    path: list[str]
    checkpoint: str


class ConsistencyAnswer(BaseModel):
    """``path`` are the hashes of RFC 9162, 2.1.4, in hex."""

    first: int
    second: int
    path: list[str]


@router.get("/api/v1/log/head", dependencies=[open_to("everybody")])
def head(state: StateDep) -> HeadAnswer:
    """The newest published head."""

    def work(db: Session) -> HeadAnswer | None:
        found = newest_head(db)
        if found is None:
            return None
        told = read_unverified(found.note)
        keys = [key.text for key in known_keys(db)]
        return HeadAnswer(
            size=told.size, root=told.root.hex(), at=told.at.isoformat(), checkpoint=found.note, keys=keys
        )

    answer = look_up(state, work)
    if answer is None:
        raise Problem(404, "not_published", "no head has been published yet")
    return answer


@router.get("/api/v1/log/proof/{kind}/{sha256}", dependencies=[open_to("everybody")])
def proof(kind: ProofKind, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")], state: StateDep) -> ProofAnswer:
    """That a batch, a picture or a file of a report (by its SHA-256) is in the log under the newest published head.

    A picture that is on record more than once is asked for by the SHA-256 of what a box signed of it: the bytes of its
    file before the signature.
    """

    def work(db: Session) -> ProofAnswer:
        name, ref = _leaf_of(db, kind, sha256)
        found = prove(db, name, ref)
        return ProofAnswer(
            position=found.position, size=found.size, leaf=json.loads(found.data),
            path=[item.hex() for item in found.path], checkpoint=found.checkpoint,
        )  # fmt: skip

    try:
        return look_up(state, work)
    except NotProvable as error:
        code = str(error)
        if code == "several":
            raise Problem(
                409, code, "several have it: ask by the SHA-256 of a file's bytes before the signature"
            ) from error
        raise Problem(404, code, WAIT if code == "not_published" else "nothing here has this SHA-256") from error


def _keys_of(picture: str) -> Select[str]:
    return select(Evidence.key).where(Evidence.sha256 == picture).limit(2)


def _leaf_of(db: Session, kind: ProofKind, sha256: str) -> tuple[str, str]:
    if kind == "evidence":
        signed_so = db.get(Evidence, sha256)
        keys = [signed_so.key] if signed_so else db.scalars(_keys_of(sha256)).all()
        if len(keys) > 1:
            raise NotProvable("several")
        return "evidence", keys[0] if keys else ""
    key, column, name = (
        (StoredBatch.id, StoredBatch.sha256, "batch")
        if kind == "batch"
        else (ReportFile.id, ReportFile.sha256, "report_file")
    )
    number = db.scalar(select(key).where(column == sha256).limit(1))
    if number is None:
        raise NotProvable("unknown")
    return name, str(number)


@router.get("/api/v1/log/consistency", dependencies=[open_to("everybody")])
def consistency(first: Size, second: Size, state: StateDep) -> ConsistencyAnswer:
    """That the log of *first* leaves is the beginning of the log of *second*."""
    try:
        path = look_up(state, lambda db: prove_consistency(db, first, second))
    except NotProvable as error:
        raise Problem(404, "unknown", "the log has no such two sizes, the first not above the second") from error
    return ConsistencyAnswer(first=first, second=second, path=[item.hex() for item in path])


@router.get("/log", include_in_schema=False, dependencies=[open_to("everybody")])
def heads_page(request: Request, state: StateDep) -> HTMLResponse:
    """The newest heads, for whoever wants to keep them."""

    def work(db: Session) -> tuple[list[TreeHead], str, list[str], Any]:
        rows = list(db.scalars(select(LogHead).order_by(LogHead.id.desc()).limit(PAGE_HEADS)))
        told = [read_unverified(row.note) for row in rows]
        token = request.cookies.get(COOKIE)
        session = find_session(db, token) if token else None
        return told, rows[0].note if rows else "", [key.text for key in known_keys(db)], session

    heads, note, keys, session = look_up(state, work)
    return render(request, "log.html", session=session, heads=heads, note=note, keys=keys)
