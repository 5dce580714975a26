"""`brightline-server series rebuild|status`: what they do and print. Exit status 1 when something is missing."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import closing

from sqlalchemy.orm import Session

from server.database import make_engine, migrate
from server.series.stores import open_store
from server.series.upkeep import rebuild, status_of
from server.settings import Settings


def run_series(settings: Settings, action: str, as_json: bool) -> int:
    """Run one action on the record and its series; raises ValueError, SeriesUnavailable or SQLAlchemyError."""
    if not (settings.data_dir / "record.sqlite").exists():
        raise ValueError(f"{settings.data_dir} holds no record; give the folder of brightline-server serve")
    migrate(settings)
    engine = make_engine(settings)
    try:
        with closing(open_store(settings.series, engine)) as store:
            problems = rebuild(engine, settings.series, store) if action == "rebuild" else []
            with Session(engine) as db:
                status = status_of(db, store.name)
    finally:
        engine.dispose()
    problems = problems or status.problems
    if as_json:
        sys.stdout.write(json.dumps({**dataclasses.asdict(status), "problems": problems}, indent=2) + "\n")
    else:
        for line in problems:
            sys.stdout.write(f"missing  {line}\n")
        sys.stdout.write(
            f"{status.store}: {status.batches} batches of readings, {status.batches_behind} behind "
            f"({status.readings_behind} readings), {status.refused} refused\n"
        )
    return 1 if problems else 0
