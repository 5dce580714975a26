"""``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header): a POST that is sent again is done once.

The answer is kept for a day, sealed, for the same person or token, and given again to the same request. Only what
succeeded is kept: a refusal changed nothing, so the key is free again. A key whose first request was cut off by the
end of the process stays taken, as nobody knows whether it was carried out: 409 says to look before sending again.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.deps import AppState, in_thread, session_of, transact
from server.models import LoginSession
from server.models_access import StoredAnswer
from server.policy import cut_of
from server.problems import LoginNeeded, problem_response

LIFE = timedelta(hours=24)
BODY_BYTES_MAX = 12 * 1024 * 1024  # a photo and its form
ANSWER_BYTES_MAX = 64 * 1024
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_BOUNDARY = re.compile(r'boundary="?([^";]{1,70})')
_KEPT_HEADERS = ("content-type", "etag", "location")
NOT_FOR = re.compile(r"/api/v1/(batches|enrol|login|vendor-events/.*)")


class Idempotency:
    """ASGI middleware for the POST requests of people's API that carry a key."""

    def __init__(self, app: ASGIApp, state_of: Callable[[], AppState]) -> None:
        self._app = app
        self._state_of = state_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith("/api/v1/")
        given = Headers(scope=scope).get("idempotency-key") if wanted else None
        if given is None or NOT_FOR.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        state, request = self._state_of(), Request(scope, receive)
        try:
            session = await in_thread(lambda: session_of(request, state))
        except LoginNeeded:
            await self._app(scope, receive, send)  # which says so
            return
        if not _KEY.fullmatch(given):
            detail = "an Idempotency-Key has 1 to 255 visible ASCII characters"
            await problem_response(400, "idempotency_key", detail)(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            detail = f"with an Idempotency-Key at most {BODY_BYTES_MAX} bytes are taken"
            await problem_response(413, "too_large", detail)(scope, receive, send)
            return
        key = _digest(_caller(session), given)
        earlier = await in_thread(lambda: transact(state, lambda db: _begin(db, state, key, _print(request, body))))
        if earlier is not None:
            await earlier(scope, receive, send)
            return
        await self._run(scope, send, state, key, body)

    async def _run(self, scope: Scope, send: Send, state: AppState, key: str, body: bytes) -> None:
        """Carry the request out; its answer is kept before it is given."""
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        try:
            await self._app(scope, _replayed(body), hold)
        except BaseException:
            await in_thread(lambda: transact(state, lambda db: _forget(db, key)))
            raise
        await in_thread(lambda: transact(state, lambda db: _finish(db, state, key, held)))
        for message in held:
            await send(message)


async def _read(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES_MAX:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes) -> Callable[[], Awaitable[Message]]:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _caller(session: LoginSession) -> str:
    cut = cut_of(session.user.role)
    return f"{session.user.id}/{cut.token_id if cut else ''}"


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()


def _print(request: Request, body: bytes) -> str:
    """What makes two requests the same; a form's boundary is drawn anew for each sending and does not count."""
    kind = request.headers.get("content-type", "")
    found = _BOUNDARY.search(kind)
    if found:
        kind, body = kind.split(";")[0], body.replace(found[1].encode("latin-1"), b"")
    return _digest(request.url.path, request.url.query, kind, sha256(body).hexdigest())


def _begin(db: Session, state: AppState, key: str, fingerprint: str) -> Response | None:
    """The answer to give instead of carrying the request out; None when this is the first with its key."""
    now = datetime.now(UTC)
    db.execute(delete(StoredAnswer).where(StoredAnswer.expires_at <= now))
    row = db.get(StoredAnswer, key)
    if row is None:
        db.add(StoredAnswer(key_sha256=key, request_sha256=fingerprint, headers={}, body=b"", expires_at=now + LIFE))
        return None
    if row.request_sha256 != fingerprint:
        return problem_response(422, "idempotency_key_used", "this Idempotency-Key was sent with another request")
    body = state.key.open(row.body, key) if row.status is not None else None
    if row.status is None or body is None:
        detail = "the first request with this Idempotency-Key did not end yet, or was cut off; look before you repeat"
        return problem_response(409, "idempotency_in_progress", detail)
    return Response(body, row.status, {**row.headers, "idempotency-replayed": "true"})


def _finish(db: Session, state: AppState, key: str, held: list[Message]) -> None:
    row = db.get(StoredAnswer, key)
    start: Message = held[0] if held else {"status": 500, "headers": []}
    body = b"".join(message.get("body", b"") for message in held[1:])
    if row is None or not 200 <= start["status"] < 300 or len(body) > ANSWER_BYTES_MAX:
        _forget(db, key)
        return
    headers = Headers(raw=start["headers"])
    row.status, row.body = start["status"], state.key.seal(body, key)
    row.headers = {name: headers[name] for name in _KEPT_HEADERS if name in headers}


def _forget(db: Session, key: str) -> None:
    db.execute(delete(StoredAnswer).where(StoredAnswer.key_sha256 == key))
