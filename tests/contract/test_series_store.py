"""One suite for every series store: in the record on either database, in a real InfluxDB 1.x through both writers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import Engine

from server.database import make_engine, migrate
from server.series.port import PIECE_MS, POINTS_PER_WRITE_MAX, Extent, Point, SeriesKey, SeriesStore
from server.series.settings import Influx1Series, Influx2Series, RecordSeries
from server.series.stores import open_store
from server.settings import Settings
from tests.postgres_server import PostgresServer
from tests.series_servers import DATABASE, PASSWORD, USER, InfluxServer, V2Front

AT_MS = round(datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC).timestamp() * 1000)
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    instance = Settings(data_dir=tmp_path_factory.mktemp("record"))
    migrate(instance)
    engine = make_engine(instance)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def postgres_engine(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    instance = Settings(data_dir=tmp_path_factory.mktemp("record"), database=postgres.ready_record())
    migrate(instance)
    engine = make_engine(instance)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    server = InfluxServer(tmp_path_factory.mktemp("influx"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def front(influxd: InfluxServer) -> Iterator[V2Front]:
    front = V2Front(influxd)
    yield front
    front.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "influxdb1", "influxdb2"])
def store(request: pytest.FixtureRequest, engine: Engine) -> Iterator[SeriesStore]:
    chosen: RecordSeries | Influx1Series | Influx2Series = RecordSeries()
    if request.param == "influxdb1":
        url = request.getfixturevalue("influxd").url
        chosen = Influx1Series(
            type="influxdb1", url=url, database=DATABASE, username=USER, password=SecretStr(PASSWORD)
        )
    if request.param == "influxdb2":
        url = request.getfixturevalue("front").url
        chosen = Influx2Series(type="influxdb2", url=url, org="-", bucket=DATABASE, token=SecretStr(PASSWORD))
    if request.param == "postgresql":
        engine = request.getfixturevalue("postgres_engine")
    opened = open_store(chosen, engine)
    yield opened
    opened.close()


@pytest.fixture
def box() -> str:
    """A box of the test's own."""
    return f"box-{uuid.uuid4().hex[:8]}"


def key(box: str, sensor: str = "cold-1", quantity: str = "temperature") -> SeriesKey:
    return SeriesKey(box, sensor, quantity)


def points(of: SeriesKey, values: Sequence[float | None], step_ms: int = 1000, quality: str = "good") -> list[Point]:
    return [Point(*of, AT_MS + number * step_ms, value, quality) for number, value in enumerate(values)]


def everything(store: SeriesStore, of: SeriesKey) -> list[Point]:
    return list(store.range(of, AT_MS - DAY_MS, AT_MS + 100 * DAY_MS))


def test_points_come_back_exactly_and_in_order(store: SeriesStore, box: str) -> None:
    values = [4.0, -18.25, 0.1 + 0.2, None, 0.0, 1e300, 5e-324, -1.7976931348623157e308, 123456789012345680.0, 7.0]
    written = points(key(box), values)
    written[1] = written[1]._replace(quality="suspect")
    written[2] = written[2]._replace(quality="bad")
    written[3] = written[3]._replace(quality="bad")
    assert store.write(list(reversed(written))) == []
    assert everything(store, key(box)) == written


def test_the_same_points_again_change_nothing(store: SeriesStore, box: str) -> None:
    written = points(key(box), [1.5, None, 2.5])
    for _ in range(3):
        assert store.write(written) == []
    assert store.write(written[1:2]) == []
    assert everything(store, key(box)) == written
    assert store.extents(box) == {key(box): Extent(3, AT_MS, AT_MS + 2000)}


@pytest.mark.parametrize("second", [(9.0, "good"), (None, "bad"), (1.0, "suspect")])
def test_of_two_points_for_one_instant_one_is_kept_whole(
    store: SeriesStore, box: str, second: tuple[float | None, str]
) -> None:
    first = Point(*key(box), AT_MS, 1.0, "good")
    other = Point(*key(box), AT_MS, *second)
    store.write([first])
    store.write([other])
    (kept,) = everything(store, key(box))
    assert kept in (first, other)
    store.write([first])
    (kept,) = everything(store, key(box))
    assert kept in (first, other)


def test_a_range_has_both_ends_and_only_its_own_series(store: SeriesStore, box: str) -> None:
    mine = points(key(box), [1, 2, 3, 4, 5])
    others = [
        point
        for other in (key(box, "cold-2"), key(box, quantity="humidity"), key(box + "x"))
        for point in points(other, [7, 8, 9])
    ]
    store.write([*others, *mine])
    assert list(store.range(key(box), AT_MS + 1000, AT_MS + 3000)) == mine[1:4]
    assert list(store.range(key(box), AT_MS + 1001, AT_MS + 2999)) == mine[2:3]
    assert list(store.range(key(box), AT_MS + 3000, AT_MS + 1000)) == []
    assert list(store.range(key(box, "nobody"), AT_MS, AT_MS + 5000)) == []


