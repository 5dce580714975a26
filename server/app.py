"""The web application: one instance's state, its routes, and the headers that every answer carries."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from server import api, box_api, pages, problems
from server.blobs import FolderBlobStore
from server.database import make_engine, migrate
from server.deps import AppState, BodyLimit
from server.live import Broadcaster
from server.settings import Settings

BODY_BYTES_MAX = 64 * 1024 * 1024
STATIC = Path(__file__).with_name("static")
POLICY = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"


def create_app(settings: Settings, *, url: str = "", demo_broker_port: int | None = None) -> FastAPI:
    """An application on the data of *settings*; its database is migrated at start.

    With *url*, one JSON line on standard output says when it serves.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        migrate(settings)
        engine = make_engine(settings)
        state = AppState(settings, engine, FolderBlobStore(settings.blob_dir), Broadcaster())
        app.state.brightline = state
        async with AsyncExitStack() as stack:
            stack.callback(engine.dispose)
            stack.callback(state.broadcaster.close)
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
    )
    problems.install(app)
    app.include_router(box_api.router)
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    app.add_middleware(BodyLimit, bytes_max=BODY_BYTES_MAX)

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.setdefault("content-security-policy", POLICY)
        response.headers["x-content-type-options"] = "nosniff"
        response.headers["referrer-policy"] = "same-origin"
        return response

    return app
