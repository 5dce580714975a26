"""A clock correction that comes after its points were carried puts them right in the other store, by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from server.accounts import ensure_site
from server.database import make_engine, writing
from server.ingest import take_batch
from server.models import Box
from server.models_uplink import UnsyncedBatch
from server.series.carrier import Carrier
from server.series.models import SeriesCursor, SeriesProblem
from server.series.port import CannotForget, Point, Refused, SeriesKey, SeriesUnavailable
from server.settings import Settings
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, open_batch, seal_batch, sha256_hex
from telemetry.messages import Event, Lane, Reading
from telemetry.signing import Signer
from tests.ready_record import lay_ready_record
from tests.server.centre import AT, reading

OFFSET_S = 35.0
AT_MS = round(AT.timestamp() * 1000)


class MemoryStore:
    """Keeps points as InfluxDB does: the newest of one instant."""

    name = "memory"

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], float | None] = {}
        self.writes_left = 10**6
        self.forgets = True

    def write(self, points: Sequence[Point]) -> list[Refused]:
        if self.writes_left <= 0:
            raise SeriesUnavailable("away")
        self.writes_left -= 1
        self.points |= {(point.sensor_id, point.at_ms): point.value for point in points}
        return []

    def forget(self, key: SeriesKey, start_ms: int, end_ms: int) -> None:
        if not self.forgets:
            raise CannotForget("no DELETE here")
        kept = {at for at in self.points if at[0] != key.sensor_id or not start_ms <= at[1] <= end_ms}
        self.points = {at: value for at, value in self.points.items() if at in kept}

    def range(self, *_: object) -> Iterator[Point]:
        raise NotImplementedError

    latest = extents = keys = clear = close = range  # type: ignore[assignment]


class Sender:
    """A box whose batches are taken as ingest takes them where the series is elsewhere."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.signer = engine, Signer.generate()
        self.last: dict[Lane, tuple[int, str]] = {}
        with Session(writing(engine)) as db, db.begin():
            key = self.signer.public_key_b64
            db.add(Box(id="box-1", name="b", site_id=ensure_site(db, "A").id, public_key=key, enrolled_at=AT))
            db.add(SeriesCursor(store="memory"))

    def send(self, lane: Lane, records: Sequence[Reading | Event], boot_id: str) -> None:
        seq, previous = self.last.get(lane, (0, FIRST_PREVIOUS))
        header = BatchHeader(
            box_id="box-1", epoch="e", lane=lane, seq=seq + 1, previous_sha256=previous, created_at=AT,
            count=len(records), boot_id=boot_id,
        )  # fmt: skip
        raw = seal_batch(header, records, self.signer)
        self.last[lane] = (seq + 1, sha256_hex(raw))
        with Session(writing(self.engine)) as db, db.begin():
            take_batch(db, open_batch(raw, lambda _: self.signer.public_key), series_here=False)

    def correct(self, boot_id: str) -> None:
        event = Event(
            event_id=f"right-{boot_id}", incident_id=f"right-{boot_id}", type="clock_corrected", severity="info",
            source_id="box-1", at=AT + timedelta(hours=1), data={"boot_id": boot_id, "offset_s": OFFSET_S},
        )  # fmt: skip
        self.send("events", [event], boot_id)


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    """A boot with a wrong clock whose times overlap those of another boot and sensor."""
    lay_ready_record(tmp_path)
    engine = make_engine(Settings(data_dir=tmp_path))
    sender = Sender(engine)
    for first in (0, 5):
        early = [reading(100.0 + number, 10.0 * number) for number in range(first, first + 5)]
        sender.send("readings", [item.model_copy(update={"clock_synced": False}) for item in early], "early")
    sender.send("readings", [reading(200.0 + number, 20.0 * number + 3) for number in range(5)], "later")
    sender.send("readings", [reading(300.0, 10.0, sensor_id="cold-9")], "later")
    yield sender
    engine.dispose()


TOLD = {("cold-1", AT_MS + 10_000 * number): 100.0 + number for number in range(10)}
RIGHT = {("cold-1", AT_MS + 10_000 * number + round(OFFSET_S * 1000)): 100.0 + number for number in range(10)}
OTHERS = {
    **{("cold-1", AT_MS + 20_000 * number + 3_000): 200.0 + number for number in range(5)},
    ("cold-9", AT_MS + 10_000): 300.0,
}


def carry_all(sender: Sender, store: MemoryStore) -> None:
    carrier = Carrier(sender.engine, store)
    while carrier.carry_on_duty():
        pass


def waiting(sender: Sender) -> list[tuple[int, int | None]]:
    with Session(sender.engine) as db:
        return [(row.batch_id, row.offset_ms) for row in db.scalars(select(UnsyncedBatch))]


def test_points_carried_as_told_move_to_their_true_times_and_no_other_point_is_lost(sender: Sender) -> None:
    store = MemoryStore()
    carry_all(sender, store)
    assert store.points == TOLD | OTHERS
    sender.correct("early")
    carry_all(sender, store)
    assert store.points == RIGHT | OTHERS
    assert waiting(sender) == []


def test_a_store_that_goes_away_in_between_is_put_right_when_it_is_back(sender: Sender) -> None:
    store = MemoryStore()
    carry_all(sender, store)
    sender.correct("early")
    store.writes_left = 1
    with pytest.raises(SeriesUnavailable):
        carry_all(sender, store)
    store.writes_left = 10
    carry_all(sender, store)
    assert store.points == RIGHT | OTHERS


def test_what_comes_after_its_correction_or_is_carried_after_it_needs_nothing(sender: Sender) -> None:
    sender.correct("early")
    late = reading(400.0, 500.0).model_copy(update={"clock_synced": False})
    sender.send("readings", [late], "early")
    store = MemoryStore()
    carry_all(sender, store)
    assert store.points == RIGHT | OTHERS | {("cold-1", AT_MS + 535_000): 400.0}
    assert waiting(sender) == []


def test_a_store_that_forgets_nothing_gets_the_true_points_and_a_line_about_the_others(sender: Sender) -> None:
    store = MemoryStore()
    store.forgets = False
    carry_all(sender, store)
    sender.correct("early")
    carry_all(sender, store)
    assert store.points == TOLD | RIGHT | OTHERS
    with Session(sender.engine) as db:
        problems = [(row.batch_id, row.reason) for row in db.scalars(select(SeriesProblem))]
    assert [batch_id for batch_id, _ in problems] == [1, 2]
    assert all("told before the clock was right: no DELETE here" in reason for _, reason in problems)
