"""`brightline-server`: serve, manage people and boxes, prove the record. Exit status 0 well, 1 fault, 2 settings."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from server.settings import Settings


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(argv)
    from sqlalchemy.exc import SQLAlchemyError

    from server.accounts import AccountError
    from server.series.port import SeriesUnavailable
    from server.series.settings import SqliteSeries, load_series
    from server.settings import Settings

    try:
        settings = Settings(
            data_dir=args.data.resolve(),
            secure_cookies=not getattr(args, "insecure_cookies", False),
            series=load_series(args.series, args.data.resolve()) if hasattr(args, "series") else SqliteSeries(),
        )
        return _run(settings, args)
    except (AccountError, ValueError) as error:
        sys.stderr.write(f"brightline-server: {error}\n")
        return 2
    except SeriesUnavailable as error:
        sys.stderr.write(f"brightline-server: the series store: {error}\n")
        return 1
    except (OSError, SQLAlchemyError) as error:
        sys.stderr.write(f"brightline-server: {error}\n")
        return 1


def _run(settings: Settings, args: argparse.Namespace) -> int:
    if args.command == "serve":
        from server.serving import serve

        return serve(settings, args.host, args.port, args.tls_cert, args.tls_key, args.demo_broker)
    if args.command == "verify":
        return _verify(settings, args.json)
    if args.command == "series":
        from server.series.cli import run_series

        return run_series(settings, args.action, args.json)
    if args.command == "migrate":
        from server.database import migrate

        migrate(settings)
        return 0
    return _with_database(settings, args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="brightline-server", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the centre")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000, help="0 = a free one")
    serve.add_argument("--insecure-cookies", action="store_true", help="plain HTTP to this machine itself only")
    serve.add_argument("--tls-cert", type=Path, help="certificate chain in PEM")
    serve.add_argument("--tls-key", type=Path, help="its private key in PEM")
    serve.add_argument("--demo-broker", type=int, metavar="PORT", help="embedded MQTT broker, for the demo only")
    commands.add_parser("migrate", help="bring the database to the newest version")
    user = commands.add_parser("user", help="manage accounts").add_subparsers(dest="action", required=True)
    add = user.add_parser("add", help="make an account; the password is read from standard input")
    add.add_argument("username")
    add.add_argument("--name", required=True, help="the name that people see")
    add.add_argument("--role", required=True, choices=("staff", "regulator", "administrator"))
    add.add_argument("--site", help="the staff's site; made if there is none of that name")
    enrol = commands.add_parser("enrol", help="print a one-time code for a new box")
    enrol.add_argument("--site", required=True, help="made if there is none of that name")
    enrol.add_argument("--time-zone", default="Asia/Shanghai")
    verify = commands.add_parser("verify", help="check every signature, chain, picture and alert of the record")
    verify.add_argument("--json", action="store_true")
    series = commands.add_parser("series", help="the store of the readings, which is derived from the journal")
    actions = series.add_subparsers(dest="action", required=True)
    rebuild = actions.add_parser("rebuild", help="empty it and derive every point again")
    status = actions.add_parser("status", help="how far it is behind the journal, and what it refused")
    for command in (rebuild, status):
        command.add_argument("--json", action="store_true")
    for command in (serve, verify, rebuild, status):
        command.add_argument(
            "--series", type=Path, metavar="FILE", help="its settings; else DATA/series.yaml, else the record"
        )
    for command in (serve, commands.choices["migrate"], add, enrol, verify, rebuild, status):
        command.add_argument("--data", type=Path, required=True, help="folder of the record")
    return parser


def _with_database(settings: Settings, args: argparse.Namespace) -> int:
    from sqlalchemy.orm import Session

    from server.database import make_engine, migrate, writing

    migrate(settings)
    engine = make_engine(settings)
    try:
        with Session(writing(engine)) as db, db.begin():
            _administer(db, args)
    finally:
        engine.dispose()
    return 0


def _administer(db: Session, args: argparse.Namespace) -> None:
    from server.accounts import add_user, ensure_site, make_enrolment_code

    if args.command == "enrol":
        code = make_enrolment_code(db, ensure_site(db, args.site, args.time_zone))
        sys.stdout.write(code + "\n")
        return
    site = ensure_site(db, args.site) if args.site else None
    add_user(db, args.username, args.name, sys.stdin.readline().rstrip("\r\n"), args.role, site)
    sys.stdout.write(f"user {args.username} added\n")


def _verify(settings: Settings, as_json: bool) -> int:
    from sqlalchemy.orm import Session

    from server.blobs import FolderBlobStore
    from server.database import make_engine
    from server.series.stores import open_store
    from server.verify import verify

    if not (settings.data_dir / "record.sqlite").exists():
        raise ValueError(f"{settings.data_dir} holds no record; give the folder of brightline-server serve")
    engine = make_engine(settings)
    try:
        with Session(engine) as db:
            series = open_store(settings.series, engine, reading=db.connection())
            with closing(series):
                found = verify(db, FolderBlobStore(settings.blob_dir), series)
    finally:
        engine.dispose()
    if as_json:
        sys.stdout.write(json.dumps(dataclasses.asdict(found), indent=2) + "\n")
    else:
        for line in found.problems:
            sys.stdout.write(f"WRONG {line}\n")
        for line in found.gaps:
            sys.stdout.write(f"gap   {line}\n")
        sys.stdout.write(
            f"{found.batches} batches, {found.readings} readings, {found.events} events, {found.pictures} pictures, "
            f"{sum(found.alerts_by_kind.values())} alerts: {len(found.problems)} wrong\n"
        )
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
