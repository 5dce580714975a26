"""`retention` and `hold`: what may go, and what must not."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

from server.commands.port import Commands, changing, need_record, opened, take_data
from server.settings import Settings

LINES_MAX = 1000


def register(commands: Commands) -> None:
    retention = commands.add_parser("retention", help="purge what the rules do not keep, or say what they would")
    how = retention.add_mutually_exclusive_group(required=True)
    how.add_argument("--dry-run", action="store_true", help="say it only")
    how.add_argument("--apply", action="store_true", help="delete it, with a signed tombstone for each")
    take_data(retention)
    retention.set_defaults(run=_retention)
    holds = commands.add_parser("hold", help="keep an alert or a site from every purge")
    actions = holds.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="place a hold; prints its number")
    what = add.add_mutually_exclusive_group(required=True)
    what.add_argument("--alert", type=int, metavar="ID")
    what.add_argument("--site", metavar="NAME")
    add.add_argument("--reason", required=True)
    add.add_argument("--until", type=datetime.fromisoformat, metavar="TIME", help="ISO 8601, UTC without an offset")
    take_data(add)
    add.set_defaults(run=_add)
    release = actions.add_parser("release", help="end a hold")
    release.add_argument("hold", type=int)
    release.add_argument("--reason", required=True)
    take_data(release)
    release.set_defaults(run=_release)
    listed = actions.add_parser("list", help="all holds")
    take_data(listed, as_json=True)
    listed.set_defaults(run=_list)


def _retention(settings: Settings, args: argparse.Namespace) -> int:
    from sqlalchemy.orm import Session

    from server.blobs import open_blobs
    from server.merkle.keys import ensure_signer
    from server.retention.purge import find_purges
    from server.retention.rules import default_retention, load_retention
    from server.retention.worker import RetentionWorker

    need_record(settings)
    rules = load_retention(settings.retention.rules) if settings.retention.rules else default_retention()
    counts: Counter[str] = Counter()
    with closing(open_blobs(settings)) as blobs, opened(settings) as engine:
        if args.apply:
            counts = RetentionWorker(engine, blobs, ensure_signer(settings.data_dir), settings).purge()
        else:
            with Session(engine) as db:
                for purge in find_purges(db, rules, datetime.now(UTC)):
                    counts[purge.rule] += 1
                    if counts.total() <= LINES_MAX:
                        sys.stdout.write(f"{purge.rule}: {purge.kind} {purge.ref}, {purge.size_bytes} bytes\n")
    told = ", ".join(f"{count} by {rule}" for rule, count in sorted(counts.items()))
    sys.stdout.write(f"{'purged' if args.apply else 'would purge'}: {told or 'nothing'}\n")
    return 0


def _add(settings: Settings, args: argparse.Namespace) -> int:
    from sqlalchemy import select

    from server.audit import CONSOLE
    from server.models import Site
    from server.retention.holds import place_hold

    need_record(settings)
    until = args.until.replace(tzinfo=args.until.tzinfo or UTC) if args.until else None
    with changing(settings) as db:
        site_id = db.scalar(select(Site.id).where(Site.name == args.site)) if args.site else None
        if args.site and site_id is None:
            raise ValueError(f"there is no site {args.site}")
        now = datetime.now(UTC)
        hold = place_hold(db, CONSOLE, args.reason, now, site_id=site_id, alert_id=args.alert, until=until)
        sys.stdout.write(f"{hold.id}\n")
    return 0


def _release(settings: Settings, args: argparse.Namespace) -> int:
    from server.audit import CONSOLE
    from server.retention.holds import release_hold

    need_record(settings)
    with changing(settings) as db:
        release_hold(db, CONSOLE, args.hold, args.reason, datetime.now(UTC))
    return 0


def _list(settings: Settings, args: argparse.Namespace) -> int:
    from sqlalchemy.orm import Session

    from server.retention.holds import list_holds

    need_record(settings)
    with opened(settings) as engine, Session(engine) as db:
        holds = [
            {
                "id": hold.id, "site": hold.site.name, "alert": hold.alert_id, "reason": hold.reason,
                "by": hold.placed_by, "since": hold.placed_at.isoformat(),
                "until": hold.until.isoformat() if hold.until else None,
                "released": hold.released_at.isoformat() if hold.released_at else None,
            }
            for hold in list_holds(db)
        ]  # fmt: skip
    if args.json:
        sys.stdout.write(json.dumps(holds, ensure_ascii=False, indent=2) + "\n")
        return 0
    for hold in holds:
        what = f"alert {hold['alert']} of {hold['site']}" if hold["alert"] else f"site {hold['site']}"
        state = f"released {hold['released']}" if hold["released"] else f"until {hold['until'] or 'released'}"
        sys.stdout.write(f"{hold['id']} {what}: {hold['reason']} (by {hold['by']} since {hold['since']}, {state})\n")
    return 0
