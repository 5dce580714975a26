"""One furnished kitchen for each test module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.server.centre import Centre
from tests.server.reports.kitchen import Kitchen, furnish


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory, font_settings: str) -> Iterator[Centre]:
    running = Centre(tmp_path_factory.mktemp("centre") / "data", font_settings)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def kitchen(centre: Centre, jpeg: Callable[..., bytes]) -> Kitchen:
    return furnish(centre, jpeg)
