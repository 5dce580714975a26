"""`serve` and `migrate`."""

from __future__ import annotations

import argparse
import gc
import os
from pathlib import Path

from server.commands.port import Commands, take_data
from server.settings import Settings


def register(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="serve the centre")
    serve.add_argument("--host", default=os.environ.get("BRIGHTLINE_HOST", "127.0.0.1"))
    serve.add_argument("--port", type=int, default=os.environ.get("BRIGHTLINE_PORT", "8000"), help="0 = a free one")
    serve.add_argument("--insecure-cookies", action="store_true", help="plain HTTP to this machine itself only")
    for name, about in (("cert", "certificate chain in PEM"), ("key", "its private key in PEM")):
        default = os.environ.get(f"BRIGHTLINE_TLS_{name.upper()}")
        serve.add_argument(f"--tls-{name}", type=Path, default=default, help=about)
    serve.add_argument("--demo-broker", type=int, metavar="PORT", help="embedded MQTT broker, for the demo only")
    take_data(serve, series=True)
    serve.set_defaults(run=_serve)
    migrate = commands.add_parser("migrate", help="bring the database to the newest version")
    take_data(migrate)
    migrate.set_defaults(run=_migrate)


def _serve(settings: Settings, args: argparse.Namespace) -> int:
    gc.disable()  # what a start makes stays: looking through it again and again costs a tenth of the start
    from server.serving import serve

    gc.freeze()
    gc.enable()
    return serve(settings, args.host, args.port, args.tls_cert, args.tls_key, args.demo_broker)


def _migrate(settings: Settings, args: argparse.Namespace) -> int:
    from server.database import migrate

    del args
    migrate(settings)
    return 0
