"""The shape of a command, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from server.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

Run: TypeAlias = Callable[[Settings, argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def take_data(parser: argparse.ArgumentParser, *, series: bool = False, as_json: bool = False) -> None:
    """Arguments for a command on the record: its folder and its settings, which the environment may name as well.

    On request the settings of the series, and ``--json``.
    """
    data = os.environ.get("BRIGHTLINE_DATA")
    parser.add_argument(
        "--data", type=Path, required=data is None, default=data and Path(data), help="folder of the record"
    )
    settings = os.environ.get("BRIGHTLINE_SETTINGS")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", default=settings and Path(settings),
        help="database, pictures and mode; else DATA/centre.yaml, else all of it in DATA",
    )  # fmt: skip
    if series:
        parser.add_argument(
            "--series", type=Path, metavar="FILE", help="its settings; else DATA/series.yaml, else the record"
        )
    if as_json:
        parser.add_argument("--json", action="store_true")


def need_record(settings: Settings) -> None:
    """Raises ValueError where no centre was ever served; a record in PostgreSQL is told by its tables, later."""
    if settings.database.type == "sqlite" and not (settings.data_dir / "record.sqlite").exists():
        raise ValueError(f"{settings.data_dir} holds no record; give the folder of brightline-server serve")


@contextmanager
def opened(settings: Settings, *, migrated: bool = True) -> Iterator[Engine]:
    """The record's engine, closed at the end; brought to the newest version first."""
    from server.database import make_engine, migrate

    if migrated:
        migrate(settings)
    engine = make_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def changing(settings: Settings) -> Iterator[Session]:
    """One transaction that writes, committed at the end."""
    from sqlalchemy.orm import Session

    from server.database import writing

    with opened(settings) as engine, Session(writing(engine)) as db, db.begin():
        yield db
