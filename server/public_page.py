"""The page behind a site's QR code: for everybody, without an account, kept for a minute, and asked so often only."""

from __future__ import annotations

import dataclasses
import re
import time
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from server.access import open_to
from server.assets.public import CACHE_S, Facts, read_ground, read_rooms
from server.deps import AppState, RemoteDep, StateDep, look_up
from server.pages import render

router = APIRouter(include_in_schema=False)
TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")


@router.get("/p/{token}", dependencies=[open_to("everybody")])
def public_page(token: str, request: Request, state: StateDep, remote: RemoteDep) -> HTMLResponse:
    """Licence, grade, certificates in numbers, cold rooms today, and how much of what was found is repaired."""
    if not state.public.admits(remote, time.monotonic()):
        answer = render(request, "error.html", status=429, session=None, error="public_too_often")
        answer.headers["retry-after"] = "60"
        return answer
    facts = _facts(state, token) if TOKEN.fullmatch(token) else None
    if facts is None:
        return render(request, "error.html", status=404, session=None, error="public_unknown")
    answer = render(request, "public.html", session=None, facts=facts)
    answer.headers["cache-control"] = f"public, max-age={CACHE_S:.0f}"
    answer.headers["vary"] = "accept-language, cookie"
    return answer


def _facts(state: AppState, token: str) -> Facts | None:
    now_s = time.monotonic()
    facts = state.public.cached(token, now_s)
    if facts is not None:
        return facts
    ground = look_up(state, lambda db: read_ground(db, token, datetime.now(UTC)))
    if ground is None:
        return None
    facts = dataclasses.replace(ground.facts, rooms=read_rooms(state.series, ground))
    state.public.keep(token, facts, now_s)
    return facts
