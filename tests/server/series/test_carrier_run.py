"""The carrier's life: a failure is told once, the recovery once, and two carriers do not step on each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from server.accounts import ensure_site
from server.database import make_engine, writing
from server.models import Box, StoredBatch
from server.series import carrier as carrier_module
from server.series import problems as problems_module
from server.series.carrier import Carrier
from server.series.models import SeriesCursor, SeriesProblem
from server.series.port import Point, Refused, SeriesUnavailable
from server.settings import Settings
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, seal_batch, sha256_hex
from telemetry.signing import Signer
from tests.ready_record import lay_ready_record
from tests.server.centre import AT, reading

DEADLINE_S = 30.0


class ScriptedStore:
    """Keeps the points of each write; *on_write* is called first and may fail or refuse."""

    name = "scripted"

    def __init__(self, on_write: Callable[[Sequence[Point]], list[Refused]] = lambda _: []) -> None:
        self.writes: list[list[Point]] = []
        self.on_write = on_write

    def write(self, points: Sequence[Point]) -> list[Refused]:
        refused = self.on_write(points)
        self.writes.append(list(points))
        return refused

    def range(self, *_: object) -> Iterator[Point]:
        raise NotImplementedError

    latest = extents = keys = forget = clear = close = range  # type: ignore[assignment]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A journal of five batches with ten readings each, carried to nowhere yet."""
    settings = Settings(data_dir=tmp_path)
    lay_ready_record(tmp_path)
    engine = make_engine(settings)
    signer = Signer.generate()
    with Session(writing(engine)) as db, db.begin():
        site = ensure_site(db, "A")
        db.add(Box(id="box-1", name="b", site_id=site.id, public_key=signer.public_key_b64, enrolled_at=AT))
        db.add(SeriesCursor(store="scripted"))
        db.flush()
        previous = FIRST_PREVIOUS
        for seq in range(1, 6):
            header = BatchHeader(
                box_id="box-1", epoch="e", lane="readings", seq=seq, previous_sha256=previous, created_at=AT, count=10,
                boot_id="boot",
            )  # fmt: skip
            raw = seal_batch(header, [reading(float(seq), seq * 10 + number) for number in range(10)], signer)
            row = {"box_id": "box-1", "epoch": "e", "lane": "readings", "seq": seq, "count": 10, "raw": raw}
            digests = {"sha256": sha256_hex(raw), "previous_sha256": previous, "received_at": datetime.now(UTC)}
            db.execute(insert(StoredBatch), {**row, **digests})
            previous = digests["sha256"]
    yield engine
    engine.dispose()


def cursor(engine: Engine) -> int:
    with Session(engine) as db:
        return db.get_one(SeriesCursor, "scripted").batch_id


def test_the_cursor_moves_only_after_the_store_has_the_points(engine: Engine) -> None:
    seen: list[int] = []

    def look(_: Sequence[Point]) -> list[Refused]:
        seen.append(cursor(engine))
        return []

    store = ScriptedStore(look)
    assert Carrier(engine, store).carry() == 5
    assert (seen, cursor(engine)) == ([0], 5)
    assert [point.value for point in store.writes[0]] == [float(seq) for seq in range(1, 6) for _ in range(10)]
    assert Carrier(engine, store).carry() == 0
    assert len(store.writes) == 1


def test_a_failed_write_moves_nothing_and_the_same_points_are_written_again(engine: Engine) -> None:
    failing = True

    def fail_once(points: Sequence[Point]) -> list[Refused]:
        if failing:
            given.append(list(points))
            raise SeriesUnavailable("away")
        return []

    given: list[list[Point]] = []
    store = ScriptedStore(fail_once)
    with pytest.raises(SeriesUnavailable):
        Carrier(engine, store).carry()
    assert cursor(engine) == 0
    failing = False
    Carrier(engine, store).carry()
    assert store.writes == given


def test_small_portions_carry_all_of_a_long_journal_in_its_order(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.series.journal.PORTION_READINGS_MAX", 25)
    monkeypatch.setattr(carrier_module, "POINTS_PER_WRITE_MAX", 7)
    store = ScriptedStore()
    carrier = Carrier(engine, store)
    assert [carrier.carry() for _ in range(4)] == [2, 2, 1, 0]
    assert max(map(len, store.writes)) == 7
    values = [point.value for write in store.writes for point in write]
    assert values == [float(seq) for seq in range(1, 6) for _ in range(10)]


def test_a_rebuild_that_begins_during_a_write_is_not_undone_by_it(engine: Engine) -> None:
    def reset(_: Sequence[Point]) -> list[Refused]:
        with Session(writing(engine)) as db, db.begin():
            db.get_one(SeriesCursor, "scripted").generation += 1
        return []

    Carrier(engine, ScriptedStore(reset)).carry()
    assert cursor(engine) == 0, "what was written before the rebuild does not count"


def test_of_two_carriers_one_moves_the_cursor_and_records_what_was_refused(engine: Engine) -> None:
    both_wrote = threading.Barrier(2, timeout=DEADLINE_S)

    def refuse_first(points: Sequence[Point]) -> list[Refused]:
        both_wrote.wait()
        return [Refused(points[0], "too warm")]

    stores = [ScriptedStore(refuse_first) for _ in range(2)]
    threads = [threading.Thread(target=Carrier(engine, store).carry) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert stores[0].writes == stores[1].writes
    with Session(engine) as db:
        (problem,) = db.scalars(select(SeriesProblem)).all()
    assert (problem.batch_id, problem.sensor_id, problem.reason) == (1, "cold-1", "too warm")
    assert cursor(engine) == 5


def test_too_many_refused_points_of_a_batch_are_one_line(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems_module, "NAMED_PER_BATCH_MAX", 5)
    store = ScriptedStore(lambda points: [Refused(point, "full") for point in points[:13]])
    Carrier(engine, store).carry()
    with Session(engine) as db:
        found = [(row.batch_id, row.sensor_id, row.reason) for row in db.scalars(select(SeriesProblem))]
    assert found == [(1, None, "10 points refused, the first: full"), *[(2, "cold-1", "full")] * 3]


def test_a_failure_is_told_once_and_so_is_the_recovery(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier_module, "BACKOFF_S_MAX", 0.01)
    tries = 0

    def fail_often(_: Sequence[Point]) -> list[Refused]:
        nonlocal tries
        tries += 1
        if tries < 6:
            raise SeriesUnavailable("away") if tries % 2 else ZeroDivisionError("a fault of ours")
        return []

    store = ScriptedStore(fail_often)

    async def until_carried() -> None:
        async with asyncio.timeout(DEADLINE_S), Carrier(engine, store).running():
            while "again" not in caplog.text:
                await asyncio.sleep(0.01)

    asyncio.run(until_carried())
    assert (cursor(engine), len(store.writes)) == (5, 1)
    assert caplog.text.count("they wait in the journal: away") == 1
    assert caplog.text.count("again") == 1


def test_a_carrier_stops_between_two_writes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_module, "POINTS_PER_WRITE_MAX", 1)
    writing_now = threading.Event()

    def tell(_: Sequence[Point]) -> list[Refused]:
        writing_now.set()
        return []

    store = ScriptedStore(tell)

    async def stop_early() -> None:
        async with asyncio.timeout(DEADLINE_S), Carrier(engine, store).running():
            await asyncio.to_thread(writing_now.wait, DEADLINE_S)

    asyncio.run(stop_early())
    assert 1 <= len(store.writes) <= 50
    carried = cursor(engine)
    assert carried == (5 if len(store.writes) == 50 else 0)
