"""The pages of accounts, for administrators: cut to their region, every change in the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from server import second_factor, users
from server.access import needs
from server.accounts import AccountError, add_user, disable_user, set_password, set_role
from server.audit import Actor, person
from server.deps import AppState, RemoteDep, SessionDep, StateDep, check_csrf, provider_of, snapshot, transact
from server.i18n import translate
from server.models import LoginSession, Site, User
from server.oidc import links
from server.oidc.id_token import Identity
from server.oidc.refusal import OidcRefused
from server.pages import language_of, render
from server.policy import ROLES
from server.problems import Problem
from server.regions import region_names
from server.tokens import bounds_of

router = APIRouter(prefix="/users", include_in_schema=False)
UserId = Annotated[int, Path(ge=1, le=2**53)]
Bound = Annotated[str, Form(max_length=40, pattern=r"^((site|region):[1-9][0-9]{0,14})?$")]
Name = Annotated[str, Form(max_length=64)]
Act = Literal["disable", "enable", "password", "role", "second-factor", "link", "unlink"]


@router.get("", dependencies=[needs("user.manage")])
def user_list(
    request: Request, state: StateDep, session: SessionDep, after: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    return _list(request, state, session, after)


def _list(
    request: Request, state: AppState, session: LoginSession, after: str = "", error: str = "", status: int = 200
) -> HTMLResponse:
    with snapshot(state) as db:
        found = users.list_users(db, session.user, after, users.PAGE_ROWS + 1)
        where = {user.id: _where(db, user.site_id, user.region) for user in found}
        sites, regions = bounds_of(db, session.user)
        names = {region.id: region_names(db, region) for region in regions}
    more = found[users.PAGE_ROWS - 1].username if len(found) > users.PAGE_ROWS else ""
    return render(
        request, "users.html", status=status, session=session, users=found[: users.PAGE_ROWS], where=where, more=more,
        roles=ROLES, sites=sites, regions=names, error=error,
    )  # fmt: skip


def _where(db: Session, site_id: int | None, region: object) -> str:
    site = db.get(Site, site_id) if site_id else None
    return site.name if site else getattr(region, "name", "")


@router.post("", dependencies=[needs("user.manage")])
def add(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
    username: Name = "",
    name: Name = "",
    password: Annotated[str, Form(max_length=200)] = "",
    role: Annotated[str, Form(max_length=20)] = "",
    bound: Bound = "",
) -> Response:
    """Make an account; its first password is the one that the person is told and changes."""
    check_csrf(session, csrf)

    def make(db: Session) -> int:
        site, region = users.binding_of(db, session.user, role, *_bound(bound))
        return add_user(db, username, name, password, role, site, region, person(session.user, remote)).id

    try:
        made = transact(state, make)
    except AccountError as error:
        return _list(request, state, session, error=str(error), status=422)
    return RedirectResponse(f"/users/{made}", 303)


def _bound(text: str) -> tuple[int | None, int | None]:
    kind, _, number = text.partition(":")
    return (int(number) if kind == "site" else None), (int(number) if kind == "region" else None)


@router.get("/{user_id}", dependencies=[needs("user.manage")])
def user_page(user_id: UserId, request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    return _page(user_id, request, state, session)


def _page(
    user_id: int, request: Request, state: AppState, session: LoginSession, error: str = "", status: int = 200
) -> HTMLResponse:
    with snapshot(state) as db:
        user = users.visible_user(db, session.user, user_id)
        if user is None:
            return render(request, "error.html", status=404, session=session, error="unknown_user")
        where = _where(db, user.site_id, user.region)
        enrolled = users.has_second_factor(db, user)
        sites, regions = bounds_of(db, session.user)
        names = {region.id: region_names(db, region) for region in regions}
        oidc = state.oidc.settings if state.oidc else None
        link = links.link_of(db, oidc.issuer, user_id) if oidc else None
    return render(
        request, "user.html", status=status, path=f"/users/{user_id}", session=session, user=user, where=where,
        enrolled=enrolled, roles=ROLES, sites=sites, regions=names, error=error, oidc=oidc.name if oidc else "",
        link=link,
    )  # fmt: skip


@router.post("/{user_id}/{act}", dependencies=[needs("user.manage")])
def change(
    user_id: UserId,
    act: Act,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
    seen: Annotated[str, Form(max_length=80)] = "",
    password: Annotated[str, Form(max_length=200)] = "",
    role: Annotated[str, Form(max_length=20)] = "",
    bound: Bound = "",
    subject: Annotated[str, Form(max_length=255)] = "",
) -> Response:
    """One change of somebody else's account; their sessions end where it takes something from them.

    *seen*: the standing that the form of a role was opened with.
    """
    check_csrf(session, csrf)
    actor = person(session.user, remote)

    def work(db: Session) -> None:
        user = users.other_user(db, session.user, user_id)
        if user is None:
            raise Problem(404, "unknown_user", "there is no such account for you to change")
        if act == "role" and seen and seen != user.standing:
            raise AccountError("somebody changed its role after you opened the page; look at it as it is now")
        if act in ("disable", "enable"):
            disable_user(db, user, disabled=act == "disable", actor=actor)
        elif act == "password":
            set_password(db, user, password, actor)
        elif act == "role":
            set_role(db, user, role, *users.binding_of(db, session.user, role, *_bound(bound)), actor)
        elif act in ("link", "unlink"):
            _relink(db, provider_of(state).settings.issuer, user, subject if act == "link" else None, actor)
        else:
            second_factor.remove(db, user, actor)

    try:
        transact(state, work)
    except (AccountError, OidcRefused) as error:
        said = translate(language_of(request), error.code) if isinstance(error, OidcRefused) else str(error)
        return _page(user_id, request, state, session, said, 422)
    return RedirectResponse(f"/users/{user_id}", 303)


def _relink(db: Session, issuer: str, user: User, subject: str | None, actor: Actor) -> None:
    """Link the identity, or unlink the present one without any."""
    if subject is None:
        links.remove_link(db, issuer, user, actor)
    else:
        links.add_link(db, Identity(issuer, subject.strip()), user, actor)
