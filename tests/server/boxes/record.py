"""A record without a server, for what is decided in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.accounts import ensure_site
from server.database import make_engine, writing
from server.models import Box
from server.settings import Settings
from telemetry.signing import Signer
from tests.ready_record import lay_ready_record

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Record:
    """A migrated record in a folder."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        lay_ready_record(folder)
        self.engine: Engine = make_engine(self.settings)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with Session(writing(self.engine), expire_on_commit=False) as db, db.begin():
            yield db

    def box(self, name: str = "box-1", enrolled_at: datetime = START) -> str:
        with self.writing() as db:
            site = ensure_site(db, "Canteen A")
            key = Signer.generate().public_key_b64
            db.add(Box(id=name, name=name, site_id=site.id, public_key=key, enrolled_at=enrolled_at))
        return name

    def heard(self, box_id: str, when: datetime) -> None:
        """The box spoke."""
        with self.writing() as db:
            db.get_one(Box, box_id).last_seen_at = when
