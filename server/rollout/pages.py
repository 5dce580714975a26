"""The page of the roll-outs: which release is on its way, how far each box is, and the three moves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from server.access import needs
from server.deps import RemoteDep, SessionDep, StateDep, check_csrf, look_up
from server.pages import render
from server.problems import Problem
from server.rollout.api import RolloutId, make_move
from server.rollout.desk import rollouts_of
from server.rollout.state import AFTER_MOVE, Move

router = APIRouter(include_in_schema=False)


@router.get("/boxes/rollouts", dependencies=[needs("box.read")])
def rollouts_page(request: Request, state: StateDep, session: SessionDep, refused: str = "") -> HTMLResponse:
    """The newest roll-outs within reach."""
    found = look_up(state, lambda db: rollouts_of(db, session.user))
    return render(
        request, "rollouts.html", session=session, rollouts=found, moves=list(AFTER_MOVE), refused=bool(refused)
    )


@router.post("/boxes/rollouts/{rollout_id}/{move}", dependencies=[needs("box.manage")])
def do_move(
    rollout_id: RolloutId,
    move: Move,
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
        return RedirectResponse("/boxes/rollouts?refused=1", 303)
    return RedirectResponse("/boxes/rollouts", 303)
