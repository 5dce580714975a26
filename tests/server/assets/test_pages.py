"""The pages and the API of sites: each role reads and changes what is theirs, and everybody reads the public page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import select

from server.accounts import ensure_site
from server.app import create_app
from server.assets.public import ASKS_PER_MINUTE_MAX, PublicDesk
from server.audit_words import tell
from server.models import Alert, Box
from server.models_audit import AuditEntry
from server.series.port import Point
from server.series.stores import open_store
from server.settings import Settings
from tests.server.tenancy.district import REGIONS, District, InProcess, Somebody, new_sample

IDENTITY = "11010519491231002X"


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("sites") / "data", secure_cookies=False)
    app = create_app(settings)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        made = District(InProcess(app, portal), settings)
        for name in REGIONS:
            made.enrol_code(name)
        yield made
        portal.call(made.client_.client.aclose)


@pytest.fixture(scope="module")
def officer(district: District) -> Somebody:
    return district.somebody("safety_officer", "A")


@pytest.fixture(scope="module")
def site(district: District, officer: Somebody) -> int:
    """Site A with a person, a certificate and a cold room; its number."""
    with district.database() as db:
        number = ensure_site(db, "A").id
    day = (datetime.now(UTC).date() + timedelta(days=10)).isoformat()
    for table, texts in (
        ("sites", {"type": "school", "address": "文一路 1 号", "grade": "A"}),
        ("contacts", {"role": "chef", "person": "王小明", "phone": "13800138000"}),
        ("certificates", {"kind": "licence", "number": "JY3301", "holder": "一小", "expires_on": "2099-12-31"}),
        (
            "certificates",
            {"kind": "health", "number": "H-123456", "holder": "王小明", "identity": IDENTITY, "expires_on": day},
        ),
        ("cold_rooms", {"name": "一号库", "filing_number": "备-1"}),
    ):
        answer = district.ask(officer, "PUT", f"/api/v1/sites/{number}/assets/{table}", json=texts)
        assert answer.status_code == 200, answer.text
    return number


def csrf_of(who: Somebody, **fields: str) -> dict[str, Any]:
    return {"data": {"csrf": who.csrf, **fields}}


def test_names_are_read_in_full_by_those_who_keep_them_and_masked_by_all_others(
    district: District, officer: Somebody, site: int
) -> None:
    pages = {}
    for role, place in (("viewer", "A"), ("regulator", "A"), ("auditor", ""), ("staff", "A")):
        pages[role] = district.ask(district.somebody(role, place), "GET", f"/sites/{site}").text
    own = district.ask(officer, "GET", f"/sites/{site}").text
    assert "H-123456" in own
    assert own.count("王小明") >= 2
    for role, text in pages.items():
        assert "H-123456" not in text, role
        assert "JY3301" in text, role
        calls = role in ("regulator", "staff")  # those who have to reach the site's people
        assert ("13800138000" in text, "王小明" in text) == (calls, calls), role
    for text in (own, *pages.values()):
        assert IDENTITY not in text
    answer = district.ask(district.somebody("viewer", "A"), "GET", f"/api/v1/sites/{site}").json()
    assert answer["certificates"][0]["holder"] == "王**"
    assert answer["contacts"][0]["phone"] == "138****8000"


def test_the_list_holds_the_sites_in_reach_and_finds_them_by_name(district: District, site: int) -> None:
    here, all_ = district.somebody("regulator", "A"), district.somebody("regulator", "")
    assert [line["name"] for line in district.ask(here, "GET", "/api/v1/sites").json()["sites"]] == ["A"]
    found = district.ask(all_, "GET", "/api/v1/sites").json()
    assert ([line["name"] for line in found["sites"]], found["next"]) == (["A", "B", "N"], None)
    assert found["sites"][0]["papers_expiring"] == 1
    text = district.ask(all_, "GET", "/sites", params={"name": "B"}).text
    assert "<strong>B</strong>" in text
    assert "<strong>A</strong>" not in text


def test_a_form_that_is_refused_comes_back_filled_in_with_what_is_wrong(
    district: District, officer: Somebody, site: int
) -> None:
    wrong = csrf_of(officer, kind="licence", number="JY-2", holder="一小", expires_on="soon")
    answer = district.ask(officer, "POST", f"/sites/{site}/assets/certificates", **wrong)
    assert answer.status_code == 422
    assert "Valid until: It is no date. Write it like 2026-09-30." in answer.text
    assert 'value="JY-2"' in answer.text
    right = csrf_of(officer, kind="licence", number="JY-2", holder="一小", expires_on="2099-01-01")
    assert district.ask(officer, "POST", f"/sites/{site}/assets/certificates", **right).status_code == 303
    stale = district.ask(officer, "POST", f"/sites/{site}/assets/certificates", data={**right["data"], "csrf": "x"})
    assert stale.status_code == 403


def test_of_two_who_change_a_site_the_slower_one_is_told_and_overwrites_nothing(
    district: District, officer: Somebody, site: int
) -> None:
    other, path = district.somebody("site_head", "A"), f"/api/v1/sites/{site}"

    def put(who: Somebody, tag: str, number: str) -> httpx.Response:
        body = {"name": "一号库", "filing_number": number}
        headers = {**who.headers, "if-match": tag}
        return district.client_.request("PUT", f"{path}/assets/cold_rooms", headers=headers, json=body)

    first, second = (district.ask(who, "GET", path).headers["etag"] for who in (officer, other))
    assert put(officer, first, "备-2").status_code == 200
    late = put(other, second, "备-3")
    assert (late.status_code, late.json()["code"]) == (412, "changed")
    room = district.ask(other, "GET", path).json()["cold_rooms"][0]
    assert room["filing_number"] == "备-2"
    gone = {"method": "DELETE", "path": f"{path}/assets/cold_rooms/{room['id']}"}
    stale = district.client_.request(**gone, headers={**other.headers, "if-match": second})
    assert stale.status_code == 412
    assert put(other, district.ask(other, "GET", path).headers["etag"], "备-1").status_code == 200


def test_a_form_of_a_page_that_somebody_else_was_quicker_with_comes_back(
    district: District, officer: Somebody, site: int
) -> None:
    other, path = district.somebody("site_head", "A"), f"/sites/{site}"
    seen = [seen_of(district.ask(who, "GET", path).text) for who in (officer, other)]
    assert seen[0] == seen[1]
    card = {"type": "学校食堂", "grade": "A"}
    quick = csrf_of(officer, seen=seen[0], address="文二路 2 号", **card)
    assert district.ask(officer, "POST", f"{path}/assets/sites", **quick).status_code == 303
    slow = district.ask(other, "POST", f"{path}/assets/sites", **csrf_of(other, seen=seen[1], address="x", **card))
    assert (slow.status_code, "Somebody changed it after you opened the page" in slow.text) == (412, True)
    assert district.ask(other, "GET", f"/api/v1/sites/{site}").json()["address"] == "文二路 2 号"
    again = csrf_of(other, seen=seen_of(slow.text), address="文一路 1 号", **card)
    assert district.ask(other, "POST", f"{path}/assets/sites", **again).status_code == 303


def seen_of(text: str) -> str:
    found = re.search(r'name="seen" value="([0-9]+)"', text)
    assert found
    return found[1]


def test_a_paper_entered_late_is_told_of_at_once_and_ended_when_it_is_removed(
    district: District, officer: Somebody, site: int
) -> None:
    alert = next(
        item
        for item in district.ask(officer, "GET", "/api/v1/alerts").json()["alerts"]
        if item["kind"] == "licence_expiry"
    )
    page = district.ask(officer, "GET", f"/alerts/{alert['id']}")
    assert "the health certificate of 王** is valid until" in page.text
    assert district.ask(officer, "GET", f"/api/v1/alerts/{alert['id']}/series").json()["points"] == []
    kept = district.ask(officer, "GET", f"/api/v1/sites/{site}").json()["certificates"]
    number = next(item["id"] for item in kept if item["kind"] == "health")
    path = f"/api/v1/sites/{site}/assets/certificates/{number}"
    stranger = district.somebody("site_head", "B")
    assert district.ask(stranger, "DELETE", path).status_code == 404
    assert [district.ask(officer, "DELETE", path).status_code for _ in range(2)] == [204, 204]
    with district.database() as db:
        assert db.get_one(Alert, alert["id"]).ended_at is not None
        entries = db.scalars(select(AuditEntry).where(AuditEntry.action == "asset.remove")).all()
        assert [entry.actor_name for entry in entries] == [officer.name]
        assert "小明" not in str(entries[0].detail)
        assert "类别: 健康证明 → –" in dict(tell(entries[0], "zh-CN"))["变更"]


def token_of(text: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', text)
    assert found is not None
    return found[1]


def test_a_file_is_looked_through_then_taken_by_the_same_person_once(
    district: District, officer: Somebody, site: int
) -> None:
    data = "单位名称,名称,备案号\nA,二号库,备-2\n".encode("gb18030")
    upload: dict[str, Any] = {"files": {"file": ("a.csv", data, "text/csv")}, **csrf_of(officer)}
    look = district.ask(officer, "POST", "/assets/import", **upload)
    assert "1 new, 0 changed, 0 the same, 0 wrong" in look.text
    rooms = district.ask(officer, "GET", f"/api/v1/sites/{site}").json()["cold_rooms"]
    assert [room["name"] for room in rooms] == ["一号库"]
    token = token_of(look.text)
    other = district.somebody("site_head", "A")
    assert district.ask(other, "POST", "/assets/take", **csrf_of(other, token=token)).status_code == 409
    done = district.ask(officer, "POST", "/assets/take", **csrf_of(officer, token=token))
    assert 'id="done"' in done.text
    rooms = district.ask(officer, "GET", f"/api/v1/sites/{site}").json()["cold_rooms"]
    assert [room["filing_number"] for room in rooms] == ["备-1", "备-2"]
    assert district.ask(officer, "POST", "/assets/take", **csrf_of(officer, token=token)).status_code == 409


def test_a_program_learns_of_every_wrong_cell(district: District, officer: Somebody, site: int) -> None:
    data = b"site,name,kind\nA,X,warm\nB,Y,frozen\n"
    dry = district.ask(officer, "POST", "/api/v1/assets/import", content=data)
    assert dry.status_code == 200
    real = district.ask(officer, "POST", "/api/v1/assets/import", params={"dry_run": "false"}, content=data)
    assert (real.status_code, real.headers["content-type"]) == (422, "application/problem+json")
    assert [(item["row"], item["code"]) for item in real.json()["errors"]] == [(2, "choice"), (3, "site_unknown")]
    assert real.json()["errors"] == dry.json()["errors"]
    large = district.ask(officer, "POST", "/api/v1/assets/import", content=b"x" * 6_000_000)
    assert large.status_code == 413


def test_what_is_taken_out_is_on_record_and_comes_in_again(district: District, officer: Somebody, site: int) -> None:
    out = district.ask(officer, "GET", "/api/v1/assets/export")
    report = district.ask(officer, "POST", "/api/v1/assets/import", content=out.content).json()
    assert report["errors"] == report["changes"] == []
    assert report["counts"]["same"] > 3
    assert district.ask(officer, "GET", "/assets/export", params={"format": "csv"}).status_code == 422
    sheet = district.ask(officer, "GET", "/assets/template", params={"format": "csv", "table": "sensors"})
    assert sheet.text.startswith("\ufeffSite,Serial number,")
    with district.database() as db:
        entries = db.scalars(select(AuditEntry).where(AuditEntry.action == "asset.export")).all()
        assert {entry.actor_name for entry in entries} == {officer.name}


def open_page(district: District, path: str, language: str = "en") -> httpx.Response:
    return district.client_.request("GET", path, headers={"accept-language": language})


def test_everybody_reads_the_public_page_until_its_code_is_replaced(
    district: District, officer: Somebody, site: int
) -> None:
    now = datetime.now(UTC)
    with district.database() as db:
        db.add(Box(id="box-p", name="b", site_id=site, public_key="k", enrolled_at=now))
        store = open_store(district.settings.series, db.get_bind().engine)
    store.write([Point("box-p", "cold-1", "temperature", int(now.timestamp() * 1000) - 60_000, 3.24, "good")])
    assert "box-p/cold-1" in district.ask(officer, "GET", f"/sites/{site}").text
    sensor = {"serial": "S-9", "cold_room": "一号库", "box_id": "box-p", "source_id": "cold-1"}
    assert district.ask(officer, "PUT", f"/api/v1/sites/{site}/assets/sensors", json=sensor).status_code == 200
    samples = f"/api/v1/self-control/samples?site={site}"
    assert district.ask(officer, "POST", samples, json=new_sample()).status_code == 201
    assert 'id="unlinked"' not in district.ask(officer, "GET", f"/sites/{site}").text
    empty = district.ask(officer, "GET", f"/sites/{site}/qr.svg")
    assert "path" not in empty.text
    assert district.ask(officer, "POST", f"/sites/{site}/public-page", **csrf_of(officer)).status_code == 303
    with district.database() as db:
        path = f"/p/{db.execute(select_token(site)).scalar_one()}"
    page = open_page(district, path)
    assert page.headers["cache-control"] == "public, max-age=60"
    for told in ("A (excellent)", "JY3301", "文一路 1 号", "3.2 °C", "in range", "dishes: 1", ">kept<"):
        assert told in page.text, told
    for hidden in ("王", "番茄", "evidence", '<img class="snapshot"'):
        assert hidden not in page.text, hidden
    assert "量化等级" in open_page(district, path, "zh-CN").text
    assert "<path" in district.ask(officer, "GET", f"/sites/{site}/qr.svg").text
    viewer = district.somebody("viewer", "A")
    assert district.ask(viewer, "POST", f"/sites/{site}/public-page", **csrf_of(viewer)).status_code == 403
    new = district.ask(officer, "POST", f"/api/v1/sites/{site}/public-page").json()["path"]
    assert open_page(district, path).status_code == 404
    assert open_page(district, new).status_code == 200


def select_token(site: int) -> Any:
    from server.models_assets import SiteCard

    return select(SiteCard.public_token).where(SiteCard.site_id == site)


def test_one_address_opens_public_pages_so_often_and_no_more() -> None:
    desk = PublicDesk()
    assert all(desk.admits("192.0.2.1", 120.0) for _ in range(ASKS_PER_MINUTE_MAX))
    assert not desk.admits("192.0.2.1", 179.9)
    assert desk.admits("192.0.2.2", 179.9)
    assert desk.admits("192.0.2.1", 180.0)


def test_the_rate_is_told_to_the_caller(district: District, site: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PublicDesk, "admits", lambda *_: False)
    answer = open_page(district, "/p/" + "x" * 22)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


@pytest.mark.parametrize("token", ["x", "x" * 22, "..%2f..", "%00" * 22])
def test_a_code_that_leads_nowhere_says_so(district: District, token: str) -> None:
    assert open_page(district, f"/p/{token}").status_code == 404


def test_the_console_takes_and_gives_out_files(
    district: District, site: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from server.cli import main

    data = ["--data", str(district.settings.data_dir)]
    file = tmp_path / "rooms.csv"
    file.write_text("site,name\nN,三号库\nX,三号库\n", "utf-8")
    assert main(["assets", "import", str(file), *data]) == 1
    told = capsys.readouterr().out
    assert "WRONG  Cold rooms row 3 Site: There is no such site for you." in told
    assert "nothing taken" in told
    file.write_text("site,name\nN,三号库\n", "utf-8")
    assert main(["assets", "import", str(file), "--dry-run", *data]) == 0
    assert main(["assets", "import", str(file), *data]) == 0
    assert "1 new, 0 changed, 0 the same, 0 wrong: taken" in capsys.readouterr().out
    out = tmp_path / "all.xlsx"
    assert main(["assets", "export", str(out), *data]) == 0
    assert main(["assets", "import", str(out), "--json", *data]) == 0
    assert '"same": ' in capsys.readouterr().out
    assert main(["assets", "export", str(tmp_path / "all.csv"), *data]) == 2
