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
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from server.reports.verification import ReportVerification
    from server.settings import Settings
    from server.verify import Verification


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
    if args.command in ("verify", "gaps"):
        return _inspect(settings, args)
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
    verify.add_argument("--report", type=Path, metavar="FILE", help="check this PDF, CSV or JSON of a signed report")
    gaps = commands.add_parser("gaps", help="list the batches that boxes have not delivered, with the reason they told")
    gaps.add_argument("--box", help="of this box only")
    gaps.add_argument("--json", action="store_true")
    take = commands.add_parser("import", help="take the batches that a box exported to a file")
    take.add_argument("file", type=Path)
    series = commands.add_parser("series", help="the store of the readings, which is derived from the journal")
    actions = series.add_subparsers(dest="action", required=True)
    rebuild = actions.add_parser("rebuild", help="empty it and derive every point again")
    status = actions.add_parser("status", help="how far it is behind the journal, and what it refused")
    for command in (rebuild, status):
        command.add_argument("--json", action="store_true")
    for command in (serve, verify, take, rebuild, status):
        command.add_argument(
            "--series", type=Path, metavar="FILE", help="its settings; else DATA/series.yaml, else the record"
        )
    for command in (serve, commands.choices["migrate"], add, enrol, verify, gaps, take, rebuild, status):
        command.add_argument("--data", type=Path, required=True, help="folder of the record")
    return parser


def _with_database(settings: Settings, args: argparse.Namespace) -> int:
    from sqlalchemy.orm import Session

    from server.database import make_engine, migrate, writing

    migrate(settings)
    engine = make_engine(settings)
    try:
        if args.command == "import":
            return _import(engine, args.file, series_here=settings.series.in_record)
        with Session(writing(engine)) as db, db.begin():
            _administer(db, args)
    finally:
        engine.dispose()
    return 0


def _import(engine: Engine, path: Path, *, series_here: bool) -> int:
    from server.importing import import_batches
    from telemetry.batch import BatchError

    try:
        counts = import_batches(engine, path, series_here=series_here)
    except BatchError as error:
        raise ValueError(f"{path} is no export of a box ({error})") from error
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    sys.stdout.write(f"{counts.total()} batches: {told or 'none'}\n")
    return 1 if counts["refused"] or counts["rejected"] else 0


def _administer(db: Session, args: argparse.Namespace) -> None:
    from server.accounts import add_user, ensure_site, make_enrolment_code

    if args.command == "enrol":
        code = make_enrolment_code(db, ensure_site(db, args.site, args.time_zone))
        sys.stdout.write(code + "\n")
        return
    site = ensure_site(db, args.site) if args.site else None
    add_user(db, args.username, args.name, sys.stdin.readline().rstrip("\r\n"), args.role, site)
    sys.stdout.write(f"user {args.username} added\n")


def _inspect(settings: Settings, args: argparse.Namespace) -> int:
    """`verify` and `gaps`: they read the record and change nothing of it."""
    from sqlalchemy.orm import Session

    from server.database import make_engine, migrate

    if not (settings.data_dir / "record.sqlite").exists():
        raise ValueError(f"{settings.data_dir} holds no record; give the folder of brightline-server serve")
    if args.command == "gaps":
        migrate(settings)
    engine = make_engine(settings)
    try:
        with Session(engine) as db:
            return _gaps(db, args.box, args.json) if args.command == "gaps" else _verify(db, engine, settings, args)
    finally:
        engine.dispose()


def _gaps(db: Session, box_id: str | None, as_json: bool) -> int:
    from server.gaps import find_holes

    holes = find_holes(db, box_id)
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(hole) for hole in holes], indent=2) + "\n")
        return 0
    for hole in holes:
        reason = f"told by the box: {hole.told}" if hole.told else "not explained yet"
        name = f"{hole.box_id} {hole.lane} {hole.first_seq}-{hole.last_seq} (epoch {hole.epoch[:8]})"
        sys.stdout.write(f"{name}: {reason}\n")
    open_holes = sum(hole.told is None for hole in holes)
    sys.stdout.write(f"{len(holes)} gaps, {open_holes} not explained yet\n")
    return 0


def _verify(db: Session, engine: Engine, settings: Settings, args: argparse.Namespace) -> int:
    from server.blobs import FolderBlobStore
    from server.reports.verification import verify_report_file
    from server.series.stores import open_store
    from server.verify import verify

    blobs = FolderBlobStore(settings.blob_dir)
    found: Verification | ReportVerification
    if args.report:
        found = verify_report_file(db, blobs, args.report.read_bytes())
    else:
        with closing(open_store(settings.series, engine, reading=db.connection())) as series:
            found = verify(db, blobs, series)
    if args.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(found), indent=2) + "\n")
    else:
        for line in found.problems:
            sys.stdout.write(f"WRONG {line}\n")
        for line in found.gaps:
            sys.stdout.write(f"gap   {line}\n")
        sys.stdout.write(f"{_checked(found)}: {len(found.problems)} wrong\n")
    return 1 if found.problems else 0


def _checked(found: Verification | ReportVerification) -> str:
    """What was looked at, in one line."""
    from server.verify import Verification

    if not isinstance(found, Verification):
        return found.report or "the file"
    return (
        f"{found.batches} batches, {found.readings} readings, {found.events} events, {found.pictures} pictures, "
        f"{sum(found.alerts_by_kind.values())} alerts, {found.reports} reports"
    )


if __name__ == "__main__":
    sys.exit(main())
