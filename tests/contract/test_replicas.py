"""Two replicas of the centre on one PostgreSQL: they share the work, and neither loses anything with the other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from server.database import make_engine
from server.models import SeriesPoint, StoredBatch
from telemetry.batch import sha256_hex
from tests.postgres_server import PostgresServer, settings_of
from tests.server.centre import Centre, reading, run_cli
from tests.server.test_stream import listening, next_alert
from tests.waiting import wait_for

BATCHES = 60
KILLED_AFTER = 20


@pytest.fixture(scope="module")
def replicas(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Centre, Centre]]:
    """Both are started at once on an empty database: one migrates it, the other waits for that."""
    folder = tmp_path_factory.mktemp("replicas")
    text = settings_of(postgres.new_record()) + f"blobs: {{type: folder, folder: {folder / 'pictures'}}}\n"
    with ThreadPoolExecutor(2) as threads:
        a, b = threads.map(lambda name: Centre(folder / name, text), ("a", "b"))
    yield a, b
    assert [centre.stop() for centre in (a, b)] == [0, 0]


def test_a_page_on_one_replica_hears_what_the_other_takes_and_decides(replicas: tuple[Centre, Centre]) -> None:
    a, b = replicas
    here, there = a.person("staff", "Canteen A"), b.person("regulator")
    with listening(here) as lines:
        b.box("Canteen B").send_event()
        box = b.box("Canteen A")
        alert_id = box.raise_alert(there, incident_id="seen-by-a-camera")
        assert next_alert(lines) == {"id": alert_id, "state": "open"}, "once, and nothing of another site"
        assert there.move(alert_id, "acknowledge").status_code == 200
        assert next_alert(lines) == {"id": alert_id, "state": "acknowledged"}
        assert (
            box.send_evidence(box.evidence(b"picture", "seen-by-a-camera"), sha256_hex(b"picture")).status_code == 201
        )
        assert next_alert(lines) == {"id": alert_id, "state": "acknowledged"}, "and of its picture"
        assert here.move(a.box("Canteen A").raise_alert(there), "acknowledge").status_code == 200
        assert [next_alert(lines)["state"] for _ in range(2)] == ["open", "acknowledged"], "its own once as well"


def send_all(batches: list[bytes], urls: list[str], at: Path) -> None:
    """Send each batch until somebody gives its receipt, to the first address that answers; count them in *at*."""
    with httpx.Client(timeout=30) as client:
        for number, raw in enumerate(batches):

            def taken(raw: bytes = raw) -> bool:
                try:
                    answer = client.post(f"{urls[0]}/api/v1/batches", content=raw)
                except httpx.TransportError:
                    urls.reverse()
                    return False
                return answer.status_code == 200 and answer.json()["receipts"][0]["status"] in ("accepted", "duplicate")

            wait_for(f"a receipt for batch {number}", taken)
            at.write_text(str(number + 1), "ascii")


def test_a_killed_replica_loses_nothing_and_stores_nothing_twice(
    replicas: tuple[Centre, Centre], tmp_path: Path
) -> None:
    a, b = replicas
    box = a.box()
    batches = [box.seal("readings", [reading(4.0, number)]) for number in range(BATCHES)]
    batches += [box.seal("events", [box.event(incident_id=f"killed-{uuid.uuid4().hex}")]) for _ in range(5)]
    marks = [tmp_path / "to-a-first", tmp_path / "to-b-first"]
    for mark in marks:
        mark.write_text("0", "ascii")
    with ThreadPoolExecutor(2) as threads:
        sending = [
            threads.submit(send_all, batches, [a.url, b.url], marks[0]),
            threads.submit(send_all, batches, [b.url, a.url], marks[1]),
        ]
        wait_for("replica A is at work", lambda: int(marks[0].read_text("ascii") or 0) >= KILLED_AFTER)
        a.kill()
        for one in sending:
            one.result()
    engine = make_engine(b.settings)
    with engine.connect() as db:
        mine = StoredBatch.box_id == box.box_id
        assert db.scalar(select(func.count()).select_from(StoredBatch).where(mine)) == len(batches)
        points = select(func.count()).select_from(SeriesPoint).where(SeriesPoint.box_id == box.box_id)
        assert db.scalar(points) == BATCHES
    engine.dispose()
    found = json.loads(run_cli("verify", "--json", "--data", str(b.data)).stdout)
    gaps = [gap for gap in found["gaps"] if not gap.startswith("log: ")]  # the newest rows may wait for their leaf
    assert (found["problems"], gaps) == ([], [])
    a.restart()


def test_after_the_database_was_away_open_pages_load_anew_and_hear_again(
    replicas: tuple[Centre, Centre], postgres: PostgresServer
) -> None:
    a, b = replicas
    person = a.person("regulator")
    with listening(person) as lines:
        postgres.restart()
        assert not [line for line in lines if line.startswith("data")], "the stream ends, so the page loads anew"
    box = b.box()
    with listening(person) as lines:
        alert_id = box.raise_alert(person)
        assert next_alert(lines)["id"] == alert_id
