"""`brightline-edge outbox status|verify|export`: looks into the outbox, also while the box runs; changes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge.config import EdgeConfig


def add_outbox_commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Give the parser its actions; returns their parsers."""
    actions = parser.add_subparsers(dest="action", required=True)
    status = actions.add_parser("status", help="what waits, what was delivered, what was lost")
    verify = actions.add_parser("verify", help="check digest, signature and chain of every waiting batch")
    export = actions.add_parser("export", help="write the waiting batches to a file that can be checked offline")
    verify.add_argument("--file", type=Path, help="check an export instead of the outbox")
    export.add_argument("--to", type=Path, required=True, help="the new file")
    chosen = export.add_mutually_exclusive_group()
    chosen.add_argument("--from", dest="source", type=Path, help="a set-aside outbox.sqlite.corrupt-… instead")
    chosen.add_argument(
        "--dead-letters", action="store_true", help="the batches that the centre will never take instead"
    )
    for action in (status, verify, export):
        action.add_argument("--json", action="store_true", help="for programs")
    return [status, verify, export]


def inspect_outbox(config: EdgeConfig, args: argparse.Namespace) -> int:
    """Carry out one action; returns the exit status."""
    from telemetry.batch import BatchError
    from telemetry.outbox.status import OutboxError

    path = config.box.data_dir / "outbox.sqlite"
    try:
        if args.action == "status":
            return _status(config, path, args.json)
        if args.action == "export":
            return _export(path, args)
        return _verify(config, path, args)
    except (OutboxError, BatchError, OSError) as error:
        sys.stderr.write(f"brightline-edge: {error}\n")
        return 1


def _status(config: EdgeConfig, path: Path, as_json: bool) -> int:
    from edge.enrolment import load_identity
    from telemetry.outbox.inspection import looking_into, read_status
    from telemetry.outbox.status import OutboxStatus

    identity, _ = load_identity(config)
    if path.exists():
        with looking_into(path) as db:
            status = read_status(db, path)
    else:
        status = OutboxStatus.empty(identity.box_id)
    if as_json:
        sys.stdout.write(status.model_dump_json(indent=2) + "\n")
        return 0
    sys.stdout.write(f"box {status.box_id}, epoch {status.epoch[:8]}, {status.file_bytes / 1e6:.1f} MB on disk\n")
    for lane, item in status.lanes.items():
        sys.stdout.write(
            f"{lane:9} waiting {item.pending_records} ({item.pending_bytes / 1e6:.1f} MB), delivered {item.delivered}, "
            f"set aside {item.rejected}, evicted {item.evicted}, refused {item.refused}\n"
        )
    if not status.reserve_held:
        sys.stdout.write("the disk is full: the reserve for events is in use\n")
    for name in status.quarantined_files:
        sys.stdout.write(f"damaged and set aside: {name}\n")
    return 0


def _verify(config: EdgeConfig, path: Path, args: argparse.Namespace) -> int:
    from edge.enrolment import load_identity
    from telemetry.outbox.inspection import read_export, verify_frames, verify_outbox

    identity, signer = load_identity(config)
    keys = {identity.box_id: signer.public_key}
    found = verify_frames(read_export(args.file), keys.get) if args.file else verify_outbox(path, keys.get)
    if args.json:
        answer = {"batches": found.batches, "records": found.records, "problems": found.problems}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"WRONG {problem}\n" for problem in found.problems))
        sys.stdout.write(f"{found.batches} batches, {found.records} records: {len(found.problems)} wrong\n")
    return 1 if found.problems else 0


def _export(path: Path, args: argparse.Namespace) -> int:
    from telemetry.outbox.inspection import What, export

    what: What = "damaged" if args.source else "dead_letters" if args.dead_letters else "waiting"
    written = export(args.source or path, args.to, what)
    if args.json:
        sys.stdout.write(json.dumps({"batches": written, "file": str(args.to)}) + "\n")
    else:
        sys.stdout.write(f"{written} batches written to {args.to}\n")
    return 0
