"""`series rebuild` and `series status`. Exit status 1 when something is missing."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from contextlib import closing

from server.commands.port import Commands, need_record, opened, take_data
from server.settings import Settings


def register(commands: Commands) -> None:
    series = commands.add_parser("series", help="the store of the readings, which is derived from the journal")
    actions = series.add_subparsers(dest="action", required=True)
    for name, about in (
        ("rebuild", "empty it and derive every point again"),
        ("status", "how far it is behind the journal, and what it refused"),
    ):
        command = actions.add_parser(name, help=about)
        take_data(command, series=True, as_json=True)
        command.set_defaults(run=_run)


def _run(settings: Settings, args: argparse.Namespace) -> int:
    """Run one action on the record and its series; raises ValueError, SeriesUnavailable or SQLAlchemyError."""
    from sqlalchemy.orm import Session

    from server.series.stores import open_store
    from server.series.upkeep import rebuild, status_of

    need_record(settings)
    with opened(settings) as engine, closing(open_store(settings.series, engine)) as store:
        problems = rebuild(engine, settings.series, store) if args.action == "rebuild" else []
        with Session(engine) as db:
            status = status_of(db, store.name)
    problems = problems or status.problems
    if args.json:
        sys.stdout.write(json.dumps({**dataclasses.asdict(status), "problems": problems}, indent=2) + "\n")
    else:
        for line in problems:
            sys.stdout.write(f"missing  {line}\n")
        sys.stdout.write(
            f"{status.store}: {status.batches} batches of readings, {status.batches_behind} behind "
            f"({status.readings_behind} readings), {status.refused} refused\n"
        )
    return 1 if problems else 0
