"""`brightline-vision shadow report|promote|rollback|allow FOLDER`: what a candidate did, and which model is live.

FOLDER is ``DATA_DIR/shadow/CAMERA/NUMBER`` (the number of the model in the camera's list, from 0). A decision is
written there; the camera process follows it within seconds, without a restart.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vision.shadow_folder import Decision, ShadowFolder

SHOWN_MAX = 20
REASON_MAX = 200


def add_shadow_commands(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``shadow``."""
    actions = parser.add_subparsers(dest="action", required=True)
    report = actions.add_parser("report", help="how the candidate and the live model agree, class by class")
    report.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    promote = actions.add_parser("promote", help="make the candidate the live model")
    rollback = actions.add_parser("rollback", help="make the former model the live one again")
    for command in (promote, rollback):
        command.add_argument("--reason", default="", help="kept with the decision")
    allow = actions.add_parser("allow", help="load a candidate again that was turned off after crashes")
    for command in (report, promote, rollback, allow):
        command.add_argument("folder", type=Path, help="DATA_DIR/shadow/CAMERA/NUMBER")


def run_shadow(args: argparse.Namespace) -> int:
    """One action; raises ValueError for a folder without figures and for a decision that is in force already."""
    folder = ShadowFolder(args.folder)
    if args.action == "report":
        return _report(folder, as_json=args.json)
    if args.action == "allow":
        if not folder.allow():
            raise ValueError(f"{args.folder}: no candidate is off there")
        sys.stdout.write(f"{args.folder}: the candidate is loaded again at the next start of the cameras\n")
        return 0
    decision = _current(folder)
    if decision.promoted == (args.action == "promote"):
        raise ValueError(f"{args.folder}: the {'candidate' if decision.promoted else 'former model'} is live already")
    if args.action == "promote" and (refusal := folder.refusal(decision.other_sha256)):
        raise ValueError(f"{args.folder}: the candidate is off since {refusal.at}: {refusal.reason}")
    from vision.shadow import turned

    rate_fps = float(folder.state().get("rate_fps", 0.0))
    done = turned(decision, "person", args.reason[:REASON_MAX], rate_fps if args.action == "promote" else 0.0)
    folder.decide(done)
    sys.stdout.write(f"{args.folder}: {done.live_sha256} is to be live; the camera follows within seconds\n")
    return 0


def _current(folder: ShadowFolder) -> Decision:
    """The decision in force; without one, that the configured model is live."""
    models = folder.state().get("models")
    if not isinstance(models, list) or len(models) != 2:
        raise ValueError(f"{folder.path}: no figures of a shadow; give DATA_DIR/shadow/CAMERA/NUMBER of one that ran")
    found = folder.decision()
    if found is not None and {found.live_sha256, found.other_sha256} == set(models):
        return found
    return Decision(models[0], models[1], promoted=False, at=datetime.now(UTC).isoformat(), by="person")


def _report(folder: ShadowFolder, *, as_json: bool) -> int:
    decision = _current(folder)
    seen = list(folder.seen())
    report: dict[str, Any] = {
        "live_sha256": decision.live_sha256, "candidate_sha256": decision.other_sha256, "promoted": decision.promoted,
        "off": asdict(refusal) if (refusal := folder.refusal(decision.other_sha256)) else None,
        **folder.counts().as_report(), "history": folder.history(), "disagreements": len(seen),
        "newest": seen[:SHOWN_MAX],
    }  # fmt: skip
    sys.stdout.write(json.dumps(report) + "\n" if as_json else _text(report))
    return 0


def _text(report: dict[str, Any]) -> str:
    other = "former model" if report["promoted"] else "candidate"
    lines = [
        f"live {report['live_sha256'][:12]}, {other} {report['candidate_sha256'][:12]}",
        f"{report['pictures']} pictures compared, {report['skipped']} skipped, {report['errors']} errors, "
        f"{report['cpu_ms_mean'] or 0} ms of CPU each",
        f"agreeing pictures: {_share(report)}",
    ]
    if report["off"]:
        lines.append(f"the {other} is off since {report['off']['at']}: {report['off']['reason']}")
    for name, row in report["classes"].items():
        lines.append(f"{name:<20} {_share(row)}: {row['both']} both, {row['only_live']} only live, "
                     f"{row['only_candidate']} only the {other}")  # fmt: skip
    lines += [f"{item['at']}: {item['picture']}" for item in report["newest"]]
    return "\n".join(lines) + "\n"


def _share(row: dict[str, Any]) -> str:
    if row["share"] is None:
        return "none yet"
    low, high = row["interval_95"]
    return f"{row['share']:.1%} (95 %: {low:.1%} to {high:.1%})"
