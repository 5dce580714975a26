"""One small record for all tests of the log; who changes it takes a copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.merkle.small_record import SmallRecord, make_record


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> SmallRecord:
    return make_record(tmp_path_factory.mktemp("small") / "data", jpeg)


@pytest.fixture
def record(whole: SmallRecord, data: Path) -> SmallRecord:
    """A copy to change."""
    return whole.copy(data)
