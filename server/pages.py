"""The pages: rendered on the server, usable without JavaScript, made for a phone first."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from server import api
from server.access import open_to
from server.accounts import log_out
from server.deps import (
    COOKIE,
    AppState,
    OwnOriginDep,
    RemoteDep,
    SessionDep,
    StateDep,
    check_csrf,
    transact,
)
from server.i18n import LANGUAGES, choose, translate
from server.login import SecondFactorNeeded, log_in, log_in_with_ticket
from server.models import LoginSession
from server.policy import may
from server.problems import Problem

router = APIRouter(include_in_schema=False)
LANGUAGE_COOKIE = "bl_language"
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def local_time(value: datetime, zone: str) -> str:
    """A time in the site's zone, to the second."""
    return value.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")


def number(value: object) -> float | None:
    """What a box sent where a number belongs, or None: its words must not break a page."""
    try:
        read = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None
    return read if read is not None and math.isfinite(read) else None


def moment(value: object) -> datetime | None:
    """What a box sent where a time belongs, or None; a time without a zone is none."""
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return read if read is not None and read.tzinfo is not None and 1970 <= read.year < 9000 else None


def minutes(value_s: float) -> str:
    """A length of time as hours:minutes, rounded down."""
    return f"{int(value_s) // 3600}:{int(value_s) // 60 % 60:02d}"


_templates.filters["local"] = local_time
_templates.filters["minutes"] = minutes
_templates.filters["moment"] = moment
_templates.filters["number"] = number


def language_of(request: Request) -> str:
    """The language of the caller's pages."""
    return choose(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language"))


def render(request: Request, name: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page in the caller's language; ``may`` tells it what the logged-in person may do.

    A *path* in the context is where the page is, if not here: the choice of a language leads back there.
    """
    session: LoginSession | None = context.get("session")
    language = language_of(request)
    context.setdefault("path", request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    text = _templates.get_template(name).render(
        language=language,
        other_language=next(item for item in LANGUAGES if item != language),
        t=lambda key: translate(language, key),
        may=lambda permission: session is not None and may(session.user, permission),
        **context,
    )
    return HTMLResponse(text, status, headers={"cache-control": "no-store"})


def refused(request: Request, _: Exception) -> Response:
    """What a page shows to somebody whose role may not open it."""
    return render(request, "error.html", status=403, session=None, error="not_allowed")


@router.get("/login", dependencies=[open_to("everybody")])
def login_form(request: Request, state: StateDep) -> HTMLResponse:
    return login_page(request, state)


def login_page(
    request: Request, state: AppState, *, error: str = "", status: int = 200, ticket: str = ""
) -> HTMLResponse:
    """The page where people log in; with a *ticket* it asks for the code of the second factor."""
    oidc = state.oidc.settings.name if state.oidc else ""
    return render(
        request, "login.html", status=status, path="/login", session=None, error=error, ticket=ticket, oidc=oidc
    )


@router.post("/login", dependencies=[open_to("everybody"), OwnOriginDep])
def login(
    request: Request,
    state: StateDep,
    username: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=200)] = "",
    ticket: Annotated[str, Form(max_length=4000)] = "",
    code: Annotated[str, Form(max_length=40)] = "",
    *,
    remote: RemoteDep,
) -> Response:
    try:
        if ticket:
            secret, _ = log_in_with_ticket(state, ticket, code, remote)
        else:
            secret, _ = log_in(state, username, password, "", remote)
    except SecondFactorNeeded as needed:
        return login_page(request, state, ticket=needed.ticket)
    except Problem as problem:
        again = ticket if problem.code == "wrong_login" else ""
        return login_page(request, state, error=problem.code, status=problem.status, ticket=again)
    answer = RedirectResponse("/", 303)
    api.set_cookie(answer, state, secret)
    return answer


@router.post("/logout", dependencies=[open_to("first_factor")])
def logout(
    request: Request, state: StateDep, session: SessionDep, remote: RemoteDep, csrf: Annotated[str, Form()] = ""
) -> Response:
    check_csrf(session, csrf)
    transact(state, lambda db: log_out(db, request.cookies[COOKIE], remote))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/language/{language}", dependencies=[open_to("everybody")])
def set_language(language: Literal["zh-CN", "en"], state: StateDep, next: str = "/") -> Response:
    target = next if next.startswith("/") and not next.startswith(("//", "/\\")) else "/"
    answer = RedirectResponse(target, 303)
    answer.set_cookie(
        LANGUAGE_COOKIE, language, max_age=31_536_000, samesite="lax", secure=state.settings.secure_cookies
    )
    return answer


@router.get("/api/docs", dependencies=[open_to("everybody")])
def docs(request: Request) -> HTMLResponse:
    """The API for people to read, from its OpenAPI document; no script and nothing from elsewhere."""
    return render(request, "docs.html", session=None, api=request.app.openapi())
