"""The life cycle through its doors, pages and JSON: what may be done now is offered, what is refused is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import update

from server.app import create_app
from server.i18n import catalogue
from server.life_cycle.clockwork import look_after
from server.life_cycle.rules import default_rules
from server.models import Alert
from server.settings import Settings
from tests.server.centre import Box, Centre, proof
from tests.server.tenancy.district import District, InProcess, Somebody

Jpeg = Callable[..., bytes]


class Village(District):
    """A district with one canteen that matters, its people, and a box."""

    def start(self) -> None:
        self.box = Box(cast(Centre, self), "A")
        self.staff = self.somebody("staff", "A")
        self.regulator = self.somebody("regulator", "A")
        self.viewer = self.somebody("viewer", "A")

    def raised(self, kind: str = "no_mask", **fields: Any) -> int:
        data = {"kind": kind, "camera_name": "备餐间 1", "place": "备餐间", "model_sha256": "a" * 64}
        at = datetime.now(UTC)
        event = self.box.send_event("violation_opened", **{"source_id": "cam-1", "at": at, "data": data, **fields})
        found = self.ask(self.regulator, "GET", "/api/v1/alerts").json()["alerts"]
        return int(next(alert["id"] for alert in found if alert["incident_id"] == event.incident_id))

    def move(self, who: Somebody, alert_id: int, kind: str, note: str = "", **said: str) -> httpx.Response:
        return self.ask(who, "POST", f"/api/v1/alerts/{alert_id}/moves/{kind}", data={"note": note, **said})

    def submit(
        self, alert_id: int, *photos: bytes, path: str = "", language: str = "en", **changes: str
    ) -> httpx.Response:
        files = [("photo", (f"{number}.jpg", photo, "image/jpeg")) for number, photo in enumerate(photos)]
        said = {**proof(), "csrf": self.staff.csrf, **changes}
        path = path or f"/api/v1/alerts/{alert_id}/rectifications"
        headers = {**self.staff.headers, "accept-language": language}
        return self.client_.request("POST", path, headers=headers, data=said, files=files)

    def page(self, who: Somebody, path: str, language: str = "en") -> str:
        answer = self.client_.request("GET", path, headers={**who.headers, "accept-language": language})
        assert answer.status_code == 200, answer.text
        return unescape(answer.text)

    def detail(self, alert_id: int) -> dict[str, Any]:
        return dict(self.ask(self.regulator, "GET", f"/api/v1/alerts/{alert_id}").json())

    def overdue(self, alert_id: int, days: int) -> None:
        """Let its deadline have been days ago, and the clockwork look."""
        with self.database() as db:
            past = datetime.now(UTC) - timedelta(days=days)
            db.execute(update(Alert).where(Alert.id == alert_id).values(deadline_at=past, next_step_at=past))
        with self.database() as db:
            while look_after(db, default_rules(), datetime.now(UTC)):
                db.flush()


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("village") / "data", secure_cookies=False)
    app = create_app(settings)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
    ):
        made = Village(InProcess(app, portal), settings)
        made.start()
        yield made
        portal.call(made.client_.client.aclose)


def offered(page: str) -> set[str]:
    """The moves that a page has a form for; a hold is none."""
    forms = set(re.findall(r'action="/alerts/\d+/([a-z]+)"', page)) | set(re.findall(r"/alerts/\d+/(reject)\"", page))
    return forms - {"hold"}


def test_an_animal_is_confirmed_first_and_seen_through_to_its_end(village: Village, jpeg: Jpeg) -> None:
    alert_id = village.raised("rodent")
    page = village.page(village.staff, f"/alerts/{alert_id}")
    assert catalogue()["unconfirmed_hint"]["en"] in page
    assert offered(page) == {"confirm", "acknowledge"}
    refused = village.submit(alert_id, jpeg(201))
    assert (refused.status_code, refused.json()["code"]) == (409, "unconfirmed")
    assert village.move(village.viewer, alert_id, "confirm").status_code == 403
    assert village.move(village.staff, alert_id, "confirm").json() == {"state": "open"}
    assert offered(village.page(village.staff, f"/alerts/{alert_id}")) == {"acknowledge", "start", "submit"}
    assert village.move(village.staff, alert_id, "start").json() == {"state": "rectifying"}
    assert village.submit(alert_id, jpeg(202), jpeg(203), scene="the whole store").status_code == 201
    reviewer = village.page(village.regulator, f"/alerts/{alert_id}")
    assert offered(reviewer) == {"accept", "reject", "push", "dismiss"}
    assert catalogue()["recheck_asked"]["en"] in reviewer
    assert offered(village.page(village.staff, f"/alerts/{alert_id}")) == set()
    told = village.detail(alert_id)
    (claim,) = told["rectifications"]
    assert (claim["scene"], len(claim["photos"]), claim["recheck"]["state"]) == ("the whole store", 2, "asked")
    assert (told["level"], told["repeats"], told["confirmed_at"] is not None) == ("city", 0, True)
    assert village.move(village.regulator, alert_id, "accept").json() == {"state": "closed"}
    assert offered(village.page(village.regulator, f"/alerts/{alert_id}")) == {"reopen"}


@pytest.mark.parametrize("move", ["reject", "dismiss", "reopen"])
def test_what_takes_something_back_needs_a_reason(village: Village, jpeg: Jpeg, move: str) -> None:
    alert_id = village.raised(source_id=f"cam-{move}")
    if move == "reject":
        assert village.submit(alert_id, jpeg(300)).status_code == 201
    if move == "reopen":
        assert village.move(village.regulator, alert_id, "dismiss", "a poster").status_code == 200
    answers = [village.move(village.regulator, alert_id, move, note) for note in ("", "  ", "because")]
    assert [answer.status_code for answer in answers] == [422, 422, 200]
    assert village.detail(alert_id)["moves"][-1]["note"] == "because"


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_a_proof_that_lacks_something_comes_back_with_a_sentence_for_each(
    village: Village, jpeg: Jpeg, language: str
) -> None:
    alert_id = village.raised(source_id=f"cam-proof-{language}")
    lacking = {"taken_at": "", "place": "", "person": " ", "matter": "", "scene": ""}
    answer = village.submit(alert_id, jpeg(310), path=f"/alerts/{alert_id}/submit", language=language, **lacking)
    keys = [f"proof_{element}_missing" for element in ("time", "place", "person", "matter", "scene")]
    assert answer.status_code == 422
    assert all(catalogue()[key][language] in unescape(answer.text) for key in keys)
    problem = village.submit(alert_id, jpeg(310), **lacking).json()
    assert problem["code"] == "proof_time_missing"
    assert all(element in problem["detail"] for element in ("time:", "place:", "person:", "matter:", "scene:"))
    old = village.submit(alert_id, jpeg(310), taken_at="2020-01-01T08:00")
    assert (old.status_code, old.json()["code"]) == (422, "photo_before_alert")
    many = village.submit(alert_id, *(jpeg(320 + number) for number in range(5)))
    assert (many.status_code, many.json()["code"]) == (422, "photos_too_many")
    assert village.detail(alert_id)["state"] == "open"


def test_a_photo_of_before_leads_to_where_it_was_used(village: Village, jpeg: Jpeg) -> None:
    first, second = village.raised(source_id="cam-first"), village.raised(source_id="cam-second")
    assert village.submit(first, jpeg(330)).status_code == 201
    answer = village.submit(second, jpeg(330))
    assert (answer.status_code, answer.json()["code"]) == (422, "photo_duplicate")
    assert f"alert {first}" in answer.json()["detail"]
    page = village.submit(second, jpeg(330), path=f"/alerts/{second}/submit").text
    assert f'<a href="/alerts/{first}">' in page


def test_the_list_is_narrowed_by_tier_kind_place_and_lateness(village: Village) -> None:
    late, early = village.raised("smoking", source_id="cam-n1"), village.raised("phone_use", source_id="cam-n2")
    village.overdue(late, 1)

    def found(**query: Any) -> set[int]:
        answer = village.ask(village.regulator, "GET", "/api/v1/alerts", params={"limit": 200, **query})
        assert sum(answer.json()["counts"].values()) == len(answer.json()["alerts"])
        ids = {alert["id"] for alert in answer.json()["alerts"]}
        query = {name: value if name != "overdue" else "1" for name, value in query.items()}
        page = village.client_.request("GET", "/", headers=village.regulator.headers, params=query).text
        assert {int(number) for number in re.findall(r'href="/alerts/(\d+)"', page)} == ids
        return ids & {late, early}

    with village.database() as db:
        region = db.get_one(Alert, late).site.region
    assert region is not None
    assert found(tier=2) == found(kind="smoking") == found(overdue=True) == {late}
    assert found(tier=3) == {early}
    assert found(region=region.id) == found(site="A") == {late, early}
    assert found(site="nowhere") == found(region=999_999) == found(site="%") == set()
    for odd in ({"tier": "x"}, {"region": "9" * 40}, {"status": "none"}, {"kind": "'--"}):
        answer = village.client_.request("GET", "/", headers=village.regulator.headers, params=odd)
        assert answer.status_code == 200
    assert village.ask(village.regulator, "GET", "/api/v1/alerts", params={"tier": 9}).status_code == 422


def test_cards_and_the_interview_list_are_shown_and_an_interview_is_held_once(village: Village) -> None:
    for number in range(3):
        village.overdue(village.raised("unattended_flame", source_id=f"cam-flame-{number}"), 5)
    cards = village.ask(village.staff, "GET", "/api/v1/cards").json()["cards"]
    assert sorted(card["colour"] for card in cards) == ["red"] * 3 + ["yellow"] * 3
    reds = village.ask(village.staff, "GET", "/api/v1/cards", params={"colour": "red"}).json()["cards"]
    assert {card["kind"] for card in reds} == {"unattended_flame"}
    assert village.detail(reds[0]["alert"])["cards"][0]["colour"] == "yellow"
    for language, told in (("zh-CN", "红牌"), ("en", "Red card")):
        assert told in village.page(village.viewer, "/cards", language)
        assert told in village.page(village.viewer, f"/alerts/{reds[0]['alert']}", language)
    open_ones = village.ask(village.regulator, "GET", "/api/v1/interviews", params={"open": True}).json()["interviews"]
    overdue = next(entry for entry in open_ones if entry["reason"] == "overdue")
    path = f"/interviews/{overdue['id']}/hold"
    assert path in village.page(village.regulator, "/interviews")
    assert path not in village.page(village.staff, "/interviews")
    held = village.ask(village.regulator, "POST", path, data={"csrf": village.regulator.csrf, "note": "每日自查"})
    assert (held.status_code, held.headers["location"]) == (303, "/interviews")
    assert "每日自查" in village.page(village.staff, "/interviews", "zh-CN")
    again = village.ask(village.regulator, "POST", f"/api/v1{path}", data={"note": "again"})
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")


def test_a_viewer_pushes_an_alert_to_the_head_of_the_site_and_false_alarms_are_counted(village: Village) -> None:
    alert_id = village.raised(source_id="cam-push")
    assert offered(village.page(village.viewer, f"/alerts/{alert_id}")) == {"push"}
    wrong = village.move(village.viewer, alert_id, "push", picture="b" * 64)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "unknown_picture")
    assert village.move(village.viewer, alert_id, "push", "please look").json() == {"state": "open"}
    before = village.ask(village.regulator, "GET", "/api/v1/false-alarms").json()["models"]
    assert village.move(village.regulator, alert_id, "dismiss", "a poster").status_code == 200
    after = village.ask(village.regulator, "GET", "/api/v1/false-alarms").json()["models"]
    assert after[0]["model_sha256"] == "a" * 64
    assert after[0]["dismissed"] == before[0]["dismissed"] + 1


def test_photos_of_an_older_record_stay_with_their_rectifications(tmp_path: Path) -> None:
    import sqlite3

    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import server
    from server.database import migrate

    settings = Settings(data_dir=tmp_path)
    config = Config()
    config.set_main_option("script_location", str(Path(server.__path__[0]) / "migrations"))
    config.attributes["settings"] = settings
    before = str(ScriptDirectory.from_config(config).get_revision("0007").down_revision)
    command.upgrade(config, before)
    at = "2026-01-02 03:04:05.000000"
    with sqlite3.connect(tmp_path / "record.sqlite") as db:
        db.execute("INSERT INTO site (id, name, time_zone) VALUES (1, 'A', 'Asia/Shanghai')")
        db.execute(
            "INSERT INTO user (id, username, display_name, password_hash, role, failed_logins) "
            "VALUES (1, 'li', 'Li', '', 'staff', 0)"
        )
        db.execute("INSERT INTO box (id, name, site_id, public_key, enrolled_at) VALUES ('b', 'b', 1, '', ?)", (at,))
        db.execute(
            "INSERT INTO alert (id, incident_id, site_id, box_id, kind, tier, state, source_id, source_name, place, "
            "opened_at, deadline_at, data, version) "
            "VALUES (1, 'i', 1, 'b', 'no_mask', 3, 'open', 's', 's', '', ?, ?, '{}', 1)",
            (at, at),
        )
        db.execute(
            "INSERT INTO rectification (id, alert_id, note, original_sha256, photo_sha256, submitted_by_id, "
            "submitted_at) VALUES (7, 1, 'done', 'o', 'p', 1, ?)",
            (at,),
        )
    db.close()
    migrate(settings)
    with sqlite3.connect(tmp_path / "record.sqlite") as db:
        photos = db.execute("SELECT rectification_id, original_sha256, photo_sha256, likeness FROM rectification_photo")
        assert photos.fetchall() == [(7, "o", "p", None)]
        assert db.execute("SELECT level, next_step_at, repeats FROM alert").fetchall() == [("station", at, 0)]
    db.close()
    command.downgrade(config, before)
    with sqlite3.connect(tmp_path / "record.sqlite") as db:
        assert db.execute("SELECT original_sha256, photo_sha256 FROM rectification").fetchall() == [("o", "p")]
    db.close()
