"""One suite for the record in SQLite and in PostgreSQL: through the real door of a centre that keeps it there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from server.database import make_engine, writing
from telemetry.batch import sha256_hex
from telemetry.key_change import sign_change
from telemetry.signing import Signer
from tests.postgres_server import PostgresServer, settings_of
from tests.server.centre import AT, PASSWORD, Box, Centre, Person, picture, reading, run_cli, run_here
from tests.server.oidc.browser import callback_of
from tests.server.oidc.identity_provider import CLIENT, SECRET, IdentityProvider
from tests.server.reports.kitchen import MAKING_S, furnish

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    made = IdentityProvider()
    yield made
    made.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def centre(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    idp: IdentityProvider,
    font_settings: str,
) -> Iterator[Centre]:
    data = tmp_path_factory.mktemp("centre") / "data"
    data.mkdir()
    (data / "client-secret").write_text(f"{SECRET}\n", "utf-8")
    settings = font_settings + (
        f"oidc: {{issuer: '{idp.issuer}', client_id: '{CLIENT}', client_secret: {{file: client-secret}}, "
        f"name: City ID, public_url: 'https://centre.example', trusted_hosts: ['{idp.host}']}}\n"
    )
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        settings += settings_of(server.ready_record())
    running = Centre(data, settings)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def regulator(centre: Centre) -> Person:
    return centre.person("regulator")


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """All of them beside each other."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]


