"""The page of one's own account: password and second factor. Every change takes the password or a code again."""

from __future__ import annotations

from typing import Annotated, Any

import segno
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from server import api, second_factor
from server.access import lacks_second_factor, open_to
from server.accounts import (
    AccountError,
    LoginRefused,
    count_failure,
    is_locked,
    open_session,
    password_fits,
    set_password,
)
from server.audit import note, person, stranger
from server.deps import AppState, RemoteDep, SessionDep, StateDep, check_csrf, look_up, snapshot, transact
from server.models import LoginSession, User
from server.oidc import links
from server.pages import render

router = APIRouter(prefix="/account", include_in_schema=False)
CsrfField = Annotated[str, Form()]
Password = Annotated[str, Form(max_length=200)]
Code = Annotated[str, Form(max_length=40)]


def account_page(
    request: Request, state: AppState, session: LoginSession, *, error: str = "", status: int = 200, **shown: Any
) -> HTMLResponse:
    """The page of whoever is logged in, with what is *shown* only this once."""
    user, oidc = session.user, state.oidc.settings if state.oidc else None
    with snapshot(state) as db:
        enrolled = second_factor.is_enrolled(db, user)
        link = links.link_of(db, oidc.issuer, user.id) if oidc else None
    lacking = lacks_second_factor(session, state)
    context = {"qr": "", "secret": "", "recovery": [], "saved": False, **shown}
    return render(
        request,
        "account.html",
        status=status,
        path="/account",
        session=session,
        enrolled=enrolled,
        missing=lacking and not enrolled,
        again=lacking and enrolled,
        error=error,
        oidc=oidc.name if oidc else "",
        link=link,
        **context,
    )


@router.get("", dependencies=[open_to("first_factor")])
def account(request: Request, state: StateDep, session: SessionDep, saved: bool = False) -> HTMLResponse:
    return account_page(request, state, session, saved=saved)


@router.post("/password", dependencies=[open_to("logged_in")])
def change_password(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: CsrfField = "",
    password: Password = "",
    new_password: Password = "",
) -> Response:
    """A new password; all sessions of before end, this browser goes on in a new one."""
    check_csrf(session, csrf)
    if not knows_password(state, session.user, password, remote):
        return account_page(request, state, session, error="account_wrong_password", status=403)

    def change(db: Session) -> str:
        user = db.get_one(User, session.user.id)
        set_password(db, user, new_password, person(user, remote))
        return open_session(db, user, remote, second_factor=session.second_factor)[0]

    try:
        secret = transact(state, change)
    except AccountError:
        return account_page(request, state, session, error="account_password_length", status=422)
    answer = RedirectResponse("/account?saved=1", 303)
    api.set_cookie(answer, state, secret)
    return answer


def knows_password(state: AppState, user: User, password: str, remote: str) -> bool:
    """Whether it is the present password; a wrong one counts towards the lock-out, which holds here too."""
    if is_locked(user):
        return False
    try:
        if password_fits(user.password_hash, password):
            return True
    except LoginRefused:  # too many at this moment; nothing was tried
        return False
    transact(state, lambda db: count_failure(db, db.get_one(User, user.id), remote))
    return False


@router.post("/second-factor", dependencies=[open_to("first_factor")])
def begin(request: Request, state: StateDep, session: SessionDep, csrf: CsrfField = "") -> HTMLResponse:
    """The secret as a QR code; it counts only once a code of it was typed."""
    check_csrf(session, csrf)
    return _offer(request, state, session)


def _offer(
    request: Request, state: AppState, session: LoginSession, error: str = "", status: int = 200
) -> HTMLResponse:
    if look_up(state, lambda db: second_factor.is_enrolled(db, session.user)):
        return account_page(request, state, session)
    secret = transact(state, lambda db: second_factor.begin(db, state.key, session.user))
    uri = second_factor.provisioning_uri(session.user, secret)
    picture = segno.make(uri, error="m").svg_data_uri(scale=5, border=4, light="white")
    return account_page(request, state, session, qr=picture, secret=secret, error=error, status=status)


@router.post("/second-factor/confirm", dependencies=[open_to("first_factor")])
def confirm(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: CsrfField = "",
    code: Code = "",
) -> HTMLResponse:
    """Set it up with the first code; the answer shows the recovery codes."""
    check_csrf(session, csrf)
    actor = person(session.user, remote)
    codes = transact(state, lambda db: second_factor.confirm(db, state.key, session, code, actor))
    if codes is None:
        return _offer(request, state, session, "second_factor_wrong", 422)
    return account_page(request, state, session, recovery=codes)


def _shows_code(state: AppState, user_id: int, code: str, remote: str) -> bool:
    def check(db: Session) -> bool:
        user = db.get_one(User, user_id)
        if is_locked(user):
            return False
        if second_factor.check_code(db, state.key, user, code, stranger(remote)):
            return True
        count_failure(db, user, remote)
        return False

    return transact(state, check)


@router.post("/second-factor/renew", dependencies=[open_to("logged_in")])
def renew(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: CsrfField = "",
    code: Code = "",
) -> HTMLResponse:
    """New recovery codes, for a code."""
    check_csrf(session, csrf)
    if not _shows_code(state, session.user.id, code, remote):
        return account_page(request, state, session, error="second_factor_wrong", status=422)

    def make(db: Session) -> list[str]:
        note(db, person(session.user, remote), "second_factor.renew", ("user", session.user.id))
        return second_factor.renew_recovery_codes(db, session.user)

    return account_page(request, state, session, recovery=transact(state, make))


@router.post("/second-factor/remove", dependencies=[open_to("logged_in")])
def remove(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: CsrfField = "",
    code: Code = "",
) -> Response:
    """Turn it off, for a code; all sessions end."""
    check_csrf(session, csrf)
    if not _shows_code(state, session.user.id, code, remote):
        return account_page(request, state, session, error="second_factor_wrong", status=422)
    transact(state, lambda db: second_factor.remove(db, session.user, person(session.user, remote)))
    return RedirectResponse("/login", 303)
