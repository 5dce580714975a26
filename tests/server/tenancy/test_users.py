"""The pages of accounts: an administrator's own region, nobody's own account, and everything on record."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import select

from server.audit import verify_audit
from server.models import User
from server.models_audit import AuditEntry
from server.regions import ensure_region
from tests.server.centre import PASSWORD
from tests.server.tenancy.district import REGIONS, District, Somebody


@pytest.fixture
def administrator(district: District) -> Somebody:
    return district.somebody("administrator", "A")


def form(district: District, who: Somebody, path: str, **fields: str) -> httpx.Response:
    return district.ask(who, "POST", path, data={"csrf": who.csrf, **fields})


def log_in(district: District, name: str, password: str = PASSWORD) -> int:
    return district.client_.post("/api/v1/login", data={"username": name, "password": password}).status_code


def new(district: District, who: Somebody, name: str, **fields: str) -> httpx.Response:
    return form(district, who, "/users", username=name, name="名", password=PASSWORD, **fields)


def test_an_administrator_makes_accounts_within_their_region_only(district: District, administrator: Somebody) -> None:
    with district.database() as db:
        inside, outside = (ensure_region(db, REGIONS[name] or "").id for name in ("A", "B"))
    sites = {name: f"site:{place.site_id}" for name, place in district.places.items()}
    assert new(district, administrator, "u-staff", role="staff", bound=sites["A"]).status_code == 303
    assert new(district, administrator, "u-reg", role="regulator", bound=f"region:{inside}").status_code == 303
    for bound, role in ((sites["B"], "staff"), (f"region:{outside}", "regulator"), ("", "administrator")):
        assert new(district, administrator, "u-no", role=role, bound=bound).status_code == 422
    assert new(district, administrator, "u-no", role="king", bound=sites["A"]).status_code == 422
    assert [log_in(district, name) for name in ("u-staff", "u-reg", "u-no")] == [200, 200, 403]
    assert "csrf" in district.ask(administrator, "POST", "/users", data={"username": "u-no"}).json()["code"]


def test_the_list_shows_exactly_the_accounts_within_reach(district: District, administrator: Somebody) -> None:
    page, path = "", "/users"
    while path:
        text = district.ask(administrator, "GET", path).text
        page += text
        path = text.split('id="more" href="')[1].split('"')[0] if 'id="more"' in text else ""
    for who in district.people:
        assert (f"<b>{who.name}</b>" in page) is (who.place == "A"), who.name


def test_a_disabled_account_is_out_and_a_new_password_or_role_ends_its_sessions(
    district: District, administrator: Somebody
) -> None:
    staff = district.somebody("staff", "A")
    page = district.ask(administrator, "GET", f"/users/{staff.user_id}").text
    chosen = ('value="staff" selected', f'value="site:{district.places["A"].site_id}" selected')
    assert [text in page for text in chosen] == [True, True], "the form begins with what the account has"
    path = f"/users/{staff.user_id}"
    assert form(district, administrator, f"{path}/disable").status_code == 303
    assert district.ask(staff, "GET", "/api/v1/alerts").status_code == 401
    assert form(district, administrator, f"{path}/enable").status_code == 303
    assert form(district, administrator, f"{path}/password", password="short").status_code == 422
    assert form(district, administrator, f"{path}/password", password="another password").status_code == 303
    assert [log_in(district, staff.name, word) for word in (PASSWORD, "another password")] == [403, 200]
    bound = f"site:{district.places['A'].site_id}"
    assert form(district, administrator, f"{path}/role", role="viewer", bound=bound).status_code == 303
    assert form(district, administrator, f"{path}/role", role="administrator", bound="").status_code == 422
    with district.database() as db:
        assert db.get_one(User, staff.user_id).role == "viewer"
        entries = db.scalars(select(AuditEntry).where(AuditEntry.object_id == str(staff.user_id))).all()
        mine = [entry.action for entry in entries if entry.actor_name == administrator.name]
        assert mine == ["user.disable", "user.enable", "user.password", "user.role"]
        assert verify_audit(db)[1] == []


def test_without_a_provider_no_page_offers_one(district: District, administrator: Somebody) -> None:
    staff = district.somebody("staff", "A")
    assert "oidc" not in district.client_.request("GET", "/login").text
    assert "oidc" not in district.ask(staff, "GET", "/account").text
    assert "oidc" not in district.ask(administrator, "GET", f"/users/{staff.user_id}").text
    for path in (f"/users/{staff.user_id}/link", f"/users/{staff.user_id}/unlink"):
        assert form(district, administrator, path, subject="x").json()["code"] == "oidc_off"
    for answer in (
        district.client_.request("GET", "/oidc/login"),
        district.client_.request("GET", "/oidc/callback"),
        form(district, staff, "/oidc/link"),
        form(district, staff, "/oidc/unlink"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "oidc_off")


def test_of_two_administrators_the_slower_one_is_told_that_the_role_is_another_by_now(
    district: District, administrator: Somebody
) -> None:
    other, staff = district.somebody("administrator", "A"), district.somebody("staff", "A")
    path, bound = f"/users/{staff.user_id}", f"site:{district.places['A'].site_id}"
    first, second = (seen_of(district.ask(who, "GET", path).text) for who in (administrator, other))
    quick = form(district, administrator, f"{path}/role", role="viewer", bound=bound, seen=first)
    slow = form(district, other, f"{path}/role", role="site_head", bound=bound, seen=second)
    assert (quick.status_code, slow.status_code) == (303, 422)
    assert "somebody changed its role after you opened the page" in slow.text
    with district.database() as db:
        assert db.get_one(User, staff.user_id).role == "viewer"
    again = form(district, other, f"{path}/role", role="site_head", bound=bound, seen=seen_of(slow.text))
    assert again.status_code == 303


def seen_of(text: str) -> str:
    return text.split('name="seen" value="')[1].split('"', maxsplit=1)[0]


def test_nobody_changes_their_own_account_here_nor_one_beyond_their_reach(
    district: District, administrator: Somebody
) -> None:
    whole, other = district.somebody("administrator", ""), district.somebody("staff", "B")
    for user_id in (administrator.user_id, whole.user_id, other.user_id):
        assert form(district, administrator, f"/users/{user_id}/disable").status_code == 404
    assert form(district, whole, f"/users/{other.user_id}/disable").status_code == 303
