"""InfluxDB when things go wrong, and VictoriaMetrics' write path: real servers, each ended with the test module."""

from __future__ import annotations

import json
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pydantic import SecretStr

from server.series.port import Point, SeriesKey, SeriesStore, SeriesUnavailable
from server.series.settings import Influx1Series, Influx2Series
from server.series.stores import CONNECTIONS_MAX, open_influx
from tests.series_servers import DATABASE, PASSWORD, USER, InfluxServer, V2Front, VictoriaServer, free_port
from tests.waiting import wait_for

AT_MS = 1_767_323_045_678


@pytest.fixture(params=["influxdb1", "influxdb2"])
def store(influxd: InfluxServer, request: pytest.FixtureRequest) -> Iterator[SeriesStore]:
    if request.param == "influxdb1":
        opened = open_influx(settings_of(influxd.url))
        yield opened
        opened.close()
        return
    front = V2Front(influxd)
    opened = open_influx(
        Influx2Series(type="influxdb2", url=front.url, bucket=DATABASE, token=SecretStr(PASSWORD), timeout_s=10)
    )
    yield opened
    opened.close()
    front.close()


def settings_of(url: str, password: str = PASSWORD, database: str = DATABASE, timeout_s: float = 10) -> Influx1Series:
    return Influx1Series(
        type="influxdb1", url=url, database=database, username=USER, password=SecretStr(password), timeout_s=timeout_s
    )


def points(count: int = 3) -> list[Point]:
    box = f"box-{uuid.uuid4().hex}"
    return [Point(box, "cold-1", "temperature", AT_MS + number, float(number), "good") for number in range(count)]


def stored(store: SeriesStore, of: SeriesKey) -> list[Point]:
    return list(store.range(of, AT_MS - 1000, AT_MS + 100_000))


def test_points_that_influxdb_refuses_are_given_back_and_all_others_are_stored(
    influxd: InfluxServer, store: SeriesStore
) -> None:
    influxd.query(f'ALTER RETENTION POLICY "autogen" ON "{DATABASE}" DURATION 520w')
    good = points(300)
    too_old = [good[0]._replace(at_ms=AT_MS - 11 * 365 * 86_400_000 - number) for number in range(2)]
    mixed = [*good[:7], too_old[0], *good[7:200], too_old[1], *good[200:]]
    try:
        refused = store.write(mixed)
    finally:
        influxd.query(f'ALTER RETENTION POLICY "autogen" ON "{DATABASE}" DURATION INF')
    assert [item.point for item in refused] == too_old
    assert all("retention policy" in item.reason for item in refused)
    assert stored(store, good[0].key) == good


def test_times_that_no_influxdb_can_keep_are_given_back_without_asking_it(store: SeriesStore) -> None:
    good = points()
    never = [good[0]._replace(at_ms=at_ms) for at_ms in (-1, 9_300_000_000_000, 221_845_392_000_000)]
    refused = store.write([never[0], good[0], never[1], *good[1:], never[2]])
    assert [item.point for item in refused] == never
    assert all("1970 to 2262" in item.reason for item in refused)
    assert stored(store, good[0].key) == good


def test_a_field_of_another_type_is_named_as_the_reason(influxd: InfluxServer) -> None:
    influxd.query('CREATE DATABASE "typed"')
    influxd.query(f'GRANT ALL ON "typed" TO {USER}')
    first = {"db": "typed", "precision": "ms"}
    line = f'reading,box_id=b,quantity=q,sensor_id=s value="text" {AT_MS}'
    root = ("root", "another long password")
    assert httpx.post(f"{influxd.url}/write", params=first, content=line, auth=root).status_code == 204
    store = open_influx(settings_of(influxd.url, database="typed"))
    given = points(3)
    refused = store.write(given)
    store.close()
    assert [item.point for item in refused] == given
    assert "field type conflict" in refused[0].reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"password": "wrong"}, "401"), ({"database": "nowhere"}, "40")],
    ids=["wrong password", "no such database"],
)
def test_what_an_operator_can_mend_is_no_refusal(influxd: InfluxServer, changes: dict[str, str], said: str) -> None:
    store = open_influx(settings_of(influxd.url, **changes))
    try:
        with pytest.raises(SeriesUnavailable, match=said) as writing:
            store.write(points())
        with pytest.raises(SeriesUnavailable) as reading:
            store.extents()
    finally:
        store.close()
    assert "wrong" not in str(writing.value) + str(reading.value)


