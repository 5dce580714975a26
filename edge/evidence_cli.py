"""`brightline-edge evidence hold|release|list`: what the box keeps of its cameras, also while it runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from datetime import UTC, datetime

from edge.config import EdgeConfig
from edge.evidence_folder import EvidenceFolder


def add_evidence_commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Give the parser its actions; returns their parsers."""
    actions = parser.add_subparsers(dest="action", required=True)
    hold = actions.add_parser("hold", help="keep an incident's originals until they are released, whatever else")
    hold.add_argument("--why", default="", help="for whoever reads it later")
    release = actions.add_parser("release", help="let an incident's originals go when their time is over")
    for action in (hold, release):
        action.add_argument("--incident", required=True, help="its id")
    listing = actions.add_parser("list", help="what is kept, held and how large it is")
    listing.add_argument("--json", action="store_true", help="for programs")
    return [hold, release, listing]


def manage_evidence(config: EdgeConfig, args: argparse.Namespace) -> int:
    """Carry out one action; returns the exit status."""
    settings = config.evidence
    try:
        folder = EvidenceFolder(
            config.box.data_dir / "evidence",
            bytes_max=settings.local_bytes_max,
            free_bytes_min=settings.free_bytes_min,
        )
        if args.action == "hold":
            folder.hold(args.incident, args.why, datetime.now(UTC))
            sys.stdout.write(f"{args.incident} is held\n")
        elif args.action == "release":
            held = folder.release(args.incident)
            sys.stdout.write(f"{args.incident} is released\n" if held else f"{args.incident} was not held\n")
        else:
            _list(folder, as_json=args.json)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"brightline-edge: {error}\n")
        return 1
    return 0


def _list(folder: EvidenceFolder, *, as_json: bool) -> None:
    """One line for each incident, the oldest first; a hold on an incident that has no originals is listed too."""
    sizes: Counter[str] = Counter()
    first_s: dict[str, float] = {}
    for item in folder.files():
        sizes[item.incident_id] += item.size_bytes
        first_s.setdefault(item.incident_id, item.kept_at_s)
    held = folder.holds()
    rows = [
        {
            "incident_id": name,
            "kept_at": datetime.fromtimestamp(first_s[name], UTC).isoformat(timespec="seconds")
            if name in first_s
            else None,
            "size_bytes": sizes[name],
            "held": name in held,
        }
        for name in [*first_s, *sorted(held - first_s.keys())]
    ]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    for row in rows:
        mark = "held" if row["held"] else ""
        sys.stdout.write(f"{row['incident_id']}  {row['kept_at'] or '-'}  {row['size_bytes']} bytes  {mark}\n")