def statuses(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [receipt["status"] for receipt in answer.json()["receipts"]]


def stats(viewer: Person, box: Box) -> dict[str, int]:
    found: dict[str, int] = viewer.get(f"/api/v1/boxes/{box.box_id}/stats").json()
    return found


def test_batches_count_once_and_other_bytes_are_a_conflict(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    frames = [box.seal("readings", [reading(4, 0), reading(5, 1)]), box.seal("events", [box.event()])]
    assert statuses(box.send(*frames)) == ["accepted", "accepted"]
    assert statuses(box.send(*frames)) == ["duplicate", "duplicate"]
    other = box.seal("readings", [reading(9, 2)], seq=1, previous_sha256="0" * 64)
    assert statuses(box.send(other)) == ["rejected"]
    found = stats(regulator, box)
    assert (found["readings"], found["points"], found["events"], found["alerts"]) == (2, 2, 1, 1)


def test_a_batch_sent_at_once_by_many_is_taken_once(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    raws = [box.seal("readings", [reading(4, number)]) for number in range(3)]
    raws.append(box.seal("events", [box.event()]))
    for raw in raws:
        found = at_once([lambda raw=raw: statuses(box.send(raw))[0]] * 6)
        assert sorted(found) == ["accepted", *["duplicate"] * 5]
    assert stats(regulator, box)["alerts"] == 1


def test_one_incident_told_at_once_by_many_boxes_is_an_alert_of_each(centre: Centre, regulator: Person) -> None:
    boxes = [centre.box(f"Canteen {number}") for number in range(4)]
    raws = [box.seal("events", [box.event(incident_id="told-by-many")]) for box in boxes]
    found = at_once([lambda box=box, raw=raw: statuses(box.send(raw)) for box, raw in zip(boxes, raws, strict=True)])
    assert found == [["accepted"]] * 4
    assert [stats(regulator, box)["alerts"] for box in boxes] == [1] * 4


def test_what_boxes_tell_at_once_is_all_there(centre: Centre, regulator: Person) -> None:
    boxes = [centre.box() for _ in range(4)]
    raws = [[box.seal("readings", [reading(4, number)]) for number in range(8)] for box in boxes]
    sent = at_once(
        [
            lambda box=box, mine=mine: [statuses(box.send(raw)) for raw in mine]
            for box, mine in zip(boxes, raws, strict=True)
        ]
    )
    assert sent == [[["accepted"]] * 8] * 4
    assert [stats(regulator, box)["points"] for box in boxes] == [8] * 4


def test_a_key_that_changes_while_batches_come_is_changed_once_and_loses_none(centre: Centre) -> None:
    box = centre.box()
    old, news = box.signer, [Signer.generate() for _ in range(3)]
    raws = [box.seal("readings", [reading(4, number)]) for number in range(5)]

    def change(new: Signer) -> int:
        with centre.client() as client:
            said = sign_change(box.box_id, old, new, box.epoch).model_dump()
            return client.post("/api/v1/boxes/self/key", json=said).status_code

    asked: list[Callable[[], int]] = [partial(change, new) for new in news]
    found = at_once([*(lambda raw=raw: box.send(raw).status_code for raw in raws), *asked])
    assert (found[:5], sorted(found[5:])) == ([200] * 5, [200, 409, 409])
    box.signer = news[found[5:].index(200)]
    assert statuses(box.send(box.seal("readings", [reading(4, 5)]))) == ["accepted"]
    box.signer = old
    assert box.send(box.seal("readings", [reading(4, 6)])).json()["code"] == "replaced_key"


def test_what_is_missing_is_asked_for_until_the_box_tells_it(centre: Centre) -> None:
    box = centre.box()
    first, _, third = (box.seal("readings", [reading(4, number)]) for number in range(3))
    box.send(first, third)
    with centre.client(**{"brightline-ask-missing": "1"}) as client:
        asked = client.post("/api/v1/batches", content=third).json()["missing"]
        assert [(item["first_seq"], item["last_seq"]) for item in asked] == [(2, 2)]
        told = {"epoch": box.epoch, "lane": "readings", "first_seq": 2, "last_seq": 2, "reason": "lost"}
        box.send_event("data_gap", data=told)
        assert client.post("/api/v1/batches", content=third).json()["missing"] == []


def test_readings_of_a_wrong_clock_move_when_the_box_tells_by_how_much(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    unsure = [reading(4, number).model_copy(update={"clock_synced": False}) for number in range(3)]
    assert statuses(box.send(box.seal("readings", unsure))) == ["accepted"]
    alert_id = box.raise_alert(regulator)
    box.send_event("clock_corrected", data={"boot_id": "boot", "offset_s": 3600})
    span = {"start": AT.isoformat(), "end": AT.replace(hour=AT.hour + 2).isoformat()}
    points = regulator.get(f"/api/v1/alerts/{alert_id}/series", params=span).json()["points"]
    assert [point[0][11:19] for point in points] == ["04:04:05", "04:04:06", "04:04:07"]


def test_text_with_nul_and_the_largest_number_are_taken(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    event = box.event(data={"place": "a\x00b", "note": "c\x00d", "sensor_name": "冷\x00库"})
    raw = box.seal("events", [event], seq=2**53, previous_sha256="1" * 64)
    assert statuses(box.send(raw)) == ["accepted"]
    newest = regulator.get("/api/v1/alerts", params={"before": 2**53}).json()["alerts"][0]
    assert newest["incident_id"] == event.incident_id
    assert newest["data"]["note"] == "c\x00d", "what was signed is kept as it is"
    assert regulator.get(f"/api/v1/alerts/{2**53}").status_code == 404


def test_a_code_enrols_one_box_of_many_that_try_at_once(centre: Centre) -> None:
    code = centre.enrol_code()

    def enrol() -> int:
        with centre.client() as client:
            body = {"code": code, "public_key": Signer.generate().public_key_b64, "name": "box"}
            return client.post("/api/v1/enrol", json=body).status_code

    assert sorted(at_once([enrol] * 6)) == [201, *[403] * 5]


def test_of_many_decisions_at_once_one_counts(centre: Centre, regulator: Person) -> None:
    alert_id = centre.box().raise_alert(regulator)
    people = [centre.person("regulator") for _ in range(4)]
    found = at_once([lambda person=person: person.move(alert_id, "acknowledge").status_code for person in people])
    assert sorted(found) == [200, 409, 409, 409]
    moves = regulator.get(f"/api/v1/alerts/{alert_id}").json()["moves"]
    assert [move["move"] for move in moves] == ["raise", "acknowledge"]


def test_a_move_beside_news_of_the_same_alert_loses_neither(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    for number in range(5):
        incident = {"incident_id": f"busy-{box.box_id}-{number}"}
        alert_id = box.raise_alert(regulator, **incident)
        more = box.seal("events", [box.event("excursion_updated", **incident, data={"peak_c": 20.0 + number})])
        move = partial(regulator.move, alert_id, "acknowledge")
        sent, moved = at_once([partial(box.send, more), move])
        assert (sent.status_code, moved.status_code) == (200, 200)
        alert = regulator.get(f"/api/v1/alerts/{alert_id}").json()
        assert (alert["state"], alert["data"]["peak_c"]) == ("acknowledged", 20.0 + number)


def test_a_picture_sent_at_once_by_many_is_kept_once(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    blob = picture()
    event = box.send_event("violation_opened", data={"kind": "no_mask"})
    sealed = box.evidence(blob, event.incident_id)
    found = at_once([lambda: box.send_evidence(sealed, sha256_hex(blob)).status_code] * 4)
    assert found == [201] * 4
    assert regulator.get(f"/api/v1/evidence/{sha256_hex(blob)}").content == blob


def test_who_logs_out_is_out_and_guesses_at_once_lock_an_account(centre: Centre) -> None:
    person = centre.person("regulator", hasher=PasswordHasher())  # a real one's guesses overlap
    with centre.client() as client:
        body = {"username": person.name, "password": PASSWORD}
        csrf = client.post("/api/v1/login", data=body).json()["csrf_token"]
        assert client.get("/api/v1/alerts").status_code == 200
        assert client.post("/logout", data={"csrf": csrf}).status_code in (200, 303)
        assert client.get("/api/v1/alerts").status_code == 401

    def guess() -> int:
        with centre.client() as client:
            return client.post("/api/v1/login", data={"username": person.name, "password": "wrong wrong"}).status_code

    assert set(at_once([guess] * 5)) == {403}
    with centre.client() as client:
        assert client.post("/api/v1/login", data=body).json()["code"] == "wrong_login"  # though it is right
        nobody = {"username": "no\x00body", "password": PASSWORD}  # goes to the audit log, which is verified below
        assert client.post("/api/v1/login", data=nobody).status_code == 403


def test_a_report_is_signed_once_and_the_record_verifies(centre: Centre) -> None:
    kitchen = furnish(centre, picture)
    period = {"end": "2026-01-02T03:30:00Z"}
    seen = kitchen.draft(**period).json()["content_sha256"]
    codes = at_once([lambda: kitchen.sign(digest=seen, **period).status_code] * 2)
    assert sorted(codes) == [201, 409]
    number = kitchen.draft(**period).json()["number"]
    reviewed = kitchen.post(kitchen.regulator, number, "review", note="")
    assert reviewed.is_success, (reviewed.text, MAKING_S)
    found = json.loads(run_here("verify", "--json", "--data", str(centre.data)).stdout)
    assert found["problems"] == []
    assert (found["reports"], found["alerts_by_kind"]["no_mask"]) == (1, 1)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_entry SET actor_name = 'x'", "DELETE FROM audit_entry", "UPDATE audit_head SET seq = 0",
     "DELETE FROM audit_head"],
)  # fmt: skip
def test_the_database_itself_guards_the_audit_log(centre: Centre, regulator: Person, statement: str) -> None:
    engine = make_engine(centre.settings)
    with pytest.raises(DBAPIError, match="the audit log"), writing(engine).begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_one_event_told_at_once_by_many_is_stored_once_for_each(centre: Centre, regulator: Person) -> None:
    boxes = [centre.box() for _ in range(4)]
    event = boxes[0].event()
    raws = [box.seal("events", [event]) for box in boxes]
    found = at_once([partial(box.send, raw) for box, raw in zip(boxes, raws, strict=True)])
    assert [statuses(answer) for answer in found] == [["accepted"]] * 4
    assert [(told["events"], told["alerts"]) for told in (stats(regulator, box) for box in boxes)] == [(1, 1)] * 4


def test_a_row_that_somebody_changed_is_found(centre: Centre) -> None:
    box = centre.box()
    box.send(box.seal("readings", [reading(4.0)]))
    engine = make_engine(centre.settings)
    with writing(engine).begin() as connection:
        connection.execute(text("UPDATE series_point SET value = 3.5 WHERE box_id = :box"), {"box": box.box_id})
    found = run_here("verify", "--json", "--data", str(centre.data))
    assert found.returncode == 1
    assert any("3.5 is in no batch" in line for line in json.loads(found.stdout)["problems"])
    assert run_cli("series", "rebuild", "--data", str(centre.data)).returncode == 0
    engine.dispose()
    found = run_here("verify", "--json", "--data", str(centre.data))
    assert json.loads(found.stdout)["problems"] == []


def test_an_identity_linked_at_once_by_many_opens_one_account_and_each_callback_once(
    centre: Centre, idp: IdentityProvider
) -> None:
    idp.answers.subject = f"sub at {centre.url}"
    people = [centre.person("regulator") for _ in range(3)]
    links = []
    for person in people:
        form = {"csrf": person.csrf["x-csrf-token"], "password": PASSWORD}
        links.append(partial(person.get, callback_of(person.post("/oidc/link", data=form))))
    assert sorted(answer.status_code for answer in at_once(links)) == [303, 403, 403]
    with centre.client() as browser:
        callback = callback_of(browser.get("/oidc/login"))
        said = {"cookie": f"bl_oidc={browser.cookies['bl_oidc']}"}
        browser.cookies.clear()
        backs = at_once([partial(browser.get, callback, headers=said)] * 3)
        assert sorted(answer.status_code for answer in backs) == [303, 403, 403]
        session = next(answer for answer in backs if answer.status_code == 303).cookies["bl_session"]
        browser.cookies.clear()
        assert browser.get("/api/v1/alerts", headers={"cookie": f"bl_session={session}"}).status_code == 200
