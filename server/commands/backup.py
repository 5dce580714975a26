"""`backup` and `restore`: the whole record to a folder, and back onto an empty machine."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from server.commands.port import Commands, need_record, opened, take_data
from server.settings import Settings


def register(commands: Commands) -> None:
    backup = commands.add_parser("backup", help="write or renew a signed backup; the centre may be serving")
    backup.add_argument("out", type=Path, help="a folder; blobs that a former backup left there are not fetched again")
    take_data(backup)
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="make a centre of a backup, in an empty folder")
    restore.add_argument("backup", type=Path)
    restore.add_argument("--public-keys", type=Path, metavar="FILE", help="trust only these keys of the log")
    take_data(restore, series=True)
    restore.set_defaults(run=_restore)


def _backup(settings: Settings, args: argparse.Namespace) -> int:
    from server.backup.making import make_backup
    from server.blobs import open_blobs
    from server.merkle.keys import ensure_signer

    need_record(settings)
    with closing(open_blobs(settings)) as blobs, opened(settings) as engine:
        made = make_backup(engine, settings, blobs, ensure_signer(settings.data_dir), args.out.absolute())
    for digest in made.lost:
        sys.stdout.write(f"LOST  blob {digest}\n")
    sys.stdout.write(f"{args.out}: {made.blobs} blobs, {made.new} of them new, {len(made.lost)} lost\n")
    return 1 if made.lost else 0


def _restore(settings: Settings, args: argparse.Namespace) -> int:
    from server.backup.restoring import restore
    from server.merkle.public_keys import read_public_keys
    from server.shared_keys import AFTERWARDS, SHARED

    trusted = read_public_keys(args.public_keys).log if args.public_keys else None
    done = restore(args.backup, settings, trusted)
    found = done.verification
    for line in found.problems:
        sys.stdout.write(f"WRONG {line}\n")
    sys.stdout.write(
        f"restored the backup of {done.key.name} at {done.manifest.at:%Y-%m-%d %H:%M:%S} UTC: {found.batches} batches, "
        f"{found.pictures} pictures, {sum(found.alerts_by_kind.values())} alerts; {len(found.problems)} wrong\n"
    )
    sys.stdout.write(f"copy your own {', '.join(SHARED)} here before the first start; {AFTERWARDS}\n")
    return 1 if found.problems else 0
