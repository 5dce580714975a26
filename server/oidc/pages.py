"""The pages of the sign-in through the provider. Nothing that a request says decides where the browser is sent.

A browser comes and goes by opening pages. As an image or a frame of another site's page nothing here answers: that
would spend the tries of its reader's address.
"""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from server import api
from server.access import open_to
from server.account_pages import account_page, knows_password
from server.accounts import find_session
from server.audit import note, person, stranger
from server.deps import (
    COOKIE,
    AppState,
    RemoteDep,
    SessionDep,
    StateDep,
    check_csrf,
    look_up,
    provider_of,
    transact,
)
from server.login import SecondFactorNeeded, limit_logins, log_in_with_identity
from server.models import LoginSession, User
from server.oidc import flow, links
from server.oidc.flow import Attempt
from server.oidc.id_token import Identity
from server.oidc.provider import Provider, error_words
from server.oidc.refusal import OidcRefused
from server.pages import login_page, render
from server.problems import Problem

router = APIRouter(prefix="/oidc", include_in_schema=False)
ATTEMPT_COOKIE = "bl_oidc"
UNANSWERED = ("oidc_unreachable", "busy")  # the provider's fault or ours; it logs them itself
Csrf = Annotated[str, Form()]
Password = Annotated[str, Form(max_length=200)]
_log = logging.getLogger(__name__)


def as_page(request: Request) -> None:
    """Refuse what is no opening of a page (W3C Fetch Metadata); a browser that does not say is let through."""
    if request.headers.get("sec-fetch-dest", "document") != "document":
        raise Problem(403, "no_page", "open this address as a page")


PageDep = Depends(as_page)


def _address(provider: Provider, attempt: Attempt) -> str:
    return provider.authorization_url(attempt.state, attempt.nonce, attempt.challenge)


def _leave(answer: Response, state: AppState, attempt: Attempt) -> Response:
    answer.set_cookie(
        ATTEMPT_COOKIE, attempt.sealed(state.key), max_age=int(flow.ATTEMPT_LIFE.total_seconds()), path="/oidc",
        httponly=True, samesite="lax", secure=state.settings.secure_cookies,
    )  # fmt: skip
    return answer


@router.get("/login", dependencies=[open_to("everybody"), PageDep])
def leave(request: Request, state: StateDep) -> Response:
    """To the provider, to log in."""
    provider, attempt = provider_of(state), flow.begin()
    try:
        return _leave(RedirectResponse(_address(provider, attempt), 303), state, attempt)
    except OidcRefused as refused:
        return _told(request, state, refused, None)


@router.post("/link", dependencies=[open_to("logged_in")])
def leave_to_link(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Csrf = "",
    password: Password = "",
) -> Response:
    """A page that leads to the provider: a form may not be sent on to another host (``form-action``)."""
    provider = provider_of(state)
    check_csrf(session, csrf)
    if not knows_password(state, session.user, password, remote):
        return account_page(request, state, session, error="account_wrong_password", status=403)
    attempt = flow.begin(session.token_sha256)
    try:
        url = _address(provider, attempt)
    except OidcRefused as refused:
        return _told(request, state, refused, session)
    page = render(request, "oidc.html", path="/account", session=session, url=url, provider=provider.settings.name)
    return _leave(page, state, attempt)


@router.post("/unlink", dependencies=[open_to("logged_in")])
def unlink(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Csrf = "",
    password: Password = "",
) -> Response:
    """Take one's own link away; all sessions end."""
    issuer = provider_of(state).settings.issuer
    check_csrf(session, csrf)
    if not knows_password(state, session.user, password, remote):
        return account_page(request, state, session, error="account_wrong_password", status=403)
    transact(state, lambda db: links.remove_link(db, issuer, session.user, person(session.user, remote)))
    return RedirectResponse("/login", 303)


@router.get("/callback", dependencies=[open_to("everybody"), PageDep])
def come_back(
    request: Request,
    state: StateDep,
    remote: RemoteDep,
    code: Annotated[str, Query(max_length=8000)] = "",
    given: Annotated[str, Query(alias="state", max_length=200)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """From the provider: log in, or link."""
    provider, token = provider_of(state), request.cookies.get(COOKIE, "")
    session = look_up(state, lambda db: find_session(db, token))
    try:
        limit_logins(state, remote)
        attempt = flow.reopen(state.key, request.cookies.get(ATTEMPT_COOKIE, ""), given)
        transact(state, lambda db: flow.use(db, attempt))
        if error or not code:
            raise OidcRefused("oidc_denied", f"the provider sent no code{error_words({'error': error})}")
        identity = provider.identify(code, attempt.verifier, attempt.nonce)
        if attempt.session:
            answer = _link(state, attempt, session, identity, remote)
        else:
            answer = _log_in(state, identity, remote)
    except OidcRefused as refused:
        _note(state, refused, session, remote)
        if refused.code in UNANSWERED:  # else the password would be refused too, to all behind this address
            state.failed_logins.refund(remote)
        else:
            _log.warning("sign-in through the provider refused: %s", refused.reason)
        answer = _told(request, state, refused, session)
    except SecondFactorNeeded as needed:
        answer = login_page(request, state, ticket=needed.ticket)
    except Problem as problem:
        answer = login_page(request, state, error=problem.code, status=problem.status)
    answer.delete_cookie(ATTEMPT_COOKIE, path="/oidc")
    return answer


def _log_in(state: AppState, identity: Identity, remote: str) -> Response:
    secret, _ = log_in_with_identity(state, identity, remote)
    answer = RedirectResponse("/", 303)
    api.set_cookie(answer, state, secret)
    return answer


def _link(state: AppState, attempt: Attempt, session: LoginSession | None, identity: Identity, remote: str) -> Response:
    if session is None or session.token_sha256 != attempt.session:
        raise OidcRefused("oidc_state", "the session that began to link is over", identity.subject)
    user_id, actor = session.user.id, person(session.user, remote)
    transact(state, lambda db: links.add_link(db, identity, db.get_one(User, user_id), actor))
    state.failed_logins.refund(remote)
    return RedirectResponse("/account?saved=1", 303)


def _note(state: AppState, refused: OidcRefused, session: LoginSession | None, remote: str) -> None:
    user = session.user if session else None
    actor = person(user, remote) if user else stranger(remote)
    known, site_id = ("user", user.id if user else ""), user.site_id if user else None
    detail = {"reason": refused.reason, "subject": refused.subject}
    transact(state, lambda db: note(db, actor, "oidc.refused", known, detail, site_id=site_id))


def _told(request: Request, state: AppState, refused: OidcRefused, session: LoginSession | None) -> Response:
    """Why it ended, on the page where it began."""
    status = 503 if refused.code in UNANSWERED else 403
    if session is not None:
        return account_page(request, state, session, error=refused.code, status=status)
    return login_page(request, state, error=refused.code, status=status)
