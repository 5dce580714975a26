"""`keys` and `export`: what somebody else needs to check what the centre and its boxes signed, without the centre."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from server.commands.port import Commands, need_record, opened, take_data
from server.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from server.blob_port import BlobStore


def register(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="print the public keys of the log and of all boxes, for verify elsewhere")
    take_data(keys)
    keys.set_defaults(run=_keys)
    export = commands.add_parser("export", help="write an alert, or the days of a site, with proofs, to a ZIP")
    export.add_argument("out", type=Path)
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument("--alert", type=int, metavar="ID")
    what.add_argument("--site", metavar="NAME")
    for name in ("from", "to"):
        export.add_argument(
            f"--{name}", type=datetime.fromisoformat, dest=f"{name}_", metavar="TIME",
            help="of a site; ISO 8601, without an offset in the site's time zone",
        )  # fmt: skip
    take_data(export)
    export.set_defaults(run=_export)


def _keys(settings: Settings, args: argparse.Namespace) -> int:
    from sqlalchemy.orm import Session

    from server.merkle.keys import ensure_signer
    from server.merkle.public_keys import keys_of_record

    del args
    need_record(settings)
    signer = ensure_signer(settings.data_dir)
    with opened(settings) as engine, Session(engine) as db:
        sys.stdout.write(keys_of_record(db, signer.public_key).text)
    return 0


def _export(settings: Settings, args: argparse.Namespace) -> int:
    from sqlalchemy.orm import Session

    from server.audit import CONSOLE, note
    from server.blobs import open_blobs
    from server.database import writing
    from server.merkle.keys import ensure_signer
    from server.merkle.worker import bring_up_to_date

    need_record(settings)
    with closing(open_blobs(settings)) as blobs, opened(settings) as engine:
        bring_up_to_date(engine, ensure_signer(settings.data_dir))
        with Session(engine) as db:
            items, missing = _write_bundle(db, blobs, args)
        with Session(writing(engine)) as db, db.begin():
            note(db, CONSOLE, "record.export", ("alert" if args.alert else "site", args.alert or args.site))
    for line in missing:
        sys.stdout.write(f"missing  {line}\n")
    sys.stdout.write(f"{args.out}: {items} items with their proofs, {len(missing)} missing\n")
    return 1 if missing else 0


def _write_bundle(db: Session, blobs: BlobStore, args: argparse.Namespace) -> tuple[int, list[str]]:
    from zoneinfo import ZoneInfo

    from sqlalchemy import select

    from server.merkle.bundle import export_alert, export_site
    from server.models import Site

    if args.alert is not None:
        return export_alert(db, blobs, args.alert, args.out)
    site = db.scalar(select(Site).where(Site.name == args.site))
    if site is None or args.from_ is None or args.to_ is None:
        raise ValueError(f"there is no site {args.site}" if site is None else "--site needs --from and --to")
    zone = ZoneInfo(site.time_zone)
    start, end = (at if at.tzinfo else at.replace(tzinfo=zone) for at in (args.from_, args.to_))
    return export_site(db, blobs, site, start, end, args.out)
