"""A record of a test's own, with people, and alerts that are raised and moved by a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.database import make_engine, migrate
from server.settings import Settings
from tests.server.life_cycle.record import Desk


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A record that was migrated and nothing else, to copy."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("empty"))
    migrate(settings)
    return (settings.data_dir / "record.sqlite").read_bytes()


@pytest.fixture
def desk(tmp_path: Path, empty_record: bytes, jpeg: Callable[..., bytes]) -> Iterator[Desk]:
    (tmp_path / "record.sqlite").write_bytes(empty_record)
    engine = make_engine(Settings(data_dir=tmp_path))
    yield Desk(engine, tmp_path, jpeg)
    engine.dispose()
