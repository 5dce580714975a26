"""Serves the centre until a signal: beyond this machine over TLS only; a stop ends open streams and then all else."""

from __future__ import annotations

import gc
import signal
import socket
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from server.app import create_app
from server.database import make_engine, migrate
from server.production import check_production
from server.settings import Settings
from server.shared_keys import agree_on_keys

LOOPBACK = ("127.0.0.1", "::1", "localhost")
STOP_S_MAX = 5
KEEP_ALIVE_S = 75  # longer than a box keeps an idle connection (60 s, telemetry.uplink): who asks again closes first


class _Server(uvicorn.Server):
    """Ends the streams first when it stops: they would hold the stop up until its time is over."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what stays as long as the process is not looked through again for each few hundred readings

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.brightline.broadcaster.close()
        self._app.state.brightline.calls.close()
        await super().shutdown(sockets)


def serve(
    settings: Settings, host: str, port: int, tls_cert: Path | None, tls_key: Path | None, demo_broker_port: int | None
) -> int:
    """Serve until SIGINT or SIGTERM; the exit status. Raises ValueError (settings), OSError or SQLAlchemyError."""
    if not settings.secure_cookies and host not in LOOPBACK:
        raise ValueError("--insecure-cookies is for 127.0.0.1 only; give --tls-cert and --tls-key")
    if host not in LOOPBACK and not tls_cert:
        raise ValueError("beyond this machine the centre is served over TLS only; give --tls-cert and --tls-key")
    if bool(tls_cert) != bool(tls_key):
        raise ValueError("--tls-cert and --tls-key belong together")
    check_production(settings, demo_broker_port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        _look_at_record(settings)
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        url = f"{'https' if tls_cert else 'http'}://{shown}:{listener.getsockname()[1]}"
        app = create_app(settings, url=url, demo_broker_port=demo_broker_port)
        config = uvicorn.Config(
            app,
            log_level="warning",
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            timeout_graceful_shutdown=STOP_S_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            server_header=False,
        )
        server = _Server(config, app)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)  # uvicorn raises the signal again after it has stopped
        server.run(sockets=[listener])
        return 0 if server.started else 1


def _look_at_record(settings: Settings) -> None:
    """Here, so that a broken record or a wrong key is told in one line; raises ValueError, OSError, SQLAlchemyError."""
    migrate(settings)
    engine = make_engine(settings)
    try:
        agree_on_keys(engine, settings.data_dir)
    finally:
        engine.dispose()


def _stop(number: int, frame: object) -> None:
    del number, frame
    raise SystemExit(0)
