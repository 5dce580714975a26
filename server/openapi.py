"""What the OpenAPI document says beyond the routes: who may call them, how often, and what every answer may carry."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from server.access import Needs, OpenTo
from server.idempotency import NOT_FOR
from server.problems import MEDIA_TYPE

SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "an API token (page /tokens)"},
    "session": {"type": "apiKey", "in": "cookie", "name": "bl_session", "description": "set by POST /api/v1/login"},
}
PEOPLE: list[dict[str, list[str]]] = [{"token": []}, {"session": []}]
_COUNT = {"type": "integer", "minimum": 0}
LIMIT_HEADERS = {
    "RateLimit-Limit": {"description": "how many requests may be made at once", "schema": _COUNT},
    "RateLimit-Remaining": {"description": "how many more may be made now", "schema": _COUNT},
    "RateLimit-Reset": {"description": "seconds until all may be made again", "schema": _COUNT},
}
RETRY_AFTER = {"Retry-After": {"description": "seconds to wait", "schema": _COUNT}}
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "any text of your own: the same request sent again with it within a day is done once",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "example": "9d1f0c6e-7c39-4b4f-8f9e-3f0f5d5d3a61",
}
ETAG = {"ETag": {"description": "for If-None-Match, and for If-Match of a change", "schema": {"type": "string"}}}
EXAMPLES = {
    "4XX": {
        "type": "urn:brightline:problem:not_allowed", "title": "Forbidden", "status": 403, "code": "not_allowed",
        "detail": "your role may not do this",
    },
    "5XX": {
        "type": "urn:brightline:problem:database", "title": "Service Unavailable", "status": 503, "code": "database",
        "detail": "the database does not answer; try again later",
    },
}  # fmt: skip


def describe(app: FastAPI, routes: list[APIRoute]) -> None:
    """Complete the document of an application, once, when it is first asked for; *routes* are all its routes."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = plain()
            made.setdefault("components", {})["securitySchemes"] = SCHEMES
            for route in routes:
                for method in (route.methods or ()) if route.include_in_schema else ():
                    _complete(made["paths"][route.path][method.lower()], route, method)
        return plain()

    app.openapi = document  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    rules = [item.call for item in route.dependant.dependencies if isinstance(item.call, Needs | OpenTo)]
    for_people = all(isinstance(rule, Needs) or rule.who in ("logged_in", "first_factor") for rule in rules)
    operation["security"] = PEOPLE if for_people else []
    answers = operation["responses"]
    for status, example in EXAMPLES.items():
        answers[status].setdefault("headers", {}).update(RETRY_AFTER)
        if MEDIA_TYPE in answers[status]["content"]:
            answers[status]["content"][MEDIA_TYPE]["example"] = example
    for status, answer in answers.items():
        if for_people:
            answer.setdefault("headers", {}).update(LIMIT_HEADERS)
        if method == "GET" and status == "200" and "application/json" in answer.get("content", {}):
            answer.setdefault("headers", {}).update(ETAG)
    if method == "GET" and for_people:
        answers["304"] = {"description": "Unchanged since the ETag of If-None-Match"}
    if method == "POST" and for_people and route.path.startswith("/api/v1/") and not NOT_FOR.fullmatch(route.path):
        operation.setdefault("parameters", []).append(KEY_PARAMETER)
