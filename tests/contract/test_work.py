"""Claims of background work, on both databases: one worker for each piece, and none waits for another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from sqlalchemy import Engine, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from server.database import make_engine, migrate, writing
from server.models import Base, UtcDateTime
from server.settings import Settings
from server.work import Claimable, Duty, claim, hold_duty, leave_duty, worker_name
from tests.postgres_server import PostgresServer

PAST = datetime(2026, 1, 1, tzinfo=UTC)


class _Own(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime()}


class Parcel(Claimable, _Own):
    """Work of this test's own."""

    __tablename__ = "parcel"
    id: Mapped[int] = mapped_column(primary_key=True)
    done: Mapped[bool] = mapped_column(default=False)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("record"))
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        settings = settings.model_copy(update={"database": server.ready_record()})
    migrate(settings)
    made = make_engine(settings)
    with writing(made).begin() as connection:
        cast(Table, Parcel.__table__).create(connection)
    yield made
    made.dispose()


@pytest.fixture
def parcels(engine: Engine) -> Iterator[Engine]:
    with Session(writing(engine)) as db, db.begin():
        db.add_all(Parcel(id=number) for number in range(1, 6))
    yield engine
    with Session(writing(engine)) as db, db.begin():
        db.query(Parcel).delete()
        db.query(Duty).delete()


def claimed(db: Session, worker: str, limit: int = 2, lease_s: float = 60) -> list[int]:
    rows = claim(db, Parcel, worker, lease_s, due=Parcel.done.is_(False), order=Parcel.id, limit=limit)
    return [row.id for row in rows]


def beside(engine: Engine) -> Session:
    return Session(writing(engine, beside=True))


def test_each_piece_goes_to_one_worker(parcels: Engine) -> None:
    found = []
    for worker in ("a", "b", "c", "d"):
        with beside(parcels) as db, db.begin():
            found.append(claimed(db, worker))
    assert found == [[1, 2], [3, 4], [5], []]


def test_a_claim_that_ran_out_is_free_and_what_is_done_is_not(parcels: Engine) -> None:
    with beside(parcels) as db, db.begin():
        assert claimed(db, "a") == [1, 2]
        db.get_one(Parcel, 1).done = True
        db.get_one(Parcel, 2).claimed_until = PAST
    with beside(parcels) as db, db.begin():
        assert claimed(db, "b") == [2, 3]
        assert db.get_one(Parcel, 2).claimed_by == "b"


def test_a_worker_does_not_wait_for_rows_that_another_is_claiming(parcels: Engine) -> None:
    if parcels.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with beside(parcels) as first, first.begin(), beside(parcels) as second, second.begin():
        assert claimed(first, "a") == [1, 2]
        assert claimed(second, "b") == [3, 4]


def test_a_duty_is_held_by_one_until_it_is_left_or_runs_out(parcels: Engine) -> None:
    def hold(worker: str) -> bool:
        with beside(parcels) as db, db.begin():
            return hold_duty(db, "carry", worker, 60)

    assert [hold("a"), hold("b"), hold("a")] == [True, False, True]
    with beside(parcels) as db, db.begin():
        leave_duty(db, "carry", "b")
    assert not hold("b")
    with beside(parcels) as db, db.begin():
        leave_duty(db, "carry", "a")
    assert [hold("b"), hold("a")] == [True, False]
    with beside(parcels) as db, db.begin():
        db.get_one(Duty, "carry").claimed_until = datetime.now(UTC) - timedelta(seconds=1)
    assert hold("a")


def test_replicas_have_different_names_and_a_restarted_single_centre_has_its_old_one(engine: Engine) -> None:
    names = {worker_name(engine) for _ in range(2)}
    assert len(names) == (1 if engine.dialect.name == "sqlite" else 2)
    assert all(len(name) <= 64 for name in names)


def test_the_tables_are_those_that_the_models_describe(engine: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences = [item for item in compare_metadata(context, Base.metadata) if "parcel" not in str(item)]
    assert differences == []
