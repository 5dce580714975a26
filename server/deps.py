"""What routes are given: the instance's state, a transaction, and who is asking."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.accounts import find_session
from server.blobs import FolderBlobStore
from server.live import Broadcaster
from server.models import LoginSession, User
from server.problems import LoginNeeded, Problem
from server.settings import Settings

COOKIE = "bl_session"
Result = TypeVar("Result")


@dataclass(frozen=True)
class AppState:
    """Made at start-up, closed at the end."""

    settings: Settings
    engine: Engine
    blobs: FolderBlobStore
    broadcaster: Broadcaster


def app_state(request: Request) -> AppState:
    state = request.app.state.brightline
    assert isinstance(state, AppState)
    return state


StateDep = Annotated[AppState, Depends(app_state)]


@contextmanager
def transaction(state: AppState) -> Iterator[Session]:
    """Commit at the end, roll back on an error."""
    with Session(state.engine, expire_on_commit=False) as db, db.begin():
        yield db


def transact(state: AppState, work: Callable[[Session], Result]) -> Result:
    """Run *work* in one transaction."""
    with transaction(state) as db:
        return work(db)


def session_of(request: Request, state: StateDep) -> LoginSession:
    """The log-in of the caller; raises LoginNeeded."""
    token = request.cookies.get(COOKIE)
    session = transact(state, lambda db: find_session(db, token)) if token else None
    if session is None:
        raise LoginNeeded
    return session


SessionDep = Annotated[LoginSession, Depends(session_of)]


def user_of(session: SessionDep) -> User:
    return session.user


UserDep = Annotated[User, Depends(user_of)]


def check_csrf(session: LoginSession, given: str | None) -> None:
    """Raises Problem unless the caller knows the session's CSRF token."""
    if not given or not hmac.compare_digest(session.csrf_token, given):
        raise Problem(403, "csrf", "the form is too old or did not come from this site; reload the page")


def csrf_header(request: Request, session: SessionDep) -> None:
    check_csrf(session, request.headers.get("x-csrf-token"))


CsrfDep = Depends(csrf_header)


def remote_addr(request: Request) -> str:
    return request.client.host if request.client else ""


RemoteDep = Annotated[str, Depends(remote_addr)]


async def body_within(request: Request, bytes_max: int) -> bytes:
    """The request's body, read no further than *bytes_max*; raises Problem 413."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise Problem(413, "too_large", f"at most {bytes_max} bytes are taken at once")
        parts.append(part)
    return b"".join(parts)


async def in_thread(work: Callable[[], Result]) -> Result:
    """Blocking work off the event loop."""
    return await run_in_threadpool(work)


class BodyLimit:
    """ASGI middleware: a request body is read up to *bytes_max*, then the request ends with 413."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._bytes_max:
                raise Problem(413, "too_large", f"at most {self._bytes_max} bytes are taken at once")
            return message

        await self._app(scope, counted, send)
