"""The web application: one instance's state, its routes, and the headers that every answer carries."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from server import (
    account_pages,
    api,
    asset_api,
    asset_pages,
    audit_pages,
    box_api,
    coverage_pages,
    pages,
    problems,
    public_page,
    report_api,
    report_pages,
    token_api,
    token_pages,
    user_pages,
    write_api,
)
from server.access import NotAllowed, SecondFactorMissing
from server.accounts import warm_up
from server.assets.table_file import FILE_BYTES_MAX
from server.assets.watch import ExpiryWatch
from server.blobs import open_blobs
from server.box_api import EVIDENCE_BYTES_MAX
from server.boxes import api as boxes_api
from server.boxes import pages as boxes_pages
from server.boxes.calls import BoxCalls, load_centre_key
from server.boxes.silence import SilenceWatch
from server.conditional import EntityTags
from server.database import make_engine, migrate
from server.deps import COOKIE, AppState, BodyLimit
from server.i18n import catalogue
from server.idempotency import Idempotency
from server.instance_key import InstanceKey
from server.life_cycle import api as life_cycle_api
from server.life_cycle import pages as life_cycle_pages
from server.life_cycle.calendar import say_missing
from server.life_cycle.clockwork import Clockwork
from server.life_cycle.rules import put_in_force, rules_in_force
from server.live import Broadcaster
from server.merkle import api as log_api
from server.notification import api as notification_api
from server.notification import pages as notification_pages
from server.notification.channels import open_notices
from server.notification.worker import Worker
from server.oidc import pages as oidc_pages
from server.oidc.provider import Provider
from server.openapi import describe
from server.rate_limit import Buckets, RateLimit
from server.retention import api as retention_api
from server.retention import pages as retention_pages
from server.rollout import api as rollout_api
from server.rollout import pages as rollout_pages
from server.rollout.model_upload import FORM_BYTES_MAX as MODEL_FORM_BYTES_MAX
from server.rollout.worker import RolloutWorker
from server.self_control import api as self_control_api
from server.self_control import pages as self_control_pages
from server.self_control.catalogue import sample_rules, sheets
from server.self_control.reminders import Reminders
from server.series.carrier import Carrier
from server.series.stores import open_store, ready
from server.settings import PostgresRecord, Settings
from server.statistics import api as statistics_api
from server.statistics import pages as statistics_pages
from server.statistics.risk import risk_rules
from server.upkeep import upkeep
from server.vendors import api as vendors_api
from telemetry.batch import FRAME_BYTES_MAX
from telemetry.releases import RELEASE_BYTES_MAX

logger = logging.getLogger(__name__)
STATIC = Path(__file__).with_name("static")
PARTS = (
    box_api, api, retention_api, retention_pages, life_cycle_api, pages, notification_api, notification_pages,
    vendors_api, coverage_pages, life_cycle_pages, self_control_api, self_control_pages, statistics_api,
    statistics_pages, report_api, report_pages, audit_pages, log_api, asset_api, asset_pages, public_page,
    account_pages, oidc_pages, user_pages, token_api, token_pages, write_api,
    rollout_pages, boxes_api, boxes_pages, rollout_api,
)  # fmt: skip
# a photo that is far too large is still read (to a file, past the log-in), so that its sender gets a sentence
BODY_BYTES_MAX = {
    r"/alerts/\d+/submit|/api/v1/alerts/\d+/rectifications": 64 * 1024 * 1024,
    r"/api/v1/batches": FRAME_BYTES_MAX,
    r"/api/v1/evidence/.*": EVIDENCE_BYTES_MAX,
    r"/api/v1/releases": RELEASE_BYTES_MAX,
    r"/api/v1/model-releases|/boxes/rollouts/models": MODEL_FORM_BYTES_MAX,
    r"/api/v2/write": write_api.BODY_BYTES_MAX,
    r"/records/\d+/form|/api/v1/self-control/records/\d+/form": 1024 * 1024,
    r"/assets/import|/api/v1/assets/import": FILE_BYTES_MAX + 64 * 1024,  # the file and what its form adds
    r"(?s:.*)": 64 * 1024,
}


async def _refuse(request: Request, error: Exception) -> Response:
    """A sentence on a page for people, a problem for programs."""
    if request.url.path.startswith("/api/"):
        return problems.problem_response(403, "not_allowed", "your role may not do this")
    return pages.refused(request, error)


async def _enrol_first(request: Request, error: Exception) -> Response:
    """To the page that says what to do about the second factor; programs are told."""
    assert isinstance(error, SecondFactorMissing)
    if request.url.path.startswith("/api/"):
        return problems.problem_response(error.status, error.code, error.detail)
    return RedirectResponse("/account", 303)


def _take_life_cycle(settings: Settings) -> None:
    """Put the rules of the settings in force, and say once which year their calendar lacks."""
    put_in_force(settings.life_cycle.load)
    calendar = rules_in_force().calendar
    for year in calendar.missing_years(datetime.now(UTC).date()):
        logger.warning("%s", say_missing(calendar, year, settings.life_cycle.calendar_folder))


def create_app(settings: Settings, *, url: str = "", demo_broker_port: int | None = None) -> FastAPI:
    """An application on the data of *settings*; its database is migrated at start.

    With *url*, one JSON line on standard output says when it serves.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warm_up()
        catalogue()  # a broken text or rule stops the start, not the first page
        sheets(), sample_rules(), risk_rules()
        _take_life_cycle(settings)
        migrate(settings)
        engine = make_engine(settings)
        series = open_store(settings.series, engine)
        ready(engine, settings.series, series)
        limits = settings.limits
        failed_logins = Buckets(limits.failed_logins_per_minute / 60, limits.failed_logins_burst)
        key = InstanceKey.load(settings.data_dir)
        notices = open_notices(settings.notification, settings.data_dir)
        blobs = open_blobs(settings)
        broadcaster = Broadcaster(relayed=isinstance(settings.database, PostgresRecord))
        calls = BoxCalls(load_centre_key(settings.data_dir))
        oidc = Provider(settings.oidc) if settings.oidc else None
        state = AppState(settings, engine, blobs, broadcaster, series, key, failed_logins, notices, calls, oidc)
        app.state.brightline = state
        async with AsyncExitStack() as stack:
            stack.callback(engine.dispose)
            stack.callback(series.close)
            stack.callback(blobs.close)
            if isinstance(settings.database, PostgresRecord):
                from server.relay import Relay

                await stack.enter_async_context(Relay(settings.database, broadcaster).running())
            if not settings.series.in_record:
                await stack.enter_async_context(Carrier(engine, series).running())
            notifiers = set(notices.notifiers.values())
            await stack.enter_async_context(Worker(engine, settings.notification, notifiers, notices.egress).running())
            await stack.enter_async_context(Reminders(engine).running())
            await stack.enter_async_context(Clockwork(engine, rules_in_force(), series, broadcaster).running())
            await stack.enter_async_context(ExpiryWatch(engine, state.broadcaster).running())
            await stack.enter_async_context(upkeep(state))
            silence = SilenceWatch(engine, settings.boxes, state.broadcaster.publish)
            await stack.enter_async_context(silence.running())
            await stack.enter_async_context(RolloutWorker(engine, calls.ring, settings.boxes.rollout_look_s).running())
            stack.callback(state.broadcaster.close)
            stack.callback(calls.close)
            if demo_broker_port is not None:
                from server.demo_broker import demo_broker

                await stack.enter_async_context(demo_broker(demo_broker_port))
            if url:
                sys.stdout.write(json.dumps({"url": url}) + "\n")
                sys.stdout.flush()
            yield

    app = FastAPI(
        title="Brightline",
        version=version("brightline"),
        description="Alerts of the cold chain and the kitchen, from the box to the accepted repair.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        responses=problems.RESPONSES,
    )
    _furnish(app, settings)
    return app


def _furnish(app: FastAPI, settings: Settings) -> None:
    """Handlers of errors, routes, and what every request passes, the last one first."""
    problems.install(app)
    app.add_exception_handler(NotAllowed, _refuse)
    app.add_exception_handler(SecondFactorMissing, _enrol_first)
    for part in PARTS:
        app.include_router(part.router)
    describe(app, [route for part in PARTS for route in part.router.routes if isinstance(route, APIRoute)])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(EntityTags)
    app.add_middleware(Idempotency, state_of=lambda: app.state.brightline)
    app.add_middleware(RateLimit, limits=settings.limits, cookie=COOKIE)
    app.add_middleware(BodyLimit, limits=BODY_BYTES_MAX)
    app.add_middleware(write_api.InfluxErrors)
    app.add_middleware(problems.FaultBarrier, secure=settings.secure_cookies)
