"""InfluxDB's door: line protocol at ``/api/v2/write``, for Telegraf and other gateways, with a token of one site.

A request is taken whole or not at all, as InfluxDB 2 says of its 400: the answer names the lines that are wrong, and
none of the request is stored. Every refusal has InfluxDB's shape, ``{"code": ..., "message": ...}``, which Telegraf
logs; it drops a batch on 400, cuts it in two on 413, and keeps it for later on 429 and 503.
"""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access import needs
from server.audit import person
from server.deps import AppState, RemoteDep, StateDep, UserDep, body_within, in_thread, transact
from server.intake.gateway import payload_of, store_values
from server.intake.lines import READINGS_MAX, LinesRefused, Precision, TooManyReadings, read_lines
from server.models import User
from server.policy import cut_of
from server.problems import MEDIA_TYPE, Problem

router = APIRouter(prefix="/api/v2", tags=["gateways"])
BODY_BYTES_MAX = 4 * 1024 * 1024
TEXT_BYTES_MAX = 16 * 1024 * 1024
CODES = {
    400: "invalid", 401: "unauthorized", 403: "forbidden", 404: "not found", 408: "invalid", 413: "request too large",
    422: "invalid", 429: "too many requests", 503: "unavailable",
}  # fmt: skip
_ERROR = {
    "description": "Refused, nothing of it is stored",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            },
            "example": {"code": "invalid", "message": "line 3: 'x' is no timestamp"},
        }
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {
                "schema": {"type": "string", "maxLength": BODY_BYTES_MAX},
                "example": "temperature,sensor_id=cold-1 value=-18.2 1767225600000000000",
            }
        },
    }
}


@router.post(
    "/write",
    status_code=204,
    response_class=Response,
    dependencies=[needs("readings.write")],
    responses={"4XX": _ERROR, "5XX": _ERROR},
    openapi_extra=_BODY,
)
async def write(
    request: Request,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    precision: Annotated[Literal["ns", "us", "ms", "s"], Query()] = "ns",
) -> Response:
    """Take points in line protocol, plain or in gzip. *precision* is that of the timestamps.

    ``Authorization: Token ...`` with a token for ``readings.write`` that is bound to a site; ``org`` and ``bucket``
    may be given and mean nothing here.
    """
    cut = cut_of(user.role)
    if cut is None or cut.site_id is None:
        raise Problem(403, "token_needed", "send a token that is bound to a site: Authorization: Token ...")
    body = await body_within(request, BODY_BYTES_MAX)
    encoding = request.headers.get("content-encoding", "identity").lower()
    await in_thread(partial(_store, state, user, cut.site_id, body, encoding, precision, remote))
    return Response(status_code=204)


def _store(
    state: AppState, user: User, site_id: int, body: bytes, encoding: str, precision: Precision, remote: str
) -> None:
    try:
        text = _unpack(body, encoding).decode()
        values = read_lines(text, precision, datetime.now(UTC))
    except UnicodeDecodeError as error:
        raise Problem(400, "encoding", "the body is not UTF-8") from error
    except LinesRefused as error:
        raise Problem(400, "line_protocol", f"nothing was stored: {error}") from error
    except TooManyReadings as error:
        raise Problem(413, "too_large", f"at most {READINGS_MAX} values are taken at once") from error
    if not values:
        return
    payload = payload_of(values)
    series_here = state.settings.series.in_record
    transact(
        state,
        lambda db: store_values(
            db, state.key.signer, site_id, values, payload, person(user, remote), series_here=series_here
        ),
    )


def _unpack(body: bytes, encoding: str) -> bytes:
    if encoding in ("identity", ""):
        return body
    if encoding != "gzip":
        raise Problem(400, "encoding", "the body is plain or gzip")
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(body, TEXT_BYTES_MAX)
    except zlib.error as error:
        raise Problem(400, "encoding", "the body is no gzip") from error
    if stream.unconsumed_tail:
        raise Problem(413, "too_large", f"a body unpacks to at most {TEXT_BYTES_MAX} bytes")
    if not stream.eof or stream.unused_data:
        raise Problem(400, "encoding", "the gzip is cut short or holds more than one part")
    return text


class InfluxErrors:
    """ASGI middleware: gives every problem under ``/api/v2/`` InfluxDB's shape."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/v2/"):
            await self._app(scope, receive, send)
            return
        held: list[Message] = []  # the start of a problem, until its body is here

        async def translate(message: Message) -> None:
            if message["type"] == "http.response.start":
                if MutableHeaders(scope=message).get("content-type") == MEDIA_TYPE:
                    held.append(message)
                    return
            elif held:
                start = held.pop()
                body = _influx_error(start["status"], json.loads(message["body"]))
                headers = MutableHeaders(scope=start)
                headers["content-type"], headers["content-length"] = "application/json", str(len(body))
                await send(start)
                message = {**message, "body": body}
            await send(message)

        await self._app(scope, receive, translate)


def _influx_error(status: int, problem: dict[str, Any]) -> bytes:
    said = {"code": CODES.get(status, "internal error"), "message": f"{problem['code']}: {problem['detail']}"}
    return json.dumps(said, ensure_ascii=False).encode()
