"""Two replicas of the centre on one PostgreSQL: they share the work, and neither loses anything with the other."""

from __future__ import annotations

import base64
import json
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from server.cli import main
from server.database import make_engine
from server.models import AlertMove, SeriesPoint, StoredBatch, User
from server.shared_keys import SHARED
from telemetry.batch import sha256_hex
from tests.postgres_server import PostgresServer, settings_of
from tests.receivers import WAIT_S, HttpReceiver, Request
from tests.server.centre import Centre, Person, picture, reading, run_cli
from tests.server.test_stream import listening, next_alert
from tests.waiting import wait_for

BATCHES = 60
KILLED_AFTER = 20


@pytest.fixture(scope="module")
def receiver() -> Iterator[HttpReceiver]:
    """Where people's notices and the events for an upper-level platform go."""
    made = HttpReceiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def replicas(
    postgres: PostgresServer, receiver: HttpReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Centre, Centre]]:
    """Both are started at once on an empty database: one migrates it, the other waits for that."""
    folder = tmp_path_factory.mktemp("replicas")
    hook = {"name": "city", "url": f"{receiver.url}/hook", "secrets": [{"file": "secret"}]}
    told = {"trusted_hosts": [receiver.host], "lease_s": 2, "webhooks": [hook]}
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "notification.yaml").write_text(json.dumps(told))
        (folder / name / "secret").write_text("whsec_" + base64.b64encode(b"k" * 32).decode())
    for name, make in SHARED.items():  # as an operator copies them
        make(folder / "a")
        shutil.copy(folder / "a" / name, folder / "b")
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


def test_a_third_replica_without_the_keys_is_told_what_to_copy_where(
    replicas: tuple[Centre, Centre], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(replicas[0].data / "centre.yaml", tmp_path)
    assert main(["check", "--data", str(replicas[1].data)]) == 0
    capsys.readouterr()
    assert main(["check", "--data", str(tmp_path)]) == 1
    told = [line.removeprefix("WRONG key: ") for line in capsys.readouterr().out.splitlines() if "WRONG" in line]
    assert len(told) == len(SHARED)
    assert f"to {tmp_path}/instance.key, for its owner alone" in told[1]
    assert main(["serve", "--port", "0", "--insecure-cookies", "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"brightline-server: {chr(10).join(told)}\n"


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


def decide_all(person: Person, kind: str, alert_ids: list[int], urls: list[str], answered: dict[int, str]) -> None:
    """Ask for the same decision on each alert until somebody answers, and note in *answered* which were done."""
    with httpx.Client(timeout=30, cookies=dict(person.cookies), headers=person.csrf) as client:
        for alert_id in alert_ids:

            def decided(alert_id: int = alert_id) -> httpx.Response | None:
                try:
                    path = f"/api/v1/alerts/{alert_id}/moves/{kind}"
                    return client.post(urls[0] + path, data={"note": "seen"})
                except httpx.TransportError:
                    urls.reverse()
                    return None

            answer = wait_for(f"a decision on alert {alert_id}", decided)
            assert answer is not None
            assert answer.status_code in (200, 409), answer.text
            if answer.status_code == 200:
                answered[alert_id] = person.name


def submitted(centre: Centre, staff: Person, count: int) -> list[int]:
    """Alerts whose repair waits for its review."""
    box = centre.box("Canteen R")
    alert_ids = [box.raise_alert(staff) for _ in range(count)]
    for alert_id in alert_ids:
        photo = picture(uuid.uuid4().int)
        assert staff.submit(alert_id, photo).status_code == 201
    return alert_ids


@pytest.mark.parametrize("count", [8, pytest.param(80, marks=pytest.mark.slow)])
def test_a_killed_replica_loses_no_decision_takes_none_twice_and_every_change_is_told(
    replicas: tuple[Centre, Centre], receiver: HttpReceiver, count: int
) -> None:
    a, b = replicas
    staff, accepts, rejects = b.person("staff", "Canteen R"), b.person("regulator"), b.person("regulator")
    path = f"/notices/{staff.name}"
    address = {"kind": "json", "address": f"{receiver.url}{path}", "csrf": staff.csrf["x-csrf-token"]}
    assert staff.post("/me/notifications", data=address).status_code == 303
    alert_ids = submitted(b, staff, count)
    killed = threading.Event()

    def hold(_: Request) -> None:
        assert killed.wait(WAIT_S)  # whoever sends now, sends when replica A is killed

    receiver.on_request = hold
    by_a: dict[int, str] = {}
    by_b: dict[int, str] = {}
    with ThreadPoolExecutor(2) as threads:
        work = [
            threads.submit(decide_all, accepts, "accept", alert_ids, [a.url, b.url], by_a),
            threads.submit(decide_all, rejects, "reject", alert_ids[::-1], [b.url, a.url], by_b),
        ]
        wait_for("replica A has decided something", lambda: len(by_a) >= 2)
        a.kill()
        killed.set()
        for one in work:
            one.result()
    receiver.on_request = lambda _: None
    try:
        check_decisions(b, receiver, alert_ids, by_a, by_b)
        subjects = {f"alerts/{alert_id}" for alert_id in alert_ids}
        items = list(receiver.inbox.items)
        hooks = [item for item in items if item.path == "/hook" and item.json()["subject"] in subjects]
        check_doubles([item.headers["webhook-id"] for item in hooks])
        check_doubles([item.headers["idempotency-key"] for item in items if item.path == path])
    finally:
        a.restart()


def check_decisions(
    b: Centre, receiver: HttpReceiver, alert_ids: list[int], by_a: dict[int, str], by_b: dict[int, str]
) -> None:
    """While replica B is alone."""
    assert not by_a.keys() & by_b.keys(), "nobody is told of a decision that another made"
    answered = {**by_a, **by_b}
    decisions = decisions_of(b, alert_ids)
    assert Counter(alert_id for alert_id, _, _ in decisions) == Counter(alert_ids), "one for each, and none twice"
    assert {alert_id: name for alert_id, _, name in decisions if alert_id in answered} == answered
    wanted = {(f"alerts/{alert_id}", move) for alert_id, move, _ in decisions}
    wait_for("every decision is told", lambda: wanted <= set(told_of(receiver)))


def check_doubles(keys: list[str]) -> None:
    """Of one receiver at most the message that was under way comes again, once, under its own key."""
    assert sorted(Counter(keys).values())[:-1] == [1] * (len(set(keys)) - 1)
    assert keys
    assert max(Counter(keys).values()) <= 2


def decisions_of(centre: Centre, alert_ids: list[int]) -> list[tuple[int, str, str]]:
    """Alert, move and who, from the record."""
    engine = make_engine(centre.settings)
    query = select(AlertMove.alert_id, AlertMove.move, User.username).join(User, User.id == AlertMove.user_id)
    query = query.where(AlertMove.alert_id.in_(alert_ids), AlertMove.move.in_(("accept", "reject")))
    with engine.connect() as db:
        found = [(row[0], row[1], row[2]) for row in db.execute(query)]
    engine.dispose()
    return found


def told_of(receiver: HttpReceiver) -> list[tuple[str, str]]:
    """Subject and change of the events that the platform was sent."""
    hooks = [item.json() for item in list(receiver.inbox.items) if item.path == "/hook"]
    return [(item["subject"], item["type"].split(".")[2]) for item in hooks]


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
