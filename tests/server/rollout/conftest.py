"""A centre without places, and who may roll out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.server.tenancy.district import District, Somebody, settled


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("rollout") / "data", jpeg, places=()) as made:
        yield made


@pytest.fixture(scope="module")
def administrator(district: District) -> Somebody:
    return district.somebody("administrator", "")
