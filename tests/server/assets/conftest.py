"""A record with three sites in two districts, made once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.accounts import add_user, ensure_site
from server.database import make_engine, writing
from server.models import Box, User
from server.regions import ensure_region
from server.settings import Settings
from tests.ready_record import lay_ready_record
from tests.server.centre import PASSWORD

Changing: TypeAlias = Callable[[], AbstractContextManager[Session]]
HERE, THERE = "浙江/杭州/西湖", "浙江/宁波/海曙"


@contextmanager
def session_of(engine: Engine) -> Iterator[Session]:
    with Session(writing(engine), expire_on_commit=False) as db, db.begin():
        yield db


@pytest.fixture(scope="session")
def settled_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Settings(data_dir=tmp_path_factory.mktemp("assets"))
    lay_ready_record(settings.data_dir)
    engine = make_engine(settings)
    with session_of(engine) as db:
        here, there = ensure_region(db, HERE), ensure_region(db, THERE)
        site = ensure_site(db, "一小", region=here)
        ensure_site(db, "二小", region=there)
        ensure_site(db, "夏威夷", "Pacific/Honolulu")
        db.add(Box(id="box-1", name="b", site_id=site.id, public_key="k", enrolled_at=datetime.now(UTC)))
        add_user(db, "officer", "O", PASSWORD, "safety_officer", site=site)
        add_user(db, "admin", "A", PASSWORD, "administrator", region=here)
        add_user(db, "parent", "P", PASSWORD, "viewer", site=site)
    engine.dispose()
    return settings.data_dir / "record.sqlite"


@pytest.fixture
def engine(settled_record: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copy(settled_record, tmp_path)
    made = make_engine(Settings(data_dir=tmp_path))
    yield made
    made.dispose()


@pytest.fixture
def changing(engine: Engine) -> Changing:
    """Opens a transaction that writes."""
    return lambda: session_of(engine)


def user(db: Session, name: str) -> User:
    return db.query(User).filter_by(username=name).one()
