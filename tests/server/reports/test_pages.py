"""The pages of the reports: usable with forms alone, in both languages, closed to strangers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest

from server.i18n import catalogue
from tests.server.centre import Person
from tests.server.reports.kitchen import CARD, MAKING_S, Kitchen

DAY = "2026-01-02"


def draft_page(kitchen: Kitchen, who: Person | None = None, **changes: str) -> httpx.Response:
    query = {"source": f"{kitchen.box.box_id}/cold-1", "from": DAY, "to": DAY, **changes}
    return (who or kitchen.wang).get("/reports/temperature", params=query)


def hidden(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form with this action."""
    form = page.split(f'action="{action}"')[1].split("</form>", maxsplit=1)[0]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))


def in_english(who: Person) -> Person:
    who.cookies.set("bl_language", "en")
    return who


def test_the_list_of_alerts_leads_to_the_reports_and_the_alert_to_its_day(kitchen: Kitchen) -> None:
    assert 'href="/reports"' in kitchen.wang.get("/").text
    page = kitchen.wang.get(f"/alerts/{kitchen.alert_id}").text
    link = re.search(r'href="(/reports/temperature\?[^"]+)"', page)
    assert link is not None
    shown = kitchen.wang.get(link[1].replace("&amp;", "&"))
    assert (shown.status_code, "12.3 °C" in shown.text) == (200, True)


def test_a_person_finds_signs_and_a_colleague_reviews_with_forms_alone(kitchen: Kitchen) -> None:
    page = draft_page(kitchen).text
    for word in ("草稿（未签字）", "door open since 12:04", "SN-40213", "批次未送达中心", "polyline"):
        assert word in page, word
    answer = kitchen.wang.post("/reports/sign", data=hidden(page, "/reports/sign"), timeout=MAKING_S)
    assert answer.status_code == 303, answer.text
    place = answer.headers["location"]
    shown = kitchen.zhao.get(place).text
    assert "已签字，待复核" in shown
    reviewed = kitchen.zhao.post(f"{place}/review", data=hidden(shown, f"{place}/review"), timeout=MAKING_S)
    assert reviewed.headers["location"] == place
    again = kitchen.zhao.get(place).text
    assert "已签字并复核" in again
    fields = {
        **hidden(again, f"{place}/correct"), "target": "reading", "at": "2026-01-02T12:19:05", "corrected": "10.5",
        "reason": "探头被开水溅到",
    }  # fmt: skip
    assert kitchen.zhao.post(f"{place}/correct", data=fields, timeout=MAKING_S).status_code == 303
    last = kitchen.regulator.get(place).text
    assert "<del>12.3</del> → <ins>10.5</ins>" in last
    assert place.removeprefix("/reports/") in kitchen.regulator.get("/reports").text


def test_every_format_has_a_button_that_answers_with_a_file(kitchen: Kitchen) -> None:
    page = draft_page(kitchen).text
    links = dict(re.findall(r'id="(pdf-zh|pdf-en|csv|json)" href="([^"]+)"', page))
    assert set(links) == {"pdf-zh", "pdf-en", "csv", "json"}
    for name, link in links.items():
        answer = kitchen.wang.get(link.replace("&amp;", "&"), timeout=MAKING_S)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"].split(";")[0].endswith(name.partition("-")[0])


def test_a_card_is_filled_in_on_the_page_and_the_next_one_needs_a_reason(kitchen: Kitchen) -> None:
    page = draft_page(kitchen).text
    form = {**hidden(page, "/reports/cards"), **{key: str(value) for key, value in CARD.items()}}
    files = {name: (None, value) for name, value in {**form, "serial": "SN-7", "reason": "new probe"}.items()}
    answer = kitchen.wang.post("/reports/cards", files=files)
    assert answer.status_code == 303, answer.text
    shown = kitchen.wang.get(answer.headers["location"]).text
    assert "SN-7" in shown
    assert "SN-40213" in shown  # the earlier card
    refused = kitchen.wang.post("/reports/cards", files={name: (None, value) for name, value in form.items()})
    assert (refused.status_code, "请写明为什么更改登记卡" in refused.text) == (422, True)
    wrong = kitchen.wang.post("/reports/cards", files={**files, "high_c": (None, "warm")})
    assert (wrong.status_code, "登记卡填写有误" in wrong.text) == (422, True)


