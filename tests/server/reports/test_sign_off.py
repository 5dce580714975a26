"""Sign-off, review and correction through the door: who may, in which order, and that nothing is ever rubbed out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from tests.server.centre import AT, is_problem, reading, run_here
from tests.server.reports.kitchen import Kitchen
from tests.server.reports.test_files import read_pdf

PEAK = {"target": "reading", "at": "2026-01-02T04:19:05Z"}


@pytest.fixture(scope="module")
def number(kitchen: Kitchen) -> str:
    """A signed report that every test may read and only its own edition counts for."""
    return kitchen.signed(end="2026-01-02T08:00:00Z")


def test_a_signed_report_names_its_operator_and_the_time(kitchen: Kitchen, number: str) -> None:
    entry = kitchen.document(number, 1)["entries"][0]
    assert (entry["move"], entry["username"], entry["role"]) == ("signed", kitchen.wang.name, "staff")
    assert entry["note"] == "核对无误"
    assert entry["at"].endswith("Z")


def test_what_was_downloaded_is_byte_for_byte_what_was_stored(kitchen: Kitchen, number: str) -> None:
    listed = kitchen.wang.get(f"/api/v1/reports/{number}").json()["files"]
    first = [file for file in listed if file["edition"] == 1]
    assert {(file["format"], file["language"]) for file in first} == {
        ("json", ""), ("csv", ""), ("pdf", "zh-CN"), ("pdf", "en"),
    }  # fmt: skip
    for file in first:
        data = kitchen.file(number, 1, file["format"], file["language"] or "en")
        assert sha256(data).hexdigest() == file["sha256"]


def test_a_signed_report_does_not_change_when_the_record_grows(kitchen: Kitchen) -> None:
    number = kitchen.signed(end="2026-01-02T08:01:00Z")
    before = kitchen.file(number, 1, "pdf")
    kitchen.wang.post(
        f"/api/v1/reports/sensors/{kitchen.box.box_id}/cold-1/cards",
        json={"valid_from": "2026-01-01", "high_c": 5.0, "reason": "tightened"},
        headers=kitchen.wang.csrf,
    ).raise_for_status()
    assert kitchen.file(number, 1, "pdf") == before
    changed = kitchen.draft(end="2026-01-02T08:01:00Z").json()["content"]["assets"][0]
    assert changed["limits"][0]["high_c"] == 5.0


def test_what_changed_since_it_was_looked_at_is_not_signed(kitchen: Kitchen) -> None:
    answer = kitchen.sign(digest="0" * 64)
    assert (answer.status_code, answer.json()["code"]) == (409, "report_changed")


def test_the_same_content_is_signed_once(kitchen: Kitchen, number: str) -> None:
    document = kitchen.document(number, 1)
    again = kitchen.sign(digest=document["content_sha256"], end=document["content"]["end"])
    assert again.status_code == 409


def test_only_staff_of_the_site_sign(kitchen: Kitchen) -> None:
    digest = kitchen.draft().json()["content_sha256"]
    assert kitchen.sign(kitchen.regulator, digest).json()["code"] == "not_allowed"
    assert kitchen.sign(kitchen.stranger, digest).status_code == 404


def test_the_operator_cannot_review_but_a_colleague_and_a_regulator_can(kitchen: Kitchen) -> None:
    for minute, reviewer in ((2, kitchen.zhao), (3, kitchen.regulator)):
        number = kitchen.signed(end=f"2026-01-02T08:0{minute}:00Z")
        refused = kitchen.post(kitchen.wang, number, "review")
        assert (refused.status_code, refused.json()["code"]) == (403, "report_same_person")
        assert kitchen.post(reviewer, number, "review", note="看过").json()["edition"] == 2
        entries = kitchen.document(number, 2)["entries"]
        assert [(entry["move"], entry["username"]) for entry in entries] == [
            ("signed", kitchen.wang.name), ("reviewed", reviewer.name),
        ]  # fmt: skip
        assert kitchen.post(reviewer, number, "review").json()["code"] == "report_wrong_state"


def test_a_correction_keeps_the_original_and_tells_who_when_and_why(kitchen: Kitchen, tmp_path: Path) -> None:
    number = kitchen.signed(end="2026-01-02T08:04:00Z")
    target = f"0.excursion.{kitchen.alert_id}.cause"
    answer = kitchen.post(
        kitchen.zhao, number, "corrections", target=target, corrected="送货时门开了", reason="监控录像核对"
    )
    assert answer.status_code == 200, answer.text
    document = kitchen.document(number, 2)
    assert document["content"] == kitchen.document(number, 1)["content"]
    entry = document["entries"][1]
    assert entry["username"] == kitchen.zhao.name
    assert entry["correction"] == {
        "target": target, "original": "door open since 12:04", "corrected": "送货时门开了", "reason": "监控录像核对",
    }  # fmt: skip
    text = read_pdf(kitchen.file(number, 2, "pdf", "en"), tmp_path)
    for word in ("door open since 12:04", "送货时门开了", "监控录像核对", kitchen.zhao.name, "Corrections (1)"):
        assert word in text, word
    rows = kitchen.file(number, 2, "csv").decode("utf-8-sig")
    assert "original: door open since 12:04 | corrected: 送货时门开了" in rows


def test_a_corrected_reading_leaves_the_measured_one_and_the_figures(kitchen: Kitchen) -> None:
    number = kitchen.signed(end="2026-01-02T08:05:00Z")
    form = {**PEAK, "corrected": "10.5", "reason": "探头被开水溅到"}
    assert kitchen.post(kitchen.wang, number, "corrections", **form).status_code == 200
    document = kitchen.document(number, 2)
    assert document["entries"][1]["correction"]["original"] == "12.3"
    assert document["content"]["assets"][0]["statistics"]["max_c"] == 12.3


def test_after_a_correction_somebody_else_reviews_again(kitchen: Kitchen) -> None:
    number = kitchen.signed(end="2026-01-02T08:06:00Z")
    assert kitchen.post(kitchen.zhao, number, "review").status_code == 200
    fix = {"target": "0.serial", "corrected": "SN-40231", "reason": "抄写错误"}
    assert kitchen.post(kitchen.zhao, number, "corrections", **fix).json()["edition"] == 3
    assert kitchen.post(kitchen.zhao, number, "review").json()["code"] == "report_same_person"
    assert kitchen.post(kitchen.regulator, number, "review").json()["edition"] == 4


def test_each_edition_names_the_digest_of_the_one_before(kitchen: Kitchen) -> None:
    number = kitchen.signed(end="2026-01-02T08:07:00Z")
    assert kitchen.post(kitchen.zhao, number, "review").status_code == 200
    first = sha256(kitchen.file(number, 1, "json")).hexdigest()
    assert json.loads(kitchen.file(number, 2, "json"))["entries"][1]["previous_sha256"] == first


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"target": "0.serial", "corrected": "x", "reason": " "}, "report_reason_missing"),
        ({"target": "0.serial", "corrected": " ", "reason": "x"}, "report_corrected_text"),
        ({"target": "0.nothing", "corrected": "x", "reason": "x"}, "report_unknown_target"),
        ({"target": "reading", "corrected": "4", "reason": "x"}, "report_unknown_target"),
        ({**PEAK, "at": "2026-01-02T04:19:07Z", "corrected": "4", "reason": "x"}, "report_unknown_target"),
        ({**PEAK, "corrected": "warm", "reason": "x"}, "report_corrected_value"),
        ({**PEAK, "corrected": "nan", "reason": "x"}, "report_corrected_value"),
        ({"target": "0.serial", "corrected": "x" * 501, "reason": "x"}, "invalid"),
    ],
)  # fmt: skip
def test_a_correction_that_says_too_little_is_refused(
    kitchen: Kitchen, number: str, form: dict[str, str], code: str
) -> None:
    answer = kitchen.post(kitchen.wang, number, "corrections", **form)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_stranger_an_administrator_and_nobody_see_no_report(kitchen: Kitchen, number: str) -> None:
    paths = [f"/api/v1/reports/{number}", f"/api/v1/reports/{number}/editions/1/pdf"]
    administrator = kitchen.centre.person("administrator")
    for path in paths:
        for who, status in ((kitchen.stranger, 404), (administrator, 403)):
            answer = who.get(path)
            assert answer.status_code == status
            assert is_problem(answer)
        with kitchen.centre.client() as nobody:
            assert nobody.get(path).status_code == 401
        assert kitchen.regulator.get(path).status_code == 200
    assert kitchen.stranger.get("/api/v1/reports").json() == {"reports": []}
    for who, status in ((kitchen.stranger, 404), (administrator, 403)):
        assert kitchen.draft(who=who).status_code == status
        assert kitchen.post(who, number, "review").status_code == status
        refused = kitchen.post(who, number, "corrections", target="0.serial", corrected="x", reason="x")
        assert refused.status_code == status
    card = {"valid_from": "2026-01-01", "reason": "x"}
    path = f"/api/v1/reports/sensors/{kitchen.box.box_id}/cold-1/cards"
    assert kitchen.stranger.post(path, json=card, headers=kitchen.stranger.csrf).status_code == 404


def test_no_act_without_the_csrf_token(kitchen: Kitchen, number: str) -> None:
    for act in ("review", "corrections"):
        answer = kitchen.zhao.post(f"/api/v1/reports/{number}/{act}", data={"target": "x"})
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf")


def test_a_report_or_edition_that_does_not_exist_is_404(kitchen: Kitchen, number: str) -> None:
    assert kitchen.wang.get("/api/v1/reports/0123456789ab").status_code == 404
    assert kitchen.wang.get(f"/api/v1/reports/{number}/editions/99/pdf").status_code == 404
    assert kitchen.wang.get("/api/v1/reports/not-a-number").status_code == 422


def test_a_second_card_needs_a_reason_and_the_first_stays(kitchen: Kitchen) -> None:
    path = f"/api/v1/reports/sensors/{kitchen.box.box_id}/cold-1/cards"
    card = {"valid_from": "2025-12-01", "serial": "SN-1", "high_c": 8, "low_c": 0}
    refused = kitchen.wang.post(path, json=card, headers=kitchen.wang.csrf)
    assert (refused.status_code, refused.json()["code"]) == (422, "report_card_reason")
    wrong = {**card, "low_c": 9, "reason": "x"}
    assert kitchen.wang.post(path, json=wrong, headers=kitchen.wang.csrf).status_code == 422
    assert kitchen.regulator.post(path, json=card, headers=kitchen.regulator.csrf).status_code == 403
    assert "SN-40213" in {row[7] for row in kitchen.centre.dump()["sensor_card"]}


def test_limits_that_change_within_the_period_count_from_their_day(kitchen: Kitchen) -> None:
    """Midnight in Shanghai is 16:00 UTC; the readings of a second sensor lie on both sides of it."""
    start = datetime(2026, 1, 2, 15, 50, tzinfo=UTC)
    offset_s = (start - AT).total_seconds()
    warm = [reading(6.0, offset_s + 60 * minute, "cold-9") for minute in range(20)]
    assert kitchen.box.send(kitchen.box.seal("readings", warm)).is_success
    path = f"/api/v1/reports/sensors/{kitchen.box.box_id}/cold-9/cards"
    for day, high in (("2026-01-01", 8.0), ("2026-01-03", 5.0)):
        card = {"valid_from": day, "high_c": high, "reason": "rule"}
        assert kitchen.wang.post(path, json=card, headers=kitchen.wang.csrf).status_code == 201
    query = {"sensor": "cold-9", "start": start.isoformat(), "end": (start + timedelta(minutes=20)).isoformat()}
    asset = kitchen.draft(**query).json()["content"]["assets"][0]
    assert [limit["high_c"] for limit in asset["limits"]] == [8.0, 5.0]
    assert asset["limits"][1]["since"] == "2026-01-02T16:00:00Z"
    assert asset["statistics"]["above_s"] == 600


def test_a_batch_that_comes_after_the_signature_is_told_by_verify_and_is_no_error(kitchen: Kitchen) -> None:
    number = kitchen.signed(end="2026-01-02T08:08:00Z")
    assert kitchen.box.send(kitchen.lost).json()["receipts"][0]["status"] == "accepted"
    done = run_here("verify", "--data", str(kitchen.centre.data))
    assert done.returncode == 0, done.stdout
    assert f"gap   report {number}: 1 batches of its period came after it was signed" in done.stdout
