"""A district of its own for each module here that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.server.tenancy.district import District, settled


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("district") / "data", jpeg) as made:
        yield made