def test_a_server_that_answers_400_to_everything_condemns_no_point() -> None:
    """Such as a TLS server that is spoken to without TLS."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(400)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = HTTPServer(("127.0.0.1", 0), Refuses)
    thread = Thread(target=server.serve_forever)
    thread.start()
    store = open_influx(settings_of(f"http://127.0.0.1:{server.server_address[1]}"))
    try:
        with pytest.raises(SeriesUnavailable, match="refuses every point"):
            store.write(points(20))
    finally:
        store.close()
        server.shutdown()
        thread.join(30)
        server.server_close()


@pytest.mark.parametrize("kind", ["influxdb1", "influxdb2"])
def test_nobody_there_is_unavailable_for_reads_and_writes(kind: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    store = open_influx(
        settings_of(url) if kind == "influxdb1" else Influx2Series(type="influxdb2", url=url, bucket="b", timeout_s=10)
    )
    calls = (lambda: store.write(points()), store.extents, store.clear, lambda: stored(store, points()[0].key))
    for call in calls:
        with pytest.raises(SeriesUnavailable, match="does not answer"):
            call()
    store.close()


@pytest.mark.parametrize("kind", ["influxdb1", "influxdb2"])
def test_a_server_that_hangs_is_given_up(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = open_influx(
            settings_of(url, timeout_s=0.3)
            if kind == "influxdb1"
            else Influx2Series(type="influxdb2", url=url, bucket="b", timeout_s=0.3)
        )
        with pytest.raises(SeriesUnavailable):
            store.write(points())
        with pytest.raises(SeriesUnavailable):
            store.extents()
        store.close()


def test_a_database_that_hangs_holds_up_few_callers() -> None:
    """Each page is a thread of the centre: beyond eight of them the next is told at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(CONNECTIONS_MAX) as threads:
        silent.settimeout(30)
        store = open_influx(settings_of(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=8))
        held = [threads.submit(store.extents) for _ in range(CONNECTIONS_MAX)]
        connections = [silent.accept()[0] for _ in held]
        begun_s = time.monotonic()
        with pytest.raises(SeriesUnavailable, match="PoolTimeout"):
            store.extents()
        assert time.monotonic() - begun_s < 7
        for connection in connections:
            connection.close()
        assert all(isinstance(future.exception(30), SeriesUnavailable) for future in held)
        store.close()


def test_a_stopped_database_takes_the_points_once_it_goes_on(influxd: InfluxServer) -> None:
    store = open_influx(settings_of(influxd.url, timeout_s=0.5))
    given = points()
    influxd.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(SeriesUnavailable):
            store.write(given)
    finally:
        influxd.process.send_signal(signal.SIGCONT)

    def written() -> bool:
        try:
            return store.write(given) == []
        except SeriesUnavailable:
            return False

    wait_for("the database goes on", written)
    assert stored(store, given[0].key) == given
    store.close()


def test_what_is_acknowledged_survives_kill_9_of_influxd(influxd: InfluxServer) -> None:
    store = open_influx(settings_of(influxd.url))
    given = points(5000)
    assert store.write(given) == []
    influxd.kill()
    influxd.start()
    assert stored(store, given[0].key) == given
    store.close()


def test_victoriametrics_takes_the_v2_write_path_and_keeps_every_number(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = VictoriaServer(tmp_path_factory.mktemp("victoria"))
    try:
        store = open_influx(Influx2Series(type="influxdb2", url=server.url, bucket=DATABASE, timeout_s=10))
        given = points(50)
        given[3] = given[3]._replace(value=None, quality="bad")
        given[4] = given[4]._replace(quality="suspect")
        for _ in range(2):
            assert store.write(given) == []
        store.close()

        def exported(field: str) -> dict[int, float]:
            httpx.get(f"{server.url}/internal/force_flush", timeout=30)
            match = f'reading_{field}{{box_id="{given[0].box_id}",sensor_id="cold-1",quantity="temperature"}}'
            answer = httpx.get(f"{server.url}/api/v1/export", params={"match[]": match}, timeout=30)
            found: dict[int, float] = {}
            for line in answer.text.splitlines():
                row = json.loads(line)
                found.update(zip(row["timestamps"], row["values"], strict=True))
            return found

        values = {point.at_ms: point.value for point in given if point.value is not None}
        codes = {point.at_ms: 192 for point in given} | {given[3].at_ms: 256, given[4].at_ms: 64}
        wait_for("every value is stored", lambda: exported("value") == values)
        wait_for("every quality is stored", lambda: exported("quality") == codes)
    finally:
        server.stop()
