"""The page of API tokens: people see, make and revoke their own; a secret is shown once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from server import tokens
from server.access import needs
from server.deps import AppState, RemoteDep, SessionDep, StateDep, check_csrf, snapshot, transact
from server.models import LoginSession
from server.pages import render
from server.regions import region_names
from server.token_api import TokenId, end_token

router = APIRouter(include_in_schema=False)


def _page(
    request: Request, state: AppState, session: LoginSession, *, made: str = "", error: str = "", status: int = 200
) -> HTMLResponse:
    with snapshot(state) as db:
        found = tokens.list_tokens(db, session.user)
        sites, regions = tokens.bounds_of(db, session.user)
        names = {region.id: region_names(db, region) for region in regions}
    return render(
        request, "tokens.html", status=status, session=session, tokens=found, sites=sites, regions=names, made=made,
        error=error, permissions=tokens.grantable(session.user), now=datetime.now(UTC),
    )  # fmt: skip


@router.get("/tokens", dependencies=[needs("token.manage")])
def token_page(request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    return _page(request, state, session)


@router.post("/tokens", dependencies=[needs("token.manage")])
def make_from_form(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
    name: Annotated[str, Form(max_length=64)] = "",
    permissions: Annotated[list[str] | None, Form()] = None,
    days: Annotated[int, Form(ge=1, le=tokens.LIFE_DAYS_MAX)] = 90,
    watched: Annotated[bool, Form()] = False,
    bound: Annotated[str, Form(max_length=40, pattern=r"^((site|region):[1-9][0-9]{0,14})?$")] = "",
) -> HTMLResponse:
    """A new token, shown once on the page that answers."""
    check_csrf(session, csrf)
    kind, _, number = bound.partition(":")
    places = {f"{kind}_id": int(number)} if kind else {}
    try:
        secret, _token = transact(
            state,
            lambda db: tokens.make_token(
                db, session.user, name, permissions or [], days, **places, watched=watched, remote_addr=remote
            ),
        )
    except tokens.TokenError as error:
        return _page(request, state, session, error=error.code, status=422)
    return _page(request, state, session, made=secret, status=201)


@router.post("/tokens/{token_id}/revoke", dependencies=[needs("token.manage")])
def revoke_from_form(
    token_id: TokenId, state: StateDep, session: SessionDep, remote: RemoteDep, csrf: Annotated[str, Form()] = ""
) -> Response:
    check_csrf(session, csrf)
    end_token(state, session.user, token_id, remote)
    return RedirectResponse("/tokens", 303)
