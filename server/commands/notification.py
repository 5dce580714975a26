"""`push-key` and `vendor`: what browsers subscribe with, and the tokens of other vendors' systems."""

from __future__ import annotations

import argparse
import sys

from server.commands.port import Commands, changing, take_data
from server.settings import Settings


def register(commands: Commands) -> None:
    key = commands.add_parser("push-key", help="print the public key of web push (VAPID), made if there is none")
    take_data(key)
    key.set_defaults(run=_push_key)
    vendor = commands.add_parser("vendor", help="other vendors' systems").add_subparsers(dest="action", required=True)
    for name, about, run in (
        ("add", "print a token for a source at a site; it is shown once", _add),
        ("revoke", "make all tokens of a source at a site void", _revoke),
    ):
        command = vendor.add_parser(name, help=about)
        command.add_argument("source", help="the name of a file in configs/vendors, without .yaml")
        command.add_argument("--site", required=True)
        take_data(command)
        command.set_defaults(run=run)


def _push_key(settings: Settings, args: argparse.Namespace) -> int:
    from server.notification.egress import Egress
    from server.notification.web_push import WebPushNotifier, ensure_key

    del args
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    sys.stdout.write(WebPushNotifier(ensure_key(settings.data_dir), Egress()).public_key + "\n")
    return 0


def _add(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import ensure_site
    from server.audit import CONSOLE, note
    from server.vendors.intake import add_source, ensure_secret

    with changing(settings) as db:
        site = ensure_site(db, args.site)
        token = add_source(db, ensure_secret(settings.data_dir), args.source, site)
        note(db, CONSOLE, "vendor.add", ("site", site.id), {"source": args.source}, site_id=site.id)
    sys.stdout.write(token + "\n")
    return 0


def _revoke(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import ensure_site
    from server.audit import CONSOLE, note
    from server.vendors.intake import revoke_sources

    with changing(settings) as db:
        site = ensure_site(db, args.site)
        count = revoke_sources(db, args.source, site)
        note(db, CONSOLE, "vendor.revoke", ("site", site.id), {"source": args.source}, site_id=site.id)
    sys.stdout.write(f"{count} tokens are void\n")
    return 0
