"""Records from the draft that the boxes fill in to the signed edition that stands still."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from server.i18n import LANGUAGES, catalogue
from server.self_control import ledger
from server.self_control.missing import owed
from tests.server.self_control.canteen import API, DAY, DAY_START, QUIET_DAY, Canteen


def test_a_daily_draft_holds_what_the_boxes_saw_and_answers_only_what_they_can_judge(canteen: Canteen) -> None:
    document = canteen.get(canteen.start("daily", DAY))["document"]
    seen = document["content"]["seen"]
    sensor = seen["sensors"][0]
    assert (sensor["sensor_id"], sensor["min_c"], sensor["max_c"]) == ("cold-1", 4.0, 9.5)
    assert (sensor["readings"], sensor["covered_pct"]) == (288, 100.0)
    assert (sensor["excursions"], sensor["excursion_s"]) == (1, 1800.0)
    camera = seen["cameras"][0]
    assert (camera["name"], camera["due_s"], camera["share_pct"]) == ("备餐间", 86_400.0, 98.8)
    assert [alert["kind"] for alert in seen["alerts"]] == ["temperature_excursion"]
    answers = {answer["code"]: answer["result"] for answer in document["content"]["form"]["answers"]}
    assert (answers["D04"], answers["D02"], answers["D09"]) == ("fault", "ok", "")
    assert [finding["alert_id"] for finding in document["content"]["form"]["findings"]] == [
        seen["alerts"][0]["alert_id"]
    ]


def test_a_second_start_finds_the_same_draft_and_tomorrow_cannot_be_started(canteen: Canteen) -> None:
    assert canteen.start("daily", DAY) == canteen.start("daily", DAY)
    wanted = {
        "site": canteen.site_id,
        "kind": "daily",
        "day": (datetime.now(UTC) + timedelta(days=2)).date().isoformat(),
    }
    answer = canteen.ask("staff", "POST", f"{API}/records", json=wanted)
    assert (answer.status_code, answer.json()["code"]) == (422, "sc_day_wrong")


def test_nothing_is_signed_that_is_incomplete_changed_or_of_another_role(canteen: Canteen) -> None:
    number = canteen.start("daily", date(2026, 1, 3))
    incomplete = canteen.sign("safety_officer", number)
    assert (incomplete.status_code, incomplete.json()["code"]) == (422, "sc_incomplete")
    assert "item.D09.result" in incomplete.json()["detail"]
    before = canteen.get(number)["document"]["content_sha256"]
    canteen.filled(number)
    assert canteen.sign("safety_officer", number, before).json()["code"] == "sc_changed"
    assert canteen.sign("site_head", number).json()["code"] == "sc_wrong_signer"
    assert canteen.sign("staff", number).json()["code"] == "not_allowed"
    stale = canteen.fill(number, {}, version=0)
    assert (stale.status_code, stale.json()["code"]) == (409, "sc_changed")


def test_today_is_signed_only_when_it_is_late_enough(canteen: Canteen) -> None:
    number = canteen.start("monthly", datetime.now(UTC).date())
    head = canteen.district.user(canteen.people["site_head"])
    with canteen.district.database() as db:
        row = ledger.visible_record(db, head, number)
        assert row is not None
        digest = ledger.draft_in(row).content_sha256
        with pytest.raises(ledger.Refused) as refused:
            ledger.sign(db, head, row, digest, "", datetime.now(UTC).replace(day=1), "")
        assert refused.value.code == "sc_too_early"
        with pytest.raises(ledger.Refused) as refused:
            ledger.sign(db, head, row, digest, "", datetime.now(UTC) + timedelta(days=40), "")
        assert refused.value.code == "sc_stale"


def test_each_kind_is_signed_by_its_role_and_stands_still_from_then_on(canteen: Canteen) -> None:
    for kind in ("daily", "weekly", "monthly"):
        number = canteen.signed(kind, DAY)
        found = canteen.get(number)
        assert (found["edition"], found["zero_risk"]) == (1, False)
        assert found["document"]["content"]["zero_risk_lacks"][0] == "findings"
        answer = canteen.fill(number, {})
        assert (answer.status_code, answer.json()["code"]) == (409, "sc_signed")


def test_a_day_without_findings_is_a_zero_risk_report_only_when_it_was_watched(canteen: Canteen) -> None:
    assert canteen.get(canteen.signed("daily", QUIET_DAY))["zero_risk"] is True
    dark = canteen.get(canteen.signed("daily", date(2025, 12, 20)))
    assert dark["zero_risk"] is False
    assert dark["document"]["content"]["zero_risk_lacks"] == ["sensors"]  # no camera spoke at all, sensors were silent


def test_what_began_before_and_lasted_into_a_day_is_a_finding_of_it(canteen: Canteen) -> None:
    began = DAY_START + timedelta(days=19, hours=23)
    canteen.box.send_event(at=began, incident_id="overnight")
    over = {"at": began + timedelta(hours=2), "incident_id": "overnight"}
    canteen.box.send_event("excursion_closed", **over)
    for day, found in ((date(2026, 1, 21), 1), (date(2026, 1, 22), 1), (date(2026, 1, 23), 0)):
        seen = canteen.get(canteen.start("daily", day))["document"]["content"]["seen"]
        assert len(seen["alerts"]) == found, day


def test_a_correction_keeps_the_original_legible_with_who_when_and_why(canteen: Canteen) -> None:
    number = canteen.signed("daily", date(2026, 1, 8))
    said = {"target": "item.D04.action", "corrected": "更换门封", "reason": "写错"}
    path = f"{API}/records/{number}/corrections"
    assert canteen.ask("site_head", "POST", path, data=said).json()["code"] == "sc_wrong_signer"
    assert (
        canteen.ask("safety_officer", "POST", path, data={**said, "reason": " "}).json()["code"] == "sc_reason_missing"
    )
    assert canteen.ask("safety_officer", "POST", path, data=said).status_code == 201
    document = canteen.get(number)["document"]
    entry = document["entries"][1]
    assert (document["edition"], entry["name"]) == (2, canteen.people["safety_officer"].name)
    assert entry["correction"] == {**said, "original": "关门后复查"}
    page = canteen.ask("regulator", "GET", f"/records/{number}").text
    assert "<del>关门后复查</del> <ins>更换门封</ins>" in page


def test_the_signed_bytes_fit_their_digest_and_a_changed_row_is_found(canteen: Canteen) -> None:
    number = canteen.signed("daily", DAY)
    raw = canteen.ask("regulator", "GET", f"{API}/records/{number}/files/json").content
    with canteen.district.database() as db:
        known = db.scalar(text(f"SELECT sha256 FROM self_control_edition WHERE record_id = {number} AND edition = 1"))
        assert sha256(raw).hexdigest() == known
        count, problems = ledger.verify_records(db)
        assert (count > 0, problems) == (True, [])
    for change in (
        f"UPDATE self_control_edition SET document = x'00' WHERE record_id = {number}",
        f"DELETE FROM self_control_edition WHERE record_id = {number}",
        f"UPDATE self_control_record SET form = '{{}}' WHERE id = {number}",
        f"DELETE FROM self_control_record WHERE id = {number}",
    ):
        with pytest.raises(IntegrityError), canteen.district.database() as db:
            db.execute(text(change))
    with canteen.district.database() as db:  # somebody who takes the guard away is found
        db.execute(text("DROP TRIGGER self_control_edition_update"))
        db.execute(text(f"UPDATE self_control_edition SET document = x'00' WHERE record_id = {number} AND edition = 1"))
        problems = ledger.verify_records(db)[1]
        assert problems == [f"self-control record {number} edition 1: its bytes are not those of its digest"]
        db.rollback()


def test_a_record_is_handed_out_as_pdf_and_csv_that_no_spreadsheet_runs(canteen: Canteen) -> None:
    number = canteen.start("daily", date(2026, 1, 9))
    form = canteen.filled(number)["content"]["form"]
    form["fields"]["remarks"] = "=1+1"
    assert canteen.fill(number, form).status_code == 200
    table = canteen.ask("regulator", "GET", f"{API}/records/{number}/files/csv").content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["text"] for row in rows if row["code"] == "remarks"] == ["'=1+1"]
    assert any(row["row"] == "sensor" and "max" in row["text"] for row in rows)
    pdf = canteen.ask("regulator", "GET", f"{API}/records/{number}/files/pdf", params={"language": "en"})
    assert pdf.content.startswith(b"%PDF")
    assert pdf.headers["content-disposition"].endswith('-en.pdf"')


def test_missing_records_are_listed_until_somebody_signs(canteen: Canteen) -> None:
    signed = date(2026, 1, 5)
    number = canteen.signed("daily", signed)
    now = datetime(2026, 1, 9, 1, tzinfo=UTC)
    regulator = canteen.district.user(canteen.people["regulator"])
    other = canteen.district.user(canteen.district.somebody("regulator", "B"))
    with canteen.district.database() as db:
        db.execute(text("UPDATE box SET enrolled_at = '2026-01-04 20:00:00.000000'"))
        found = owed(db, regulator, now)
        daily = [(item.period.first, item.stage) for item in found if item.period.kind == "daily"]
        stranger = owed(db, other, now)
        db.rollback()
    assert canteen.get(number)["edition"] == 1
    assert signed not in [day for day, _ in daily]
    assert (date(2026, 1, 6), "missing") in daily
    assert (date(2026, 1, 9), "open") in daily
    assert stranger == []


def test_the_pages_lead_from_the_list_to_the_signature(canteen: Canteen) -> None:
    day = date(2026, 1, 6)
    csrf = canteen.people["staff"].csrf
    started = canteen.ask(
        "staff",
        "POST",
        "/records",
        data={"site": canteen.site_id, "kind": "daily", "day": day.isoformat(), "csrf": csrf},
    )
    assert started.status_code == 303
    page = canteen.ask("staff", "GET", started.headers["location"])
    assert 'name="item.D01.result"' in page.text
    number = int(started.headers["location"].rsplit("/", 1)[1])
    fields = {
        f"item.{answer['code']}.result": "ok"
        for answer in canteen.get(number)["document"]["content"]["form"]["answers"]
    }
    said = {
        **fields,
        "operating": "yes",
        "version": "1",
        "do": "review",
        "csrf": csrf,
        "item.D01.nonconformity": "<b>x</b>",
    }
    saved = canteen.ask("staff", "POST", f"/records/{number}/form", data=said)
    assert (saved.status_code, saved.headers["location"]) == (303, f"/records/{number}?review=1")
    review = canteen.ask("safety_officer", "GET", saved.headers["location"]).text
    assert "&lt;b&gt;x&lt;/b&gt;" in review
    assert 'id="sign"' in review
    digest = canteen.get(number)["document"]["content_sha256"]
    officer = canteen.people["safety_officer"]
    for seen, status in (("0" * 64, 409), (digest, 303)):
        answer = canteen.ask(
            "safety_officer", "POST", f"/records/{number}/sign", data={"content_sha256": seen, "csrf": officer.csrf}
        )
        assert answer.status_code == status
    listed = canteen.ask("regulator", "GET", f"/records?site={canteen.site_id}").text
    assert f'href="/records/{number}"' in listed


def test_a_parent_reads_no_records(canteen: Canteen) -> None:
    assert canteen.ask("viewer", "GET", "/records").status_code == 403


def test_every_refusal_has_its_sentence_in_both_languages() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(ledger.__file__).parent.glob("*.py"))
    codes = set(re.findall(r'Refused\(\s*"(\w+)"', source))
    assert len(codes) > 15
    for code in codes:
        assert all(catalogue()[f"sc_{code}"][language] for language in LANGUAGES), code
