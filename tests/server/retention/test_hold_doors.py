"""Legal holds over HTTP and on the alert's page: who may, what is refused, and that each needs a lift of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from server.audit import CONSOLE
from server.models import Alert, AlertMove, User
from server.models_audit import AuditEntry
from server.policy import Cut, CutRole
from server.retention.holds import IN_FORCE_MAX, may_lift, place_hold
from server.retention.models import LegalHold
from server.retention.purge import find_purges
from server.retention.rules import default_retention
from tests.server.tenancy.district import District, Somebody, settled

LATER = timedelta(days=1100)


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("held") / "data", jpeg, ["A", "B"], people=()) as made:
        yield made


@pytest.fixture(scope="module")
def regulator(district: District) -> Somebody:
    return district.somebody("regulator", "A")


def door(district: District, place: str = "A") -> str:
    return f"/api/v1/alerts/{district.places[place].alert_id}/hold"


def hold(district: District, who: Somebody, reason: str = "court", place: str = "A", **more: Any) -> httpx.Response:
    return district.ask(who, "POST", door(district, place), data={"reason": reason, **more})


def lift(district: District, who: Somebody, place: str = "A", **params: Any) -> httpx.Response:
    return district.ask(who, "DELETE", door(district, place), params={"reason": "over", **params})


def wanted(district: District) -> set[str]:
    """The pictures that would be purged when all alerts were closed three years ago."""
    with district.database() as db:
        found = find_purges(db, default_retention(), datetime.now(UTC) + LATER)
        return {purge.ref for purge in found if purge.kind == "picture"}


def test_what_two_hold_is_purged_only_after_two_lifts(district: District, regulator: Somebody) -> None:
    administrator, picture = district.somebody("administrator", ""), district.places["A"].picture
    with district.database() as db:
        db.execute(update(Alert).values(state="closed"))
        db.execute(update(AlertMove).values(at=datetime.now(UTC)))
    assert picture in wanted(district)
    first, second = hold(district, regulator), hold(district, administrator, "inspection 7")
    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.json()["by"], first.json()["reason"], first.json()["until"]) == (regulator.name, "court", None)
    several = lift(district, regulator)
    assert (several.status_code, several.json()["code"]) == (409, "holds_several")
    assert lift(district, administrator, hold=first.json()["id"]).json() == {"held": True}
    assert picture not in wanted(district)
    again = lift(district, administrator, hold=first.json()["id"])
    assert (again.status_code, again.json()["code"]) == (409, "unknown_hold")
    assert lift(district, administrator).json() == {"held": False}
    assert picture in wanted(district)
    assert lift(district, regulator).json()["code"] == "not_held"


def test_what_was_placed_from_above_is_lifted_there_or_by_an_administrator_and_a_try_is_on_record(
    district: District, regulator: Somebody
) -> None:
    whole, path = district.somebody("regulator", ""), f"/alerts/{district.places['A'].alert_id}"
    hold_id = hold(district, whole, "case 7").json()["id"]
    assert [item["may_lift"] for item in district.ask(regulator, "GET", f"/api/v1{path}").json()["holds"]] == [False]
    for said in ({}, {"hold": hold_id}):
        refused = lift(district, regulator, **said)
        assert (refused.status_code, refused.json()["code"]) == (403, "hold_rank")
    page = district.ask(regulator, "GET", path).text
    assert ("placed from above" in page, f'id="lift-{hold_id}"' in page) == (True, False)
    form = {"csrf": regulator.csrf, "reason": "x"}
    for language, words in (("en", "only they there or an administrator"), ("zh-CN", "只能由上级或管理员解除")):
        headers = {**regulator.headers, "accept-language": language}
        answer = district.client_.request("POST", f"{path}/hold/{hold_id}/lift", headers=headers, data=form)
        assert (answer.status_code, words in answer.text) == (403, True)
    with district.database() as db:
        tries = select(func.count()).select_from(AuditEntry).where(AuditEntry.object_id == str(hold_id))
        assert db.scalar(tries.where(AuditEntry.action == "hold.release_refused")) == 4
    assert f'id="lift-{hold_id}"' in district.ask(whole, "GET", path).text
    assert lift(district, whole).json() == {"held": False}
    second = hold(district, regulator).json()
    assert second["may_lift"] is True
    assert lift(district, whole, hold=second["id"]).json() == {"held": False}
    third = hold(district, whole).json()["id"]
    assert lift(district, district.somebody("administrator", "A"), hold=third).json() == {"held": False}


@pytest.mark.parametrize(
    ("reach", "placed_within", "may"),
    [("/1/4/", "/1/4/9/", True), ("/1/4/", "/1/4/", True), ("/1/4/", "/1/", False), ("/1/4/", "/1/40/", False),
     ("/1/4/", "/", False), ("/1/4/", "", True), ("/", "/", True), ("", "", True), ("", "/1/4/", False)],
)  # fmt: skip
def test_rank_is_how_far_one_reaches(reach: str, placed_within: str, may: bool) -> None:
    token = Cut(1, "t", frozenset({"alert.hold"}), site_id=None if reach else 1, region_path=reach or None)
    for role in ("regulator", "administrator"):
        user = User(role=CutRole(role, token))
        assert may_lift(user, LegalHold(placed_within=placed_within)) is may


def test_a_school_sees_that_it_is_held_but_neither_why_nor_how_to_lift_it(
    district: District, regulator: Somebody
) -> None:
    path = f"/alerts/{district.places['A'].alert_id}"
    head, parent = district.somebody("site_head", "A"), district.somebody("viewer", "A")
    assert 'id="hold"' not in district.ask(head, "GET", path).text
    placed = hold(district, regulator, "case <b>12</b>").json()
    told = district.ask(regulator, "GET", path).text
    assert "case &lt;b&gt;12" in told
    assert f'id="lift-{placed["id"]}"' in told
    seen = district.ask(head, "GET", path).text
    assert "The evidence of this alert is kept from every purge." in seen
    assert "case" not in seen
    assert "lift" not in seen.replace("Until it is lifted.", "")
    [shown] = district.ask(head, "GET", f"/api/v1{path}").json()["holds"]
    assert (shown["id"], shown["by"], shown["reason"]) == (placed["id"], None, None)
    assert lift(district, head).status_code == hold(district, head).status_code == 403
    assert 'id="hold"' not in district.ask(parent, "GET", path).text
    assert district.ask(parent, "GET", f"/api/v1{path}").json()["holds"] == []
    assert lift(district, regulator).status_code == 200


def test_the_form_holds_to_the_end_of_the_sites_day_and_says_what_it_refuses(
    district: District, regulator: Somebody
) -> None:
    path = f"/alerts/{district.places['A'].alert_id}"

    def send(where: str, **said: str) -> httpx.Response:
        return district.ask(regulator, "POST", f"{path}/{where}", data={"csrf": regulator.csrf, **said})

    assert send("hold", reason="x", last_day="2090-01-31").status_code == 303
    [placed] = district.ask(regulator, "GET", f"/api/v1{path}").json()["holds"]
    assert placed["until"] == "2090-01-31T16:00:00Z"  # midnight in Shanghai
    for said in ({"reason": " "}, {"reason": "x", "last_day": "2001-01-01"}, {"reason": "x", "last_day": "tomorrow"}):
        answer = send("hold", **said)
        assert (answer.status_code, "Give a reason" in answer.text) == (422, True)
    assert send("hold", reason="x", csrf="no").status_code == 403
    gone = send(f"hold/{placed['id'] + 1}/lift", reason="x")
    assert (gone.status_code, "lifted already" in gone.text) == (409, True)
    assert send(f"hold/{placed['id']}/lift", reason="x").status_code == 303
    assert district.ask(regulator, "GET", f"/api/v1{path}").json()["holds"] == []


def test_a_hold_of_a_site_is_shown_and_not_lifted_by_way_of_an_alert(district: District, regulator: Somebody) -> None:
    place = district.places["B"]
    whole = district.somebody("regulator", "")
    with district.database() as db:
        place_hold(db, CONSOLE, "inspection", datetime.now(UTC), site_id=place.site_id)
    told = district.ask(whole, "GET", f"/alerts/{place.alert_id}").text
    assert "The evidence of the whole site is kept" in told
    assert "the console" in told
    assert lift(district, whole, "B").json()["code"] == "not_held"
    assert hold(district, regulator, place="B").status_code == 404


def test_a_hold_keeps_to_its_limits_to_what_was_seen_and_to_its_key(district: District, regulator: Somebody) -> None:
    path, seen = door(district), district.ask(regulator, "GET", door(district).removesuffix("/hold")).headers["etag"]

    def send(said: dict[str, str], **data: str) -> httpx.Response:
        headers = {**regulator.headers, **said}
        return district.client_.request("POST", path, headers=headers, data={"reason": "x", **data})

    assert send({"if-match": '"99.0"'}).status_code == 412
    for until in ("2001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"):
        assert send({}, until=until).json()["code"] == "hold_refused"
    kept = [send({"if-match": seen, "idempotency-key": "h1"}).json()["id"] for _ in range(2)]
    assert kept[0] == kept[1]
    with district.database() as db:
        alert_id, now = district.places["A"].alert_id, datetime.now(UTC)
        for _ in range(IN_FORCE_MAX - 1):
            place_hold(db, CONSOLE, "x", now, alert_id=alert_id)
    assert send({}).json()["detail"].endswith(f"has {IN_FORCE_MAX} holds already")


def test_the_audit_log_tells_of_holds_in_both_languages(district: District, regulator: Somebody) -> None:
    auditor = district.somebody("auditor", "B")
    whole = district.somebody("regulator", "")
    made = hold(district, whole, "case 31", "B", until="2090-01-01T00:00:00Z").json()["id"]
    assert lift(district, whole, "B").json() == {"held": True}  # the site's own
    with district.database() as db:
        count = select(func.count()).select_from(AuditEntry).where(AuditEntry.object_id == str(made))
        assert db.scalar(count.where(AuditEntry.action.in_(["hold.place", "hold.release"]))) == 2
    for language, words in (
        ("en", ("placed a legal hold", "released a legal hold", "until: 2090-01-01", "reason: case 31")),
        ("zh-CN", ("设置证据保全", "解除证据保全", "截止: 2090-01-01", "原因: case 31")),
    ):
        headers = {**auditor.headers, "accept-language": language}
        page = district.client_.request("GET", "/audit", headers=headers).text
        assert [word for word in words if word not in page] == []