def test_a_range_of_many_points_and_long_pauses_is_whole(store: SeriesStore, box: str) -> None:
    dense = points(key(box), [float(number) for number in range(45_000)], step_ms=500)
    sparse = [Point(*key(box), AT_MS + day * DAY_MS, float(day), "good") for day in (1, 3, 6, 30, 90)]
    edges = [Point(*key(box), AT_MS + 7 * PIECE_MS + shift, 1.0, "good") for shift in (-1, 0, 1)]
    written = sorted([*dense, *sparse, *edges], key=lambda point: point.at_ms)
    for start in range(0, len(written), POINTS_PER_WRITE_MAX):
        assert store.write(written[start : start + POINTS_PER_WRITE_MAX]) == []
    assert everything(store, key(box)) == written


def test_the_latest_point_is_the_newest_within_its_span(store: SeriesStore, box: str) -> None:
    first, last = Point(*key(box), AT_MS, 1.0, "good"), Point(*key(box), AT_MS + 40 * DAY_MS, None, "bad")
    store.write([last, first])
    assert store.latest(key(box), AT_MS - DAY_MS, AT_MS + 90 * DAY_MS) == last
    assert store.latest(key(box), AT_MS, last.at_ms) == last
    assert store.latest(key(box), AT_MS, last.at_ms - 1) == first
    assert store.latest(key(box), AT_MS + 1, last.at_ms - 1) is None
    assert store.latest(key(box, "nobody"), AT_MS - 30 * DAY_MS, AT_MS) is None


def test_extents_name_every_series_of_all_boxes_or_of_one(store: SeriesStore, box: str) -> None:
    other = f"{box}-other"
    store.write(points(key(box), [1, None, 3]))
    store.write(points(key(box, "cold-2"), [None]))
    store.write(points(key(other), [1, 2]))
    mine = {key(box): Extent(3, AT_MS, AT_MS + 2000), key(box, "cold-2"): Extent(1, AT_MS, AT_MS)}
    assert store.extents(box) == mine
    everyone = store.extents()
    assert {found: extent for found, extent in everyone.items() if found.box_id in (box, other)} == {
        **mine,
        key(other): Extent(2, AT_MS, AT_MS + 1000),
    }
    assert store.extents("nobody") == {}
    assert store.keys(box) == sorted(mine)
    assert store.keys("nobody") == []


def test_what_is_forgotten_is_a_stretch_of_one_series_with_both_ends(store: SeriesStore, box: str) -> None:
    series = [key(box), key(box, "cold-2"), key(box, quantity="humidity"), key(f"{box}-other"), key(box, "it's \\ one")]
    for of in series:
        store.write(points(of, [1, 2, 3, 4]))
    for of in (series[0], series[4]):
        store.forget(of, AT_MS + 1000, AT_MS + 2000)
        store.forget(of, -(10**16), -1)  # before what a store can keep
        assert [point.value for point in everything(store, of)] == [1, 4]
    assert all(len(everything(store, of)) == 4 for of in series[1:4])


def test_a_cleared_store_is_empty_and_takes_the_same_points_again(store: SeriesStore, box: str) -> None:
    written = points(key(box), [1, 2, 3])
    store.write(written)
    store.clear()
    assert store.extents() == {}
    store.clear()
    assert store.write(written) == []
    assert everything(store, key(box)) == written


def test_more_points_than_agreed_are_a_mistake_of_the_caller(store: SeriesStore, box: str) -> None:
    with pytest.raises(ValueError, match="at most"):
        store.write(points(key(box), [1.0] * (POINTS_PER_WRITE_MAX + 1)))
    assert store.extents(box) == {}


def test_nothing_written_is_nothing_stored(store: SeriesStore, box: str) -> None:
    assert store.write([]) == []
    assert store.extents(box) == {}


# far more than names may be; but for NUL, which PostgreSQL's text does not hold
NAMES = st.one_of(
    st.sampled_from(
        ["a b",
         "a,b", "a=b", 'a"b', "a'b", "a\\", "\\", "a\\,b", "a\\ b", "\\'; DROP DATABASE brightline --", "冷库 一号",
         "a\nb", "%5C", "%", "#x", " ", ",", "=", "\x01", "🥶", "${env.HOME}", "a\tb", "é", '"', "/* */", "-- x"]
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=20),
    st.text(st.sampled_from("\\,= '\"%a冷\n"), min_size=1, max_size=12),
)  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(box_name=NAMES, names=st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=12, unique=True))
def test_any_name_comes_back_as_it_was(store: SeriesStore, box_name: str, names: list[tuple[str, str]]) -> None:
    unique = f"{uuid.uuid4().hex}{box_name}"
    keys = [SeriesKey(unique, sensor, quantity) for sensor, quantity in names]
    written = {of: Point(*of, AT_MS + number, float(number), "good") for number, of in enumerate(keys)}
    assert store.write(list(written.values())) == []
    assert set(store.extents(unique)) == set(keys)
    for of, point in written.items():
        assert everything(store, of) == [point]


@settings(max_examples=15, deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_any_number_comes_back_to_the_last_bit(store: SeriesStore, values: list[float]) -> None:
    of = key(f"box-{uuid.uuid4().hex}")
    written = points(of, values)
    assert store.write(written) == []
    assert [point.value for point in everything(store, of)] == values
