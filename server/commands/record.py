"""`verify`, `gaps` and `import`: what the record holds, lacks and gets from a file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from server.commands.port import Commands, need_record, opened, take_data
from server.settings import Settings

if TYPE_CHECKING:
    from server.merkle.bundle_check import BundleVerification
    from server.merkle.verification import HeldOutside
    from server.reports.verification import ReportVerification
    from server.verify import Verification


def register(commands: Commands) -> None:
    verify = commands.add_parser("verify", help="check every signature, chain, picture and alert of the record")
    verify.add_argument("--report", type=Path, metavar="FILE", help="check this PDF, CSV or JSON of a signed report")
    verify.add_argument("--offline", type=Path, metavar="BUNDLE", help="check this export, with --public-keys alone")
    verify.add_argument(
        "--public-keys", type=Path, metavar="FILE", help="trust these keys (see keys), not the record's"
    )
    verify.add_argument("--heads", type=Path, metavar="FILE", help="published heads that were kept elsewhere")
    take_data(verify, series=True, as_json=True, needed=False)
    verify.set_defaults(run=_verify)
    gaps = commands.add_parser("gaps", help="list the batches that boxes have not delivered, with the reason they told")
    gaps.add_argument("--box", help="of this box only")
    take_data(gaps, as_json=True)
    gaps.set_defaults(run=_gaps)
    take = commands.add_parser("import", help="take the batches that a box exported to a file")
    take.add_argument("file", type=Path)
    take_data(take, series=True)
    take.set_defaults(run=_import)


def _import(settings: Settings, args: argparse.Namespace) -> int:
    from server.importing import import_batches
    from telemetry.batch import BatchError

    with opened(settings) as engine:
        try:
            counts = import_batches(engine, args.file, series_here=settings.series.in_record)
        except BatchError as error:
            raise ValueError(f"{args.file} is no export of a box ({error})") from error
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    sys.stdout.write(f"{counts.total()} batches: {told or 'none'}\n")
    return 1 if counts["refused"] or counts["rejected"] else 0


def _gaps(settings: Settings, args: argparse.Namespace) -> int:
    from sqlalchemy.orm import Session

    from server.gaps import find_holes

    need_record(settings)
    with opened(settings) as engine, Session(engine) as db:
        holes = find_holes(db, args.box)
    if args.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(hole) for hole in holes], indent=2) + "\n")
        return 0
    for hole in holes:
        reason = f"told by the box: {hole.told}" if hole.told else "not explained yet"
        name = f"{hole.box_id} {hole.lane} {hole.first_seq}-{hole.last_seq} (epoch {hole.epoch[:8]})"
        sys.stdout.write(f"{name}: {reason}\n")
    open_holes = sum(hole.told is None for hole in holes)
    sys.stdout.write(f"{len(holes)} gaps, {open_holes} not explained yet\n")
    return 0


def _verify(settings: Settings, args: argparse.Namespace) -> int:
    found = _verified_bundle(args) if args.offline else _verified(settings, args)
    if args.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(found), indent=2) + "\n")
    else:
        for line in found.problems:
            sys.stdout.write(f"WRONG {line}\n")
        for line in found.gaps:
            sys.stdout.write(f"gap   {line}\n")
        sys.stdout.write(f"{_checked(found)}: {len(found.problems)} wrong\n")
    return 1 if found.problems else 0


def _verified_bundle(args: argparse.Namespace) -> BundleVerification:
    from server.merkle.bundle_check import verify_bundle
    from server.merkle.public_keys import read_public_keys

    if args.public_keys is None:
        raise ValueError("--offline needs --public-keys FILE, from brightline-server keys of that centre")
    return verify_bundle(args.offline, read_public_keys(args.public_keys))


def _verified(settings: Settings, args: argparse.Namespace) -> Verification | ReportVerification:
    from sqlalchemy.orm import Session

    from server.blobs import open_blobs
    from server.database import check_revision
    from server.reports.verification import verify_report_file
    from server.series.stores import open_store
    from server.verify import verify

    if args.data is None:
        raise ValueError("--data DIR: the folder of the record")
    need_record(settings)
    with (
        closing(open_blobs(settings)) as blobs,
        opened(settings, migrated=False) as engine,
        Session(engine) as db,
    ):
        check_revision(engine)
        if args.report:
            return verify_report_file(db, blobs, args.report.read_bytes())
        with closing(open_store(settings.series, engine, reading=db.connection())) as series:
            return verify(db, blobs, series, _held_outside(settings, args))


def _held_outside(settings: Settings, args: argparse.Namespace) -> HeldOutside:
    """The keys and heads that were given; the file of heads that this centre writes is always looked at."""
    from server.merkle.public_keys import read_public_keys
    from server.merkle.settings import HEADS_FILE
    from server.merkle.verification import HeldOutside, read_heads_file

    own = settings.log.heads_file or settings.data_dir / HEADS_FILE
    files = [path for path in (own if own.exists() else None, args.heads) if path is not None]
    keys = read_public_keys(args.public_keys).log if args.public_keys else None
    return HeldOutside(keys, [note for path in files for note in read_heads_file(path)])


def _checked(found: Verification | ReportVerification | BundleVerification) -> str:
    """What was looked at, in one line."""
    from server.merkle.bundle_check import BundleVerification
    from server.verify import Verification

    if isinstance(found, BundleVerification):
        return (
            f"{found.items} items, {found.batches} batches, {found.pictures} pictures, {found.documents} documents, "
            f"{found.samples} samples, {found.assets} assets, under the head of {found.head}"
        )
    if not isinstance(found, Verification):
        return found.report or "the file"
    return (
        f"{found.batches} batches, {found.readings} readings, {found.events} events, {found.pictures} pictures, "
        f"{sum(found.alerts_by_kind.values())} alerts, {found.reports} reports, {found.audit_entries} audit entries, "
        f"{found.self_control} editions of self-control records, {found.assets} assets, "
        f"{found.sealed_rows} sealed rows, {found.log_leaves} leaves of the log, {found.purged} purged"
    )
