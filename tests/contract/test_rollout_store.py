"""Roll-outs in PostgreSQL: stage after stage, taken back from those that have it, and seen only within reach.

In SQLite the same runs in tests/server/rollout.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres_server import PostgresServer
from tests.server.centre import picture
from tests.server.rollout import test_model_rollout as models
from tests.server.rollout import test_rollout as in_sqlite
from tests.server.tenancy.district import District, Somebody, settled


@pytest.fixture(scope="module")
def district(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    data = tmp_path_factory.mktemp("rollout") / "data"
    with settled(data, picture, places=(), database=postgres.ready_record()) as made:
        yield made


@pytest.fixture(scope="module")
def administrator(district: District) -> Somebody:
    return district.somebody("administrator", "")


@pytest.mark.parametrize(
    "test",
    [
        in_sqlite.test_release_reaches_stage_after_stage_and_only_boxes_that_are_offered_it,
        in_sqlite.test_box_that_fails_takes_the_release_back_from_the_others_by_itself,
        models.test_candidate_and_live_model_are_taken_back_to_the_model_that_was_live,
        in_sqlite.test_administrator_of_a_region_sees_and_moves_nothing_of_another,
    ],
)
def test_what_holds_in_sqlite_holds_in_postgresql(
    district: District, administrator: Somebody, test: in_sqlite.StoreTest
) -> None:
    test(district, administrator)
