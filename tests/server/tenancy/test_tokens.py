"""API tokens: cut to their owner, bound to their place, over at their time, and never kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from server.accounts import disable_user, set_role
from server.audit import verify_audit
from server.models import User
from server.models_access import ApiToken
from server.models_audit import AuditEntry
from server.policy import PEOPLE_ONLY
from server.regions import ensure_region
from tests.server.tenancy.district import REGIONS, District, Somebody

Change = Callable[[Any, User], None]


@pytest.fixture
def regulator(district: District) -> Somebody:
    return district.somebody("regulator", "A")


def make(district: District, who: Somebody, *permissions: str, **wanted: Any) -> str:
    body = {"name": "probe", "permissions": permissions, "days": 1, **wanted}
    answer = district.ask(who, "POST", "/api/v1/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def use(district: District, token: str, path: str, method: str = "GET", **said: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", "accept-language": "en"}
    return district.client_.request(method, path, headers=headers, **said)


def test_a_token_does_what_it_names_and_nothing_else(district: District, regulator: Somebody) -> None:
    token = make(district, regulator, "alert.read")
    assert [alert["site"] for alert in use(district, token, "/api/v1/alerts").json()["alerts"]] == ["A"]
    assert use(district, token, "/api/v1/reports").json()["code"] == "not_allowed"


def test_a_move_takes_the_permission_of_the_move_not_of_the_route(district: District, regulator: Somebody) -> None:
    token = make(district, regulator, "alert.acknowledge", "alert.read")
    path = f"/api/v1/alerts/{district.places['A'].alert_id}/moves"
    refused = use(district, token, f"{path}/reject", "POST", data={"note": "x"})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert use(district, token, f"{path}/acknowledge", "POST").status_code == 200  # and no CSRF token is asked for
    with district.database() as db:
        entry = db.scalars(select(AuditEntry).where(AuditEntry.action == "alert.acknowledge")).one()
        assert entry.actor_name == f"{regulator.name} (probe)"
        assert verify_audit(db)[1] == []


def test_a_token_reaches_only_the_place_that_it_is_bound_to(district: District) -> None:
    whole = district.somebody("regulator", "")
    place = district.places["B"]
    with district.database() as db:
        region = ensure_region(db, REGIONS["A"] or "").id
    bound = make(district, whole, "alert.read", site_id=place.site_id)
    assert [alert["site"] for alert in use(district, bound, "/api/v1/alerts").json()["alerts"]] == ["B"]
    assert use(district, bound, f"/api/v1/alerts/{district.places['A'].alert_id}").status_code == 404
    inside = make(district, whole, "alert.read", region_id=region)
    assert [alert["site"] for alert in use(district, inside, "/api/v1/alerts").json()["alerts"]] == ["A"]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"permissions": ["audit.read"]}, "token_permissions"),
        ({"permissions": ["token.manage"]}, "token_permissions"),
        ({"permissions": ["nothing"]}, "token_permissions"),
        ({"permissions": []}, "invalid"),
        ({"days": 400}, "invalid"),
        ({"name": " "}, "token_name"),
        ({"site_id": 999_999}, "token_bound"),
        ({"site_id": "B"}, "token_bound"),
        ({"region_id": "B"}, "token_bound"),
        ({"watched": True}, "token_watched"),
    ],
)
def test_nobody_makes_a_token_for_more_than_they_may(
    district: District, regulator: Somebody, wanted: dict[str, Any], code: str
) -> None:
    if wanted.get("site_id") == "B":
        wanted = {"site_id": district.places["B"].site_id}
    if wanted.get("region_id") == "B":
        with district.database() as db:
            wanted = {"region_id": ensure_region(db, REGIONS["B"] or "").id}
    body = {"name": "x", "permissions": ["alert.read"], **wanted}
    answer = district.ask(regulator, "POST", "/api/v1/tokens", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_token_makes_no_token(district: District, regulator: Somebody) -> None:
    token = make(district, regulator, "alert.read")
    with district.database() as db:  # as if it had been written by hand
        db.scalars(select(ApiToken).order_by(ApiToken.id.desc())).first().permissions = sorted(PEOPLE_ONLY)  # type: ignore[union-attr]
    body = {"name": "x", "permissions": ["alert.read"]}
    assert use(district, token, "/api/v1/tokens", "POST", json=body).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        disable_user,
        lambda db, user: set_role(db, user, "regulator", None, ensure_region(db, REGIONS["B"] or "")),
        lambda db, user: setattr(
            db.scalars(select(ApiToken).where(ApiToken.user_id == user.id)).one(), "expires_at", datetime.now(UTC)
        ),
    ],
    ids=["disabled", "moved", "expired"],
)
def test_a_token_ends_with_what_it_rests_on(district: District, regulator: Somebody, change: Change) -> None:
    token = make(district, regulator, "alert.read", site_id=district.places["A"].site_id)
    assert use(district, token, "/api/v1/alerts").status_code == 200
    with district.database() as db:
        change(db, db.get_one(User, regulator.user_id))
    answer = use(district, token, "/api/v1/alerts")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_revoked_token_is_over_and_only_its_owner_revokes_it(district: District, regulator: Somebody) -> None:
    token = make(district, regulator, "alert.read")
    token_id = district.ask(regulator, "GET", "/api/v1/tokens").json()["tokens"][0]["id"]
    other = district.somebody("regulator", "A")
    assert district.ask(other, "DELETE", f"/api/v1/tokens/{token_id}").status_code == 404
    assert use(district, token, "/api/v1/alerts").status_code == 200
    assert district.ask(regulator, "DELETE", f"/api/v1/tokens/{token_id}").status_code == 204
    assert use(district, token, "/api/v1/alerts").status_code == 401
    assert district.ask(regulator, "GET", "/api/v1/tokens").json()["tokens"] == []


def test_a_wrong_token_is_nobody_even_beside_a_good_cookie(district: District, regulator: Somebody) -> None:
    headers = {**regulator.headers, "authorization": "Bearer blt_wrong"}
    assert district.client_.request("GET", "/api/v1/alerts", headers=headers).status_code == 401


def test_pages_take_no_tokens(district: District, regulator: Somebody) -> None:
    assert use(district, make(district, regulator, "alert.read"), "/").headers["location"] == "/login"


def test_the_use_of_a_token_is_kept_and_its_secret_is_not(district: District, regulator: Somebody) -> None:
    token = make(district, regulator, "alert.read")
    used = lambda: district.ask(regulator, "GET", "/api/v1/tokens").json()["tokens"][0]["last_used_at"]  # noqa: E731
    assert used() is None
    use(district, token, "/api/v1/alerts")
    assert datetime.now(UTC) - datetime.fromisoformat(used()) < timedelta(minutes=5)
    files = b"".join(path.read_bytes() for path in Path(district.settings.data_dir).glob("record.sqlite*"))
    assert token.encode() not in files
    assert token.removeprefix("blt_").encode() not in files


def test_token_whose_gateways_are_watched_is_made_by_program_and_on_the_page_and_says_so(district: District) -> None:
    keeper = district.somebody("administrator", "")
    site_id = district.places["A"].site_id
    make(district, keeper, "readings.write", site_id=site_id, watched=True)
    form = {"csrf": keeper.csrf, "name": "telegraf", "permissions": ["readings.write"], "bound": f"site:{site_id}"}
    page = district.ask(keeper, "POST", "/tokens", data={**form, "watched": "true"})
    assert (page.status_code, page.text.count("silence is an alert")) == (201, 2)
    assert district.ask(keeper, "POST", "/tokens", data=form).text.count("silence is an alert") == 2
    refused = district.ask(keeper, "POST", "/tokens", data={**form, "permissions": ["alert.read"], "watched": "true"})
    assert (refused.status_code, "Only a token that writes readings can be watched" in refused.text) == (422, True)
    found = district.ask(keeper, "GET", "/api/v1/tokens").json()["tokens"]
    assert [token["watched"] for token in found] == [False, True, True]
    with district.database() as db:
        said = db.scalars(select(AuditEntry.detail).where(AuditEntry.action == "token.add").order_by(AuditEntry.seq))
        assert [detail.get("watched", False) for detail in said][-3:] == [True, True, False]


def test_the_page_makes_shows_once_and_revokes(district: District, regulator: Somebody) -> None:
    form = {"csrf": regulator.csrf, "name": "屏幕", "permissions": ["alert.read"], "days": "7", "bound": ""}
    assert district.ask(regulator, "POST", "/tokens", data={**form, "csrf": "x"}).status_code == 403
    page = district.ask(regulator, "POST", "/tokens", data=form)
    secret = page.text.split('<code id="made">')[1].split("<")[0]
    assert use(district, secret, "/api/v1/alerts").status_code == 200
    again = district.ask(regulator, "GET", "/tokens")
    assert "屏幕" in again.text
    assert secret not in again.text
    refused = district.ask(regulator, "POST", "/tokens", data={**form, "permissions": ["audit.read"]})
    assert (refused.status_code, "Choose at least one permission" in refused.text) == (422, True)
    token_id = district.ask(regulator, "GET", "/api/v1/tokens").json()["tokens"][0]["id"]
    path = f"/tokens/{token_id}/revoke"
    assert district.ask(regulator, "POST", path, data={"csrf": regulator.csrf}).status_code == 303
    assert use(district, secret, "/api/v1/alerts").status_code == 401
