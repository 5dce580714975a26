"""The HACCP log: per control point its limit, monitoring, deviations, corrective action, verification, and by whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.server.centre import reading, run_here
from tests.server.reports.kitchen import END, MAKING_S, START, Kitchen
from tests.server.reports.test_files import read_pdf


def site_of(kitchen: Kitchen) -> int:
    found = kitchen.wang.get("/api/v1/reports/sensors").json()["sensors"]
    return int(found[0]["site_id"])


def wanted(kitchen: Kitchen, **changes: Any) -> dict[str, Any]:
    return {"site": site_of(kitchen), "start": START.isoformat(), "end": END.isoformat(), **changes}


def log(kitchen: Kitchen, format_: str = "json", **changes: Any) -> Any:
    path = f"/api/v1/reports/drafts/haccp/{format_}"
    return kitchen.wang.get(path, params=wanted(kitchen, **changes), timeout=MAKING_S)


@pytest.fixture(scope="module")
def two_points(kitchen: Kitchen) -> Kitchen:
    """A second control point, a probe that is none, and a reviewed report on the first."""
    more = [reading(-19.0, 60 * minute, "freezer") for minute in range(30)]
    more += [reading(21.0, 60 * minute, "office") for minute in range(30)]
    assert kitchen.box.send(kitchen.box.seal("readings", more)).is_success
    card = {"valid_from": "2025-12-01", "name": "冷冻库", "ccp": "CCP2", "high_c": -12}
    path = f"/api/v1/reports/sensors/{kitchen.box.box_id}/freezer/cards"
    assert kitchen.wang.post(path, json=card, headers=kitchen.wang.csrf).status_code == 201
    number = kitchen.signed()
    assert kitchen.post(kitchen.regulator, number, "review").status_code == 200
    return kitchen


def test_the_log_has_one_entry_for_each_control_point_and_none_for_other_probes(two_points: Kitchen) -> None:
    content = log(two_points).json()["content"]
    assert [(asset["sensor"]["ccp"], asset["sensor"]["name"]) for asset in content["assets"]] == [
        ("CCP1", "冷藏库 空气"), ("CCP2", "冷冻库"),
    ]  # fmt: skip


def test_each_entry_tells_limit_monitoring_deviation_action_and_verification(two_points: Kitchen) -> None:
    cold, freezer = log(two_points).json()["content"]["assets"]
    assert (cold["limits"][0]["low_c"], cold["limits"][0]["high_c"]) == (0.0, 8.0)
    assert cold["statistics"]["usual_interval_s"] == 60
    assert cold["excursions"][0]["actions"][1]["note"] == "关门，食品中心 5.2 °C"
    assert [item["by"] for item in cold["verified"]] == [two_points.regulator.name]
    assert (freezer["excursions"], freezer["verified"]) == ([], [])


def test_the_log_on_paper_says_it_in_both_languages(two_points: Kitchen, tmp_path: Path) -> None:
    for language, words in (
        ("zh-CN", ["HACCP 关键控制点记录", "关键限值", "不高于 -12.0 °C", "关门，食品中心", "监控"]),
        ("en", ["HACCP log of critical control points", "Critical limit", "at most -12.0 °C", "door open since"]),
    ):
        text = read_pdf(log(two_points, "pdf", language=language).content, tmp_path)
        for word in (*words, "CCP1", "CCP2", two_points.regulator.name):
            assert word in text, word


def test_a_log_is_signed_reviewed_and_verified_like_a_report(two_points: Kitchen, tmp_path: Path) -> None:
    wang = two_points.wang
    digest = log(two_points).json()["content_sha256"]
    answer = wang.post(
        "/api/v1/reports/drafts/haccp/sign", params=wanted(two_points), data={"content_sha256": digest},
        headers=wang.csrf, timeout=MAKING_S,
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    number = answer.json()["number"]
    assert two_points.post(two_points.zhao, number, "review").json()["edition"] == 2
    held = tmp_path / "log.pdf"
    held.write_bytes(two_points.file(number, 2, "pdf"))
    done = run_here("verify", "--data", str(two_points.centre.data), "--report", str(held))
    assert (done.returncode, f"report {number} edition 2 of 2 pdf" in done.stdout) == (0, True), done.stdout


def test_a_site_without_control_points_is_told_how_to_name_one(kitchen: Kitchen) -> None:
    box = kitchen.centre.box("Canteen B")
    assert box.send(box.seal("readings", [reading(4.0)])).is_success
    site = kitchen.stranger.get("/api/v1/reports/sensors").json()["sensors"][0]["site_id"]
    query = {"site": site, "start": START.isoformat(), "end": END.isoformat()}
    answer = kitchen.stranger.get("/api/v1/reports/drafts/haccp/json", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "report_no_ccp")


def test_another_sites_log_is_404(kitchen: Kitchen) -> None:
    answer = kitchen.stranger.get("/api/v1/reports/drafts/haccp/json", params=wanted(kitchen))
    assert answer.status_code == 404
