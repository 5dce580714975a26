"""The page on which people choose how they are told, and the service worker that shows push messages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from server.access import open_to
from server.audit import note, person
from server.deps import AlertId, AppState, RemoteDep, SessionDep, StateDep, check_csrf, snapshot, transact
from server.models import LoginSession
from server.notification.channels import (
    CHANNELS_MAX,
    ChannelRefused,
    add_channel,
    drop_channel,
    own_channels,
    try_channel,
)
from server.notification.rules import CHANNEL_KINDS, ChannelKind
from server.pages import language_of, render

router = APIRouter(include_in_schema=False)
PATH = "/me/notifications"
WORKER = Path(__file__).parents[1] / "static" / "push-worker.js"
TOLD = ("channel_saved", "channel_removed", "channel_tried")


@router.get("/push-worker.js", dependencies=[open_to("everybody")])
def push_worker() -> FileResponse:
    """Served from the root: a service worker may only speak for what lies below its own address."""
    return FileResponse(WORKER, media_type="text/javascript", headers={"cache-control": "no-cache"})


@router.get(PATH, dependencies=[open_to("logged_in")])
def channels_page(request: Request, state: StateDep, session: SessionDep, told: str = "") -> HTMLResponse:
    return _page(request, state, session, told=told if told in TOLD else None)


def _page(
    request: Request, state: AppState, session: LoginSession, *, told: str | None = None, error: str | None = None
) -> HTMLResponse:
    with snapshot(state) as db:
        channels = own_channels(db, session.user)
    kinds = [kind for kind in CHANNEL_KINDS if kind in state.notices.notifiers and kind != "push"]
    return render(
        request, "notifications.html", status=422 if error else 200, session=session, channels=channels, kinds=kinds,
        push_key=state.notices.push_key, told=told, error=error, full=len(channels) >= CHANNELS_MAX,
    )  # fmt: skip


@router.post(PATH, dependencies=[open_to("logged_in")])
def add(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    kind: Annotated[ChannelKind, Form()],
    address: Annotated[str, Form(max_length=3000)],
    tiers: Annotated[int, Form(ge=1, le=3)] = 3,
    csrf: Annotated[str, Form()] = "",
) -> Response:
    check_csrf(session, csrf)
    language = language_of(request)

    def work(db: Session) -> None:
        now = datetime.now(UTC)
        channel = add_channel(db, state.notices, session.user, kind, address, tiers, language, now)
        detail = {"kind": kind, "label": channel.label, "tiers": tiers}
        note(db, person(session.user, remote), "channel.add", ("channel", channel.id), detail)

    try:
        transact(state, work)
    except ChannelRefused as error:
        return _page(request, state, session, error=error.code)
    return RedirectResponse(f"{PATH}?told=channel_saved", 303)


@router.post(PATH + "/{channel_id}/{act}", dependencies=[open_to("logged_in")])
def change(
    channel_id: AlertId,
    act: Literal["remove", "try"],
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
) -> Response:
    check_csrf(session, csrf)
    do = drop_channel if act == "remove" else try_channel

    def work(db: Session) -> None:
        do(db, session.user, channel_id, datetime.now(UTC))
        note(db, person(session.user, remote), f"channel.{act}", ("channel", channel_id))

    try:
        transact(state, work)
    except ChannelRefused as error:
        return _page(request, state, session, error=error.code)
    return RedirectResponse(f"{PATH}?told={'channel_removed' if act == 'remove' else 'channel_tried'}", 303)
