"""The way from the journal to InfluxDB: nothing lost and nothing doubled, whoever is killed."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from telemetry.messages import Reading
from tests.series_servers import InfluxServer
from tests.server.centre import AT, Box, Centre, is_problem, reading, run_cli, run_here
from tests.waiting import wait_for

AT_MS = round(AT.timestamp() * 1000)


def status(data: Path) -> dict[str, object]:
    done = run_here("series", "status", "--json", "--data", str(data))
    found: dict[str, object] = json.loads(done.stdout)
    return found


def rows(influxd: InfluxServer, box: Box) -> list[list[object]]:
    """Time, quality and value of all points of a box, as InfluxDB holds them."""
    (result,) = influxd.query(f"SELECT * FROM \"reading\" WHERE box_id = '{box.box_id}' ORDER BY time")
    series = result.get("series", [{"columns": [], "values": []}])
    assert isinstance(series, list)
    places = (
        [series[0]["columns"].index(name) for name in ("time", "value", "sensor_id")] if series[0]["columns"] else []
    )
    return [[row[place] for place in places] for row in series[0]["values"]]


def expected(readings: list[Reading]) -> list[list[object]]:
    return [[round(item.observed_at.timestamp() * 1000), item.value, item.sensor_id] for item in readings]


def verify(data: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(run_here("verify", "--json", "--data", str(data)).stdout)
    return found


def test_readings_reach_influxdb_the_chart_the_api_and_the_proof(influx_centre: Centre, influxd: InfluxServer) -> None:
    box, staff = influx_centre.box(), influx_centre.person("staff", "Canteen A")
    regulator = influx_centre.person("regulator")
    alert_id = box.raise_alert(staff)
    given = [reading(float(number) if number != 3 else None, number) for number in range(50)]
    assert box.send(box.seal("readings", given)).is_success
    wait_for("the points arrive", lambda: rows(influxd, box) == expected(given))
    with sqlite3.connect(influx_centre.data / "record.sqlite") as db:
        assert db.execute("SELECT count(*) FROM series_point").fetchone() == (0,)
    db.close()
    series = staff.get(
        f"/api/v1/alerts/{alert_id}/series", params={"start": AT.isoformat(), "end": "2026-01-02T04:00:00Z"}
    )
    assert [value for _, value in series.json()["points"]] == [item.value for item in given]
    assert '<polyline class="series"' in staff.get(f"/alerts/{alert_id}").text
    assert regulator.get(f"/api/v1/boxes/{box.box_id}/stats").json()["points"] == 50
    found = influx_centre.verified()
    assert (found["problems"], found["gaps"], found["points"]) == ([], [], 50)


@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_of_database_and_centre_lose_and_double_nothing(
    influx_centre: Centre, influxd: InfluxServer, kills: int
) -> None:
    """Points flow all the time; each round kills one of the two at a random moment and lets it come back."""
    box, dice = influx_centre.box(), random.Random(kills)
    sent: list[Reading] = []

    def send(count: int) -> None:
        for _ in range(count):
            batch = [reading(float(number), len(sent) + number) for number in range(400)]
            frame = box.seal("readings", batch)
            sent.extend(batch)

            def taken(frame: bytes = frame) -> bool:
                try:
                    return box.send(frame).is_success
                except httpx.TransportError:
                    return False

            wait_for("the centre takes the batch", taken, 60)

    for round_number in range(kills):
        sender = threading.Thread(target=send, args=(12,))
        sender.start()
        sender.join(dice.uniform(0, 0.4))
        if round_number % 2:
            influx_centre.kill()
            influx_centre.restart()
        else:
            influxd.kill()
            influxd.start()
        sender.join(60)
        assert not sender.is_alive()
    wait_for("all points arrive", lambda: len(rows(influxd, box)) >= len(sent), 60)
    assert rows(influxd, box) == expected(sent)
    found = influx_centre.verified()
    assert (found["problems"], found["gaps"], found["points"]) == ([], [], len(sent))


def test_while_the_database_is_away_boxes_are_served_and_pages_say_so(
    influx_centre: Centre, influxd: InfluxServer
) -> None:
    box, staff = influx_centre.box(), influx_centre.person("staff", "Canteen A")
    alert_id = box.raise_alert(staff)
    influxd.kill()
    try:
        given = [reading(float(number), number) for number in range(10)]
        assert box.send(box.seal("readings", given)).is_success
        answer = staff.get(f"/api/v1/alerts/{alert_id}/series")
        assert (answer.status_code, is_problem(answer), answer.json()["code"]) == (503, True, "series")
        page = staff.get(f"/alerts/{alert_id}", headers={"accept-language": "en"})
        assert (page.status_code, "Nothing is lost" in page.text) == (200, True)
        behind = status(influx_centre.data)
        assert (behind["batches_behind"], behind["readings_behind"], behind["problems"]) == (1, 10, [])
        done = run_here("verify", "--data", str(influx_centre.data))
        assert (done.returncode, "does not answer" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    finally:
        influxd.start()
    wait_for("the points arrive", lambda: rows(influxd, box) == expected(given), 60)
    wait_for("the carrier is told", lambda: status(influx_centre.data)["batches_behind"] == 0)


def test_a_point_that_influxdb_cannot_keep_is_named_and_the_rest_goes_on(
    influx_centre: Centre, influxd: InfluxServer
) -> None:
    box = influx_centre.box()
    good = [reading(float(number), number) for number in range(20)]
    bad = reading(1.0, 400 * 366 * 86_400)  # the year 2426
    assert box.send(box.seal("readings", [*good[:10], bad, *good[10:]])).is_success
    later = [reading(5.0, 100)]
    assert box.send(box.seal("readings", later)).is_success
    wait_for("the good points arrive", lambda: rows(influxd, box) == expected([*good, *later]))
    wait_for("the problem is recorded", lambda: status(influx_centre.data)["refused"] == 1)
    told = run_here("series", "status", "--data", str(influx_centre.data))
    assert told.returncode == 1
    assert "cold-1 temperature at 14416283045000" in told.stdout
    assert "1970 to 2262" in told.stdout
    found = verify(influx_centre.data)
    assert found["problems"] == []
    assert [line for line in found["gaps"] if "cold-1" in line and "refused" in line]


def test_a_damaged_database_is_found_and_rebuilt_while_the_centre_serves(
    influx_centre: Centre, influxd: InfluxServer
) -> None:
    box, data = influx_centre.box(), influx_centre.data
    given = [reading(float(number), number) for number in range(30)]
    assert box.send(box.seal("readings", given)).is_success
    wait_for("the points arrive", lambda: rows(influxd, box) == expected(given))
    tags = f"box_id={box.box_id},quantity=temperature,sensor_id=cold-1"
    influxd.query(f'DELETE FROM "reading" WHERE time = {AT_MS + 3000}ms')
    influxd.write(f"reading,{tags} value=-99 {AT_MS + 5000}")
    influxd.write(f"reading,{tags} value=4,quality=192i {AT_MS + 5500}")
    influxd.write(f"reading,box_id=nobody,quantity=q,sensor_id=s value=4,quality=192i {AT_MS}")
    problems = verify(data)["problems"]
    assert len(problems) == 4, problems
    for said in (
        "is in a batch but not in the series",
        "-99.0 is in no batch",
        f"at {AT_MS + 5500}: 4.0",
        "point s at",
    ):
        assert any(said in line for line in problems), (said, problems)
    assert run_cli("series", "rebuild", "--data", str(data)).stdout.endswith("0 behind (0 readings), 0 refused\n")
    assert verify(data)["problems"] == []
    assert rows(influxd, box) == expected(given)


def test_a_damaged_series_in_the_record_is_rebuilt(data: Path) -> None:
    centre = Centre(data)
    try:
        box = centre.box()
        given = [reading(float(number), number) for number in range(30)]
        assert box.send(box.seal("readings", given[:20]), box.seal("readings", given[20:])).is_success
        before = centre.dump()["series_point"]
        with sqlite3.connect(data / "record.sqlite") as db:
            db.execute("DELETE FROM series_point WHERE value < 5")
            db.execute("UPDATE series_point SET value = -99 WHERE value = 7")
            db.execute("INSERT INTO series_point VALUES ('nobody', 's', 'q', 1, 2.0, 'good')")
        db.close()
        assert len(verify(data)["problems"]) == 7
        run_here("series", "rebuild", "--data", str(data))
        assert centre.dump()["series_point"] == before
        assert verify(data)["problems"] == []
    finally:
        assert centre.stop() == 0


@pytest.mark.slow
def test_moving_to_influxdb_and_back_takes_everything_along(influx_data: Path, influxd: InfluxServer) -> None:
    settings = (influx_data / "series.yaml").read_text("utf-8")
    (influx_data / "series.yaml").unlink()
    given: list[Reading] = []
    centre = Centre(influx_data)
    box = centre.box()

    def send(count: int) -> None:
        batch = [reading(float(number), len(given) + number) for number in range(count)]
        given.extend(batch)
        assert box.send(box.seal("readings", batch)).is_success

    try:
        send(10)
        assert centre.stop() == 0
        (influx_data / "series.yaml").write_text(settings, "utf-8")
        centre.restart()
        send(20)
        wait_for("old and new points arrive", lambda: rows(influxd, box) == expected(given))
        assert centre.stop() == 0
        (influx_data / "series.yaml").unlink()
        assert verify(influx_data)["gaps"] == ["series: 20 readings are on the way to record"]
        centre.restart()
        send(5)
        assert len(centre.dump()["series_point"]) == len(given)
        assert centre.dump()["series_cursor"][0][0].startswith("influxdb1 ")
    finally:
        assert centre.stop() == 0
    assert (verify(influx_data)["problems"], verify(influx_data)["gaps"]) == ([], [])


def test_a_batch_whose_bytes_are_damaged_does_not_stop_the_rest(data: Path) -> None:
    centre = Centre(data)
    try:
        box = centre.box()
        for number in range(3):
            assert box.send(box.seal("readings", [reading(float(number), number)])).is_success
    finally:
        assert centre.stop() == 0
    with sqlite3.connect(data / "record.sqlite") as db:
        (raw,) = db.execute("SELECT raw FROM batch WHERE seq = 2").fetchone()
        db.execute("UPDATE batch SET raw = ? WHERE seq = 2", (raw[:-1] + bytes([raw[-1] ^ 1]),))
    db.close()
    done = run_here("series", "rebuild", "--data", str(data))
    assert (done.returncode, "missing  batch 2: signature" in done.stdout) == (1, True), done.stdout
    with sqlite3.connect(data / "record.sqlite") as db:
        assert db.execute("SELECT value FROM series_point ORDER BY value").fetchall() == [(0.0,), (2.0,)]
    db.close()


def test_a_correction_that_comes_late_moves_the_points_in_influxdb(
    influx_centre: Centre, influxd: InfluxServer
) -> None:
    box = influx_centre.box()
    told = [reading(float(number), number).model_copy(update={"clock_synced": False}) for number in range(20)]
    assert box.send(box.seal("readings", told)).is_success
    wait_for("the points arrive as told", lambda: rows(influxd, box) == expected(told))
    right = [item.model_copy(update={"observed_at": item.observed_at + timedelta(seconds=10)}) for item in told]
    correction = box.event("clock_corrected", data={"boot_id": "boot", "offset_s": 10.0})
    assert box.send(box.seal("events", [correction])).is_success
    wait_for("the points are put right", lambda: rows(influxd, box) == expected(right))
    assert verify(influx_centre.data)["problems"] == []
