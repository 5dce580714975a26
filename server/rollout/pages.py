"""The page of the roll-outs: what is on its way and how far each box is, the three moves, and forms to begin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from server.access import needs
from server.boxes.queries import boxes_of
from server.deps import AppState, RemoteDep, SessionDep, StateDep, check_csrf, in_thread, snapshot
from server.models import LoginSession
from server.pages import language_of, render
from server.policy import may
from server.problems import Problem
from server.rollout.api import RolloutId, RolloutRequest, begin, make_move
from server.rollout.desk import releases_of, rollouts_of
from server.rollout.model_upload import keep_model, read_form
from server.rollout.models import Rollout
from server.rollout.state import AFTER_MOVE, Move
from server.rollout.wording import refusal, rollout_reason, told_by_box

router = APIRouter(include_in_schema=False)
PAGE = "/boxes/rollouts"


@router.get(PAGE, dependencies=[needs("box.read")])
def rollouts_page(request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    """The newest roll-outs within reach."""
    return _page(request, state, session)


def _page(request: Request, state: AppState, session: LoginSession, problem: Problem | None = None) -> HTMLResponse:
    manages = may(session.user, "box.manage")
    with snapshot(state) as db:
        found = rollouts_of(db, session.user)
        releases = releases_of(db, session.user) if manages else []
        boxes = boxes_of(db, session.user, datetime.now(UTC)) if manages else []
    language = language_of(request)

    def why(row: Rollout) -> str:
        return rollout_reason(row.reason, {item.box_id: item.box.name for item in row.boxes}, language)

    return render(
        request, "rollouts.html", status=problem.status if problem else 200, session=session, rollouts=found,
        releases=releases, boxes=boxes, moves=list(AFTER_MOVE), why=why, box_why=told_by_box,
        refused=refusal(problem.detail, language) if problem else None,
    )  # fmt: skip


@router.post(f"{PAGE}/models", dependencies=[needs("box.manage")])
async def upload_model(request: Request, state: StateDep, session: SessionDep, remote: RemoteDep) -> Response:
    """Keep a model and its manifest as a release."""
    try:
        form = await read_form(request)
        check_csrf(session, form.csrf)
        await in_thread(lambda: keep_model(state, form, session.user, remote))
    except Problem as problem:
        shown = problem  # the name of the except clause ends with it
        return await in_thread(lambda: _page(request, state, session, shown))
    return RedirectResponse(PAGE, 303)


@router.post(PAGE, dependencies=[needs("box.manage")])
def begin_from_form(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    release: Annotated[int, Form()] = 0,
    mode: Annotated[str, Form(max_length=16)] = "live",
    boxes: Annotated[list[str], Form(max_length=500)] = [],  # noqa: B006 - FastAPI copies it
    csrf: Annotated[str, Form()] = "",
) -> Response:
    """Roll a release out to the chosen boxes, one first, then a tenth, then all, an hour apart."""
    try:
        check_csrf(session, csrf)
        wanted = RolloutRequest.model_validate({"release": release, "boxes": boxes, "mode": mode})
        begin(state, wanted, session.user, remote)
    except ValidationError:
        return _page(request, state, session, Problem(422, "rollout", "choose a release and boxes"))
    except Problem as problem:
        return _page(request, state, session, problem)
    return RedirectResponse(PAGE, 303)


@router.post(f"{PAGE}/{{rollout_id}}/{{move}}", dependencies=[needs("box.manage")])
def do_move(
    rollout_id: RolloutId,
    move: Move,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
) -> Response:
    check_csrf(session, csrf)
    try:
        make_move(state, rollout_id, move, session.user, remote)
    except Problem as problem:
        if problem.status != 422:
            raise
        return _page(request, state, session, problem)
    return RedirectResponse(PAGE, 303)
