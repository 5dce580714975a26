"""Errors as RFC 9457 problem documents, the same shape from every route."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

logger = logging.getLogger(__name__)


class Problem(Exception):
    """An error for the caller: ``code`` is stable, ``detail`` says what to do."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class LoginNeeded(Exception):
    """Nobody is logged in: pages lead to the log-in, the API answers 401."""


def problem_response(status: int, code: str, detail: str) -> JSONResponse:
    body = {"type": f"urn:brightline:problem:{code}", "title": HTTPStatus(status).phrase, "status": status}
    return JSONResponse({**body, "code": code, "detail": detail}, status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Register the handlers."""

    @app.exception_handler(Problem)
    async def on_problem(_: Request, error: Problem) -> Response:
        return problem_response(error.status, error.code, error.detail)

    @app.exception_handler(LoginNeeded)
    async def on_login_needed(request: Request, _: LoginNeeded) -> Response:
        if request.url.path.startswith("/api/"):
            return problem_response(401, "login_needed", "log in first")
        return RedirectResponse("/login", 303)

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> Response:
        return problem_response(error.status_code, f"http_{error.status_code}", str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem_response(422, "invalid", f"{place}: {first['msg']}")

    @app.exception_handler(Exception)
    async def on_fault(_: Request, error: Exception) -> Response:
        logger.error("unexpected fault", exc_info=error)
        return problem_response(500, "fault", "the server failed on this request; the operator finds it in the log")