def test_the_pages_speak_english_too(kitchen: Kitchen) -> None:
    zhao = in_english(kitchen.centre.person("staff", "阳光小学 食堂"))
    for path in ("/reports", "/reports/haccp?site=1&from=2026-01-02&to=2026-01-02"):
        page = zhao.get(path).text
        assert "HACCP log of critical control points" in page
    assert "Excursions with cause and action" in draft_page(kitchen, zhao).text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"from": "2026-01-03", "to": "2026-01-02"}, "不超过 31 天"),
        ({"from": "2025-11-01", "to": "2026-01-02"}, "不超过 31 天"),
        ({"from": "soon"}, "不超过 31 天"),
        ({"from": "0001-01-01"}, "不超过 31 天"),
        ({"from": "2025-01-01", "to": "2025-01-02"}, "没有读数"),
    ],
)
def test_a_period_that_cannot_be_shown_is_answered_with_a_sentence(
    kitchen: Kitchen, changes: dict[str, str], sentence: str
) -> None:
    answer = draft_page(kitchen, **changes)
    assert (answer.status_code, sentence in answer.text) == (422, True)


def test_a_period_up_to_today_ends_with_the_last_whole_minute(kitchen: Kitchen) -> None:
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    query = {"site": "1", "from": str(today - timedelta(days=1)), "to": str(today)}
    before = datetime.now(UTC)
    page = kitchen.wang.get("/reports/haccp", params=query).text
    end = datetime.fromisoformat(hidden(page, "/reports/sign")["end"])
    assert timedelta(0) <= before - end < timedelta(minutes=1)


def test_strangers_and_administrators_are_shown_nothing(kitchen: Kitchen) -> None:
    administrator = kitchen.centre.person("administrator")
    assert administrator.get("/reports").status_code == 403
    assert 'href="/reports"' not in administrator.get("/").text
    for who, status in ((kitchen.stranger, 404), (administrator, 403)):
        assert draft_page(kitchen, who).status_code == status
        assert who.get("/reports/0123456789ab").status_code == status
    with kitchen.centre.client() as nobody:
        assert nobody.get("/reports").headers["location"] == "/login"


def test_a_form_without_its_token_signs_nothing(kitchen: Kitchen) -> None:
    fields = hidden(draft_page(kitchen).text, "/reports/sign")
    answer = kitchen.wang.post("/reports/sign", data={**fields, "csrf": "guess"})
    assert (answer.status_code, "页面已过期" in answer.text) == (403, True)


def test_what_a_person_wrote_cannot_become_markup(kitchen: Kitchen) -> None:
    path = f"/api/v1/reports/sensors/{kitchen.box.box_id}/cold-1/cards"
    card = {"valid_from": "2025-12-01", "name": "<script>alert(1)</script>", "reason": "x"}
    assert kitchen.wang.post(path, json=card, headers=kitchen.wang.csrf).status_code == 201
    page = draft_page(kitchen).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_every_text_of_the_reports_is_in_the_catalogue() -> None:
    """Keys that are put together while running: refusals, reasons, acts, states."""
    from server.reports.desk import SAYS

    keys = {f"report_{code}" for code in SAYS}
    keys |= {f"report_gap_{code}" for code in ("bad_readings", "sensor_fault", "evicted", "missing_batches", "unknown")}
    keys |= {f"report_{code}" for code in ("period", "future", "too_many_readings", "no_data", "no_ccp")}
    keys |= {f"report_{code}" for code in ("too_many_assets", "unproved", "unknown", "lost", "busy", "card_invalid")}
    keys |= {f"report_act_{move}" for move in ("signed", "reviewed", "corrected")}
    keys |= {f"report_state_{state}" for state in ("draft", "signed", "reviewed", "corrected")}
    assert keys <= set(catalogue())


def test_a_regulator_finds_sensors_by_a_part_of_the_sites_name(kitchen: Kitchen) -> None:
    def offered(part: str) -> list[str]:
        page = kitchen.regulator.get("/reports", params={"site": part}).text
        return re.findall(r'<option value="([^"]+/[^"]+)"', page)

    source = f"{kitchen.box.box_id}/cold-1"
    assert source in offered("阳光")
    assert source in offered("")
    assert offered("no such site") == []
    assert offered("%") == []
