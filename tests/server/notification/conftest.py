"""A desk for each test: the record is migrated once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import migrate
from server.settings import Settings
from tests.server.notification.desk import Desk


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    migrate(Settings(data_dir=folder))
    return folder


@pytest.fixture
def desk(empty_record: Path, tmp_path: Path) -> Iterator[Desk]:
    shutil.copytree(empty_record, tmp_path / "data")
    made = Desk(tmp_path / "data")
    yield made
    made.close()
