"""Errors as RFC 9457 problem documents, the same shape from every route; and the headers that every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException as RoutingException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.blob_port import BlobDamaged, BlobsUnavailable
from server.series.port import SeriesUnavailable

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# what the OpenAPI document says of every error
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "code", "detail"],
                    "properties": {
                        "type": {"type": "string", "format": "uri"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "code": {"type": "string"},
                        "detail": {"type": "string"},
                    },
                }
            }
        },
    }
    for status, description in (("4XX", "Refused"), ("5XX", "Cannot be answered now"))
}


def file_answer(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of a route whose answer is a file."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media_types}
    return {200: {"description": "The file", "content": content}}


TABLE_FILE = file_answer(
    "application/pdf",
    "text/csv",
    "application/json",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)


class Problem(HTTPException):
    """An error for the caller: ``code`` is stable, ``detail`` says what to do.

    An HTTPException, because the framework lets only these out of the reading of a body.
    """

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        waits = {"retry-after": str(RETRY_AFTER_S)} if status == 503 else {}
        super().__init__(status, detail, {**waits, **(headers or {})} or None)
        self.status = status
        self.code = code


class LoginNeeded(Exception):
    """Nobody is logged in: pages lead to the log-in, the API answers 401."""


def problem_response(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"type": f"urn:brightline:problem:{code}", "title": HTTPStatus(status).phrase, "status": status}
    return JSONResponse({**body, "code": code, "detail": detail}, status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Register the handlers."""

    @app.exception_handler(Problem)
    async def on_problem(_: Request, error: Problem) -> Response:
        return problem_response(error.status, error.code, error.detail, error.headers)

    @app.exception_handler(LoginNeeded)
    async def on_login_needed(request: Request, _: LoginNeeded) -> Response:
        if request.url.path.startswith("/api/"):
            said = "log in first, or send a token that is valid: Authorization: Bearer ..."
            return problem_response(401, "login_needed", said, {"www-authenticate": "Bearer"})
        return RedirectResponse("/login", 303)

    @app.exception_handler(RoutingException)
    async def on_http(_: Request, error: RoutingException) -> Response:
        return problem_response(error.status_code, f"http_{error.status_code}", str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem_response(422, "invalid", f"{place}: {first['msg']}")

    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeoutError)
    async def on_database(_: Request, error: Exception) -> Response:
        logger.error("the database does not answer: %s", error)
        busy = Problem(503, "database", "the database does not answer; try again later")
        return problem_response(busy.status, busy.code, busy.detail, busy.headers)

    @app.exception_handler(SeriesUnavailable)
    async def on_series(_: Request, error: Exception) -> Response:
        logger.error("the series store does not answer: %s", error)
        busy = Problem(503, "series", "the store of the readings does not answer; nothing is lost, try again later")
        return problem_response(busy.status, busy.code, busy.detail, busy.headers)

    @app.exception_handler(BlobsUnavailable)
    async def on_blobs(_: Request, error: Exception) -> Response:
        logger.error("the store of the pictures does not answer: %s", error)
        busy = Problem(503, "blobs", "the store of the pictures does not answer; try again later")
        return problem_response(busy.status, busy.code, busy.detail, busy.headers)

    @app.exception_handler(BlobDamaged)
    async def on_damaged(_: Request, error: Exception) -> Response:
        logger.error("%s; run brightline-server verify", error)
        return problem_response(500, "blob_damaged", "these bytes are not those on record; they are not given out")


class FaultBarrier:
    """ASGI middleware, the outermost: every answer has the headers, and a fault becomes a problem, logged once."""

    def __init__(self, app: ASGIApp, secure: bool) -> None:
        self._app = app
        self._headers = {
            "content-security-policy": POLICY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            **({"strict-transport-security": "max-age=31536000"} if secure else {}),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            logger.exception("unexpected fault in %s %s", scope["method"], scope["path"])
            if not started:
                detail = "the server failed on this request; the operator finds it in the log"
                await problem_response(500, "fault", detail)(scope, receive, send_with_headers)
