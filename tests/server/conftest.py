"""One centre for each test module; every process ends with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.centre import Centre, Person, picture


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    running = Centre(tmp_path_factory.mktemp("centre") / "data")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def regulator(centre: Centre) -> Person:
    return centre.person("regulator")


@pytest.fixture(scope="module")
def staff(centre: Centre) -> Person:
    return centre.person("staff", "Canteen A")


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """Makes a small photo; *seed* makes it another one, which looks like no other."""
    return picture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty folder for a record of a test's own."""
    return tmp_path / "data"
