"""One furnished kitchen for each test module."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.server.centre import Centre
from tests.server.reports.kitchen import Kitchen, furnish


@pytest.fixture(scope="module")
def kitchen(centre: Centre, jpeg: Callable[..., bytes]) -> Kitchen:
    return furnish(centre, jpeg)
