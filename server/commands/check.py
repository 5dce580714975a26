"""`check`: whether a centre can start as it is set up, and what its operator has to do; it changes nothing.

`adopt-keys` is for an operator who lost a key file: without it no start takes a folder with other keys.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.commands.port import Commands, changing, need_record, opened, take_data
from server.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def register(commands: Commands) -> None:
    check = commands.add_parser("check", help="say whether the centre can start as it is set up; changes nothing")
    take_data(check, series=True)
    check.set_defaults(run=_check)
    adopt = commands.add_parser("adopt-keys", help="take the key files in the folder as the centre's: others are lost")
    take_data(adopt)
    adopt.set_defaults(run=_adopt)


def _check(settings: Settings, _: argparse.Namespace) -> int:
    """One line for each thing; exit status 1 when a start would be refused."""
    found = [*_settings(settings), *_calendar(settings), *_record(settings)]
    for verdict, text in found:
        sys.stdout.write(f"{verdict:<5} {text}\n")
    return 1 if any(verdict == "WRONG" for verdict, _ in found) else 0


def _settings(settings: Settings) -> Iterator[tuple[str, str]]:
    from server.production import check_production

    series = "the record" if settings.series.in_record else "InfluxDB"
    yield "ok", f"settings: {settings.mode}, {settings.database.type}, {settings.blobs.type}, readings in {series}"
    try:
        check_production(settings, None)
    except ValueError as error:
        yield "WRONG", str(error)


def _calendar(settings: Settings) -> Iterator[tuple[str, str]]:
    from server.life_cycle.calendar import say_missing
    from server.life_cycle.rules import rules_in_force

    calendar = rules_in_force().calendar
    missing = calendar.missing_years(datetime.now(UTC).date())
    for year in missing:
        yield "warn", say_missing(calendar, year, settings.life_cycle.calendar_folder)
    if not missing:
        yield "ok", f"calendar: {calendar.name}, {', '.join(map(str, sorted(calendar.years)))}"


def _record(settings: Settings) -> Iterator[tuple[str, str]]:
    from sqlalchemy.orm import Session

    from server.database import check_revision

    need_record(settings)
    with opened(settings, migrated=False) as engine:
        try:
            check_revision(engine)
        except ValueError as error:
            yield "warn", f"{error} (serve migrates an older one by itself)"
            return
        yield "ok", "record: it answers, and is of this program's version"
        with Session(engine) as db:
            yield from _keys(settings, db)


def _keys(settings: Settings, db: Session) -> Iterator[tuple[str, str]]:
    from server.shared_keys import known_keys, wrong_keys

    known, problems = known_keys(db), wrong_keys(db, settings.data_dir)
    yield from (("WRONG", f"key: {problem}") for problem in problems)
    if not problems:
        told = f"{', '.join(sorted(known))} are this centre's" if known else "the first start makes them"
        yield "ok", f"keys: {told}"


def _adopt(settings: Settings, _: argparse.Namespace) -> int:
    from server.shared_keys import AFTERWARDS, SHARED, adopt_keys

    need_record(settings)
    with changing(settings) as db:
        adopt_keys(db, settings.data_dir)
    sys.stdout.write(f"the keys of {settings.data_dir} are the centre's now: {', '.join(SHARED)}; {AFTERWARDS}\n")
    return 0
