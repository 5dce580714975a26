"""A record of a test's own, with people, and alerts that are raised and moved by a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.database import make_engine
from server.settings import Settings
from tests.ready_record import lay_ready_record
from tests.server.life_cycle.record import Desk


@pytest.fixture
def desk(tmp_path: Path, jpeg: Callable[..., bytes]) -> Iterator[Desk]:
    lay_ready_record(tmp_path)
    engine = make_engine(Settings(data_dir=tmp_path))
    yield Desk(engine, tmp_path, jpeg)
    engine.dispose()
