"""What routes are given: the instance's state, a transaction, and who is asking."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Path, Request
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.accounts import find_session
from server.assets.public import PublicDesk
from server.backfill import Backfill
from server.blob_port import BlobStore
from server.boxes.calls import BoxCalls
from server.database import clashed, writing
from server.instance_key import InstanceKey
from server.live import Broadcaster
from server.models import LoginSession, User
from server.notification.channels import Notices
from server.oidc.provider import Provider
from server.policy import cut_of
from server.problems import LoginNeeded, Problem, problem_response
from server.rate_limit import Buckets
from server.rollout.release_bytes import ReleaseBytes
from server.series.port import SeriesStore
from server.settings import Settings
from server.tokens import find_token, needs_use_noted, note_use, session_of_token
from server.turns import Haste, Turns

COOKIE = "bl_session"
TRIES_MAX = 5
Result = TypeVar("Result")


@dataclass(frozen=True)
class AppState:
    """Made at start-up, closed at the end."""

    settings: Settings
    engine: Engine
    blobs: BlobStore
    broadcaster: Broadcaster
    series: SeriesStore
    key: InstanceKey
    failed_logins: Buckets
    notices: Notices
    calls: BoxCalls
    oidc: Provider | None = None
    backfill: Backfill = field(default_factory=Backfill)
    turns: Turns = field(default_factory=Turns)
    public: PublicDesk = field(default_factory=PublicDesk)
    releases: ReleaseBytes = field(default_factory=ReleaseBytes)


# What waits for nothing is `async`: for a plain function the framework would go to a thread and back, in each request
async def app_state(request: Request) -> AppState:
    state = request.app.state.brightline
    assert isinstance(state, AppState)
    return state


StateDep = Annotated[AppState, Depends(app_state)]


def provider_of(state: AppState) -> Provider:
    """The provider of identities; raises Problem where there is none."""
    if state.oidc is None:
        raise Problem(404, "oidc_off", "single sign-on is not set up here")
    return state.oidc


@contextmanager
def transaction(state: AppState, haste: Haste = Haste.USUAL) -> Iterator[Session]:
    """A transaction that may write: commit at the end, roll back on an error. Others wait until it ends."""
    with state.turns.taken(haste), Session(writing(state.engine), expire_on_commit=False) as db, db.begin():
        yield db


@contextmanager
def snapshot(state: AppState) -> Iterator[Session]:
    """A transaction that only reads; it waits for nobody and nobody waits for it."""
    with Session(state.engine, expire_on_commit=False) as db, db.begin():
        yield db


def look_up(state: AppState, work: Callable[[Session], Result]) -> Result:
    """Run *work* in one reading transaction."""
    with snapshot(state) as db:
        return work(db)


def transact(
    state: AppState, work: Callable[[Session], Result], haste: Haste = Haste.USUAL, *, beside: bool = False
) -> Result:
    """Run *work* in one writing transaction, and again if another transaction was faster at the same thing.

    *beside*: it locks by itself what it relies on and need not wait for others that do (see server.database).
    """
    engine = writing(state.engine, beside=beside)
    alone = engine.dialect.name == "sqlite" or not beside
    for left in reversed(range(TRIES_MAX)):
        try:
            with (
                state.turns.taken(haste) if alone else nullcontext(),
                Session(engine, expire_on_commit=False) as db,
                db.begin(),
            ):
                return work(db)
        except (DBAPIError, StaleDataError) as error:
            if not left or not clashed(error):
                raise
    raise AssertionError("the last try returns or raises")


def bearer_of(request: Request) -> str | None:
    """The token of the header ``Authorization`` (RFC 6750; ``Token`` is InfluxDB's word); None without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "token") else None


def _session_of_bearer(state: AppState, secret: str) -> LoginSession:
    now = datetime.now(UTC)
    with snapshot(state) as db:
        token = find_token(db, secret)
        if token is None:
            raise LoginNeeded
        session, token_id, noted = session_of_token(db, token), token.id, not needs_use_noted(token, now)
    if not noted:
        transact(state, lambda db: note_use(db, token_id, now))
    return session


def session_of(request: Request, state: StateDep) -> LoginSession:
    """The log-in of the caller, or what stands for it with an API token; raises LoginNeeded.

    Tokens are for the API only. Whoever sends one is not taken for anybody else, whatever cookie comes with it.
    """
    bearer = bearer_of(request)
    if bearer is not None and request.url.path.startswith("/api/"):
        return _session_of_bearer(state, bearer)
    token = request.cookies.get(COOKIE)
    session = look_up(state, lambda db: find_session(db, token)) if token else None
    if session is None:
        raise LoginNeeded
    return session


SessionDep = Annotated[LoginSession, Depends(session_of)]


async def user_of(session: SessionDep) -> User:
    return session.user


UserDep = Annotated[User, Depends(user_of)]


def check_csrf(session: LoginSession, given: str | None) -> None:
    """Raises Problem unless the caller knows the session's CSRF token. An API token needs none: no browser sends it."""
    if cut_of(session.user.role) is not None:
        return
    if not given or not hmac.compare_digest(session.csrf_token.encode(), given.encode()):
        raise Problem(403, "csrf", "the form is too old or did not come from this site; reload the page")


async def csrf_header(request: Request, session: SessionDep) -> None:
    check_csrf(session, request.headers.get("x-csrf-token"))


CsrfDep = Depends(csrf_header)


async def own_origin(request: Request) -> None:
    """Refuse a log-in that another site's page sends (W3C Fetch Metadata): it would log its reader in as somebody."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise Problem(403, "csrf", "the form is too old or did not come from this site; reload the page")


OwnOriginDep = Depends(own_origin)
AlertId = Annotated[int, Path(ge=1, le=2**53)]  # beyond the database's integers there is no alert


async def remote_addr(request: Request) -> str:
    return request.client.host if request.client else ""


RemoteDep = Annotated[str, Depends(remote_addr)]


async def body_within(request: Request, bytes_max: int) -> bytes:
    """The request's body, read no further than *bytes_max*; raises Problem 413, or 408 if the client goes away."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > bytes_max:
                raise Problem(413, "too_large", f"at most {bytes_max} bytes are taken at once")
            parts.append(part)
    except ClientDisconnect as error:  # 408: the box shall try again, a 400 would set the batch aside
        raise Problem(408, "cut_short", "the connection ended inside the request") from error
    return b"".join(parts)


async def in_thread(work: Callable[[], Result]) -> Result:
    """Blocking work off the event loop."""
    return await run_in_threadpool(work)


class BodyLimit:
    """ASGI middleware: a body is read up to the limit of its path, then the request ends with 413."""

    def __init__(self, app: ASGIApp, limits: dict[str, int]) -> None:
        """*limits*: pattern of the whole path → bytes; the first that fits counts, and there must be one for all."""
        self._app = app
        self._limits = [(re.compile(pattern), bytes_max) for pattern, bytes_max in limits.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bytes_max = next(limit for pattern, limit in self._limits if pattern.fullmatch(scope["path"]))
        detail = f"at most {bytes_max} bytes are taken at once"
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > bytes_max:
            await problem_response(413, "too_large", detail)(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > bytes_max:
                raise Problem(413, "too_large", detail)
            return message

        await self._app(scope, counted, send)
