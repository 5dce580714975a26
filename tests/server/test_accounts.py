"""People: what they must know to get in, and what each may see and do."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from argon2 import PasswordHasher

from server import accounts
from telemetry.batch import sha256_hex
from tests.server.centre import PASSWORD, Centre, Person, is_problem

Jpeg = Callable[..., bytes]


def try_login(centre: Centre, name: str, password: str, **headers: str) -> httpx.Response:
    with centre.client(**headers) as client:
        return client.post("/api/v1/login", data={"username": name, "password": password})


def change(centre: Centre, sql: str, *values: object) -> None:
    with sqlite3.connect(centre.data / "record.sqlite", timeout=30) as db:
        assert db.execute(sql, values).rowcount > 0
    db.close()


def test_passwords_and_sessions_are_kept_as_hashes_only(centre: Centre, staff: Person) -> None:
    files = b"".join(path.read_bytes() for path in centre.data.glob("record.sqlite*"))
    assert b"$argon2id$" in files
    assert PASSWORD.encode() not in files
    assert staff.cookies["bl_session"].encode() not in files


def test_five_wrong_passwords_lock_the_account_and_time_opens_it(centre: Centre) -> None:
    name = centre.person("regulator").name
    wrong = [try_login(centre, name, "wrong") for _ in range(5)]
    assert [(answer.status_code, answer.json()["code"]) for answer in wrong] == [(403, "wrong_login")] * 5
    assert try_login(centre, name, PASSWORD).json() == wrong[0].json()  # locked, and told in the same words
    change(centre, "UPDATE user SET locked_until = '2020-01-01 00:00:00.000000' WHERE username = ?", name)
    assert try_login(centre, name, PASSWORD).status_code == 200


def test_so_many_hashes_are_made_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_hashing", threading.BoundedSemaphore(1))
    with pytest.raises(accounts.LoginRefused, match="busy"), accounts._hashing:
        accounts.password_fits("never looked at", PASSWORD)
    assert not accounts.password_fits(accounts._dummy_hash(), PASSWORD)


def test_many_guesses_at_once_do_not_get_past_the_lock(centre: Centre) -> None:
    name = centre.person("regulator", hasher=PasswordHasher()).name  # a real one's guesses overlap
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: try_login(centre, name, "wrong"), range(12)))
    assert {answer.json()["code"] for answer in answers} == {"wrong_login"}
    with sqlite3.connect(centre.data / "record.sqlite", timeout=30) as db:
        (user_id,) = db.execute("SELECT id FROM user WHERE username = ?", [name]).fetchone()
        query = "SELECT count(*) FROM audit_entry WHERE action = 'login.failed' AND object_id = ?"
        assert db.execute(query, [str(user_id)]).fetchone() == (5,)
    db.close()


def test_a_right_password_starts_the_count_anew(centre: Centre) -> None:
    name = centre.person("regulator").name
    for _ in range(2):
        for _ in range(4):
            assert try_login(centre, name, "wrong").json()["code"] == "wrong_login"
        assert try_login(centre, name, PASSWORD).status_code == 200


def test_an_unknown_name_is_refused_in_the_same_words(centre: Centre, staff: Person) -> None:
    assert try_login(centre, "nobody", "wrong").json() == try_login(centre, staff.name, "wrong").json()


def test_a_log_in_sent_by_another_site_is_refused(centre: Centre, staff: Person) -> None:
    answer = try_login(centre, staff.name, PASSWORD, **{"sec-fetch-site": "cross-site"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert try_login(centre, staff.name, PASSWORD, **{"sec-fetch-site": "same-origin"}).status_code == 200


def test_the_session_cookie_is_fresh_and_out_of_reach_of_scripts(centre: Centre, staff: Person) -> None:
    answer = try_login(centre, staff.name, PASSWORD, cookie="bl_session=chosen-by-somebody")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "chosen-by-somebody" not in cookie


def test_an_expired_session_is_over(centre: Centre) -> None:
    person = centre.person("regulator")
    assert person.get("/api/v1/alerts").status_code == 200
    change(
        centre,
        "UPDATE login_session SET expires_at = '2020-01-01 00:00:00.000000' WHERE token_sha256 = ?",
        sha256_hex(person.cookies["bl_session"].encode()),
    )
    answer = person.get("/api/v1/alerts")
    assert answer.status_code == 401
    assert is_problem(answer)
    page = person.get("/")
    assert (page.status_code, page.headers["location"]) == (303, "/login")


def test_a_log_out_ends_the_session_at_the_centre(centre: Centre) -> None:
    person = centre.person("regulator")
    token = person.cookies["bl_session"]
    assert person.post("/logout", data={"csrf": "wrong"}).status_code == 403
    assert person.post("/logout", data={"csrf": person.csrf["x-csrf-token"]}).status_code == 303
    with centre.client(cookie=f"bl_session={token}") as thief:
        assert thief.get("/api/v1/alerts").status_code == 401


@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
def test_a_move_without_the_right_csrf_token_is_refused(centre: Centre, staff: Person, token: str | None) -> None:
    alert_id = centre.box().raise_alert(staff)
    headers = {} if token is None else {"x-csrf-token": token.encode()}
    before = centre.dump()
    answers = [
        staff.post(f"/api/v1/alerts/{alert_id}/moves/acknowledge", headers=headers),
        staff.post(f"/api/v1/alerts/{alert_id}/rectifications", headers=headers, files={"photo": b"x"}),
        staff.post(f"/alerts/{alert_id}/acknowledge", data={"csrf": token or ""}),
        staff.post(f"/alerts/{alert_id}/submit", data={"csrf": token or ""}, files={"photo": b"x"}),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert centre.dump() == before


def test_staff_see_only_their_own_site(centre: Centre, staff: Person, jpeg: Jpeg) -> None:
    stranger, boss = centre.person("staff", "Canteen B"), centre.person("regulator")
    box = centre.box("Canteen B")
    alert_id = box.raise_alert(stranger, incident_id="private-b")
    box.send_evidence(box.evidence(jpeg(11), "private-b"), sha256_hex(jpeg(11)))
    assert stranger.submit(alert_id, jpeg(12)).status_code == 201
    detail = boss.get(f"/api/v1/alerts/{alert_id}").json()
    pictures = [detail["evidence"][0]["sha256"], detail["rectifications"][0]["photos"][0]["sha256"]]
    paths = [f"/api/v1/evidence/{sha256}" for sha256 in pictures]
    paths += [f"/api/v1/alerts/{alert_id}{part}" for part in ("", "/series")] + [f"/alerts/{alert_id}"]
    for path in paths:
        assert [who.get(path).status_code for who in (staff, stranger, boss)] == [404, 200, 200], path
    assert alert_id not in [item["id"] for item in staff.get("/api/v1/alerts?limit=200").json()["alerts"]]
    assert f"/alerts/{alert_id}" not in staff.get("/").text
    assert staff.move(alert_id, "acknowledge").status_code == 404
    assert staff.submit(alert_id, jpeg(13)).status_code == 404


def test_each_role_makes_only_its_own_moves(centre: Centre, staff: Person, regulator: Person, jpeg: Jpeg) -> None:
    alert_id = centre.box().raise_alert(staff)
    administrator = centre.person("administrator")
    assert [who.submit(alert_id, jpeg(1)).status_code for who in (regulator, administrator)] == [403, 403]
    assert administrator.move(alert_id, "acknowledge").status_code == 403
    assert staff.submit(alert_id, jpeg(1)).status_code == 201
    assert [who.move(alert_id, "accept").status_code for who in (staff, administrator)] == [403, 403]
    assert staff.move(alert_id, "reject", "no").status_code == 403


@pytest.mark.parametrize("alert_id", ["0", "999999", str(2**53 + 1), str(2**80), "-1", "x"])
def test_an_alert_that_does_not_exist_is_not_found_and_no_fault(regulator: Person, alert_id: str) -> None:
    for path in (f"/api/v1/alerts/{alert_id}", f"/api/v1/alerts/{alert_id}/series"):
        answer = regulator.get(path)
        assert answer.status_code in (404, 422)
        assert is_problem(answer)
    assert regulator.get(f"/alerts/{alert_id}").status_code in (404, 422)
    assert regulator.post(f"/api/v1/alerts/{alert_id}/moves/accept", headers=regulator.csrf).status_code in (404, 422)


def test_statistics_are_not_for_staff_or_strangers(centre: Centre, staff: Person, regulator: Person) -> None:
    path = f"/api/v1/boxes/{centre.box().box_id}/stats"
    with centre.client() as stranger:
        assert [who.get(path).status_code for who in (staff, stranger, regulator)] == [403, 401, 200]
