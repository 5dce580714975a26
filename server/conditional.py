"""ETags (RFC 9110, 8.8 and 13): an unchanged answer is not sent again, a change is not made to what has changed.

Every JSON answer to a GET of the API gets a tag from its bytes. Where the object has a version, the tag begins with it,
and ``If-Match`` of a change is held against the version alone: what came in beside it (a picture) does not forbid it.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Annotated

from fastapi import Header
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problems import Problem

BODY_BYTES_MAX = 1024 * 1024
VERSION = "brightline-version"
_TAG = re.compile(r'(?:W/)?"([^"]*)"')
IfMatch = Annotated[str | None, Header(max_length=1000, description="do it only if the object still has this ETag")]


def check_match(if_match: str | None, version: int) -> None:
    """Raises Problem 412 unless the caller's tag is of this version; without a tag there is nothing to check."""
    if if_match is None or if_match.strip() == "*":
        return
    if str(version) not in [tag.partition(".")[0] for tag in _TAG.findall(if_match)]:
        raise Problem(412, "changed", "it was changed since you read it; read it again")


class EntityTags:
    """ASGI middleware: tags the JSON answers to GET, and answers 304 to who has the same already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/api/v1/"):
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("if-none-match", "")
        held: list[Message] = []

        async def tag(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_taggable(message):
                held.append(message)
            elif held and message["type"] == "http.response.body" and not message.get("more_body", False):
                start = held.pop()
                same = _set_tag(start, message["body"], asked)
                await send(start)
                await send({**message, "body": b""} if same else message)
            else:
                if held:
                    await send(held.pop())
                await send(message)

        await self._app(scope, receive, tag)


def _is_taggable(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    length = headers.get("content-length", "")
    fits = length.isdecimal() and int(length) <= BODY_BYTES_MAX
    return start["status"] == 200 and fits and headers.get("content-type", "").startswith("application/json")


def _set_tag(start: Message, body: bytes, asked: str) -> bool:
    """Set the tag, and make the answer a 304 if that is what the caller has."""
    headers = MutableHeaders(scope=start)
    version = headers.get(VERSION)
    tag = sha256(body).hexdigest()[:32]
    if version is not None:
        tag = f"{version}.{tag}"
        del headers[VERSION]
    headers["etag"] = f'"{tag}"'
    same = asked.strip() == "*" or tag in _TAG.findall(asked)
    if same:
        start["status"] = 304
        for name in ("content-length", "content-type"):
            del headers[name]
    return same
