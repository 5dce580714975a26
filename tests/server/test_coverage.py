"""What the centre says about how long cameras watched: no "no violations" without it, whatever a box sends."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from tests.server.centre import Box, Centre, Person

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # in Shanghai


@pytest.fixture(scope="module")
def box(centre: Centre) -> Box:
    return centre.box("Coverage canteen")


@pytest.fixture(scope="module")
def regulator(centre: Centre) -> Person:
    return centre.person("regulator")


@pytest.fixture(scope="module")
def site_id(regulator: Person, box: Box) -> int:
    page = regulator.get("/coverage", params={"name": "Coverage canteen"}).text
    return int(re.search(r'<option value="(\d+)" selected>Coverage canteen<', page)[1])  # type: ignore[index]


def tell(box: Box, at: datetime, *rows: str, camera: str = "cam-1", lasted_s: float = 900, **data: object) -> None:
    """One coverage report that ends at *at*."""
    fields = {"started_at": (at - timedelta(seconds=lasted_s)).isoformat(), "blind_s": 0.0, "rows": list(rows), **data}
    box.send_event("coverage", at=at, source_id=camera, data={"kind": "coverage", "camera_name": "备餐间 1", **fields})


def rows_of(person: Person, site_id: int, day: str) -> list[str]:
    """The cells of each row, joined."""
    answer = person.get("/coverage", params={"site": site_id, "day": day}, headers={"accept-language": "en"})
    assert answer.status_code == 200
    body = re.search(r"<tbody>(.*)</tbody>", answer.text, re.DOTALL)
    if body is None:
        assert "whether there were violations is not known" in answer.text
        return []
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in body[1].split("</tr>") if "<td" in row]
    return [" | ".join(unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row) for row in cells]


def test_a_day_is_summed_by_camera_kind_and_zone_and_says_its_share(box: Box, regulator: Person, site_id: int) -> None:
    tell(box, NOON, "no_mask - 900.0 900.0", "some_code floor 900.0 450.0", "other_code - 0.0 0.0")
    tell(box, NOON + timedelta(minutes=15), "no_mask - 900.0 899.0", "some_code floor 900.0 0.0")
    tell(box, NOON + timedelta(minutes=15), "no_mask - 900.0 0.0", camera="cam-2", camera_name="备餐间 2")
    assert rows_of(regulator, site_id, "2026-03-02") == [
        "备餐间 1 | No mask | 0:30 | 0:29 (99.9 %) | None seen in the 99.9 % of the due time that was judged",
        "备餐间 1 | Other alert (other code) | 0:00 | 0:00 (0.0 %) | Not due that day",
        "备餐间 1 | Other alert (some code) · floor | 0:30 | 0:07 (25.0 %)"
        " | None seen in the 25.0 % of the due time that was judged",
        "备餐间 2 | No mask | 0:15 | 0:00 (0.0 %) | Not watched: whether there were violations is not known",
    ]


def test_a_day_begins_and_ends_by_the_sites_clock_and_a_day_without_reports_says_nothing(
    box: Box, regulator: Person, site_id: int
) -> None:
    midnight = datetime(2026, 3, 9, 16, 0, tzinfo=UTC)  # of the 10th in Shanghai
    tell(box, midnight + timedelta(minutes=5), "no_mask - 900.0 900.0")  # began at 23:50
    tell(box, midnight + timedelta(minutes=20), "no_mask - 900.0 300.0")
    assert [row.split(" | ")[3] for row in rows_of(regulator, site_id, "2026-03-09")] == ["0:15 (100.0 %)"]
    assert [row.split(" | ")[3] for row in rows_of(regulator, site_id, "2026-03-10")] == ["0:05 (33.3 %)"]
    assert rows_of(regulator, site_id, "2026-03-11") == []


def test_violations_are_counted_beside_the_coverage_and_the_alert_shows_its_cameras_day(
    box: Box, regulator: Person, site_id: int
) -> None:
    at = NOON + timedelta(days=20)
    tell(box, at, "no_mask - 900.0 600.0")
    tell(box, at, "no_mask - 900.0 900.0", camera="cam-9", camera_name="elsewhere")
    alert = box.raise_alert(
        regulator,
        kind="violation_opened",
        at=at,
        source_id="cam-1",
        data={"kind": "no_mask", "camera_name": "备餐间 1"},
    )
    assert rows_of(regulator, site_id, "2026-03-22")[0] == "备餐间 1 | No mask | 0:15 | 0:10 (66.6 %) | 1 found"
    page = regulator.get(f"/alerts/{alert}", headers={"accept-language": "en"}).text
    assert "0:10 (66.6 %)" in page
    assert "elsewhere" not in page


@pytest.mark.parametrize(
    "data",
    [
        {
            "rows": [
                "no_mask - nan 1",
                "no_mask - inf inf",
                "no_mask - -5 -5",
                "no_mask - 10 900",
                "no_mask - 9000 9000",
            ]
        },
        {"rows": ["no_mask", "", "a b c d e", "no_mask - x y"]},
        {"rows": "no_mask - 1 1"},
        {"started_at": None},
        {"started_at": "yesterday"},
        {"started_at": "2026-04-01T04:00:00"},
        {"started_at": "2020-01-01T04:00:00+00:00"},
        {"started_at": "2027-01-01T04:00:00+00:00"},
    ],
)
def test_what_is_not_sound_counts_for_nothing(
    box: Box, regulator: Person, site_id: int, data: dict[str, object]
) -> None:
    camera = uuid.uuid4().hex[:8]
    tell(box, datetime(2026, 4, 1, 4, 0, tzinfo=UTC), camera=camera, **({"rows": ["no_mask - 10.0 10.0"]} | data))
    assert rows_of(regulator, site_id, "2026-04-01") == []


def test_staff_see_their_own_site_only(centre: Centre, box: Box, site_id: int) -> None:
    own, other = centre.person("staff", "Coverage canteen"), centre.person("staff", "Another canteen")
    assert len(rows_of(own, site_id, "2026-03-02")) == 4
    assert other.get("/coverage", params={"site": site_id}).status_code == 404
    assert "Coverage canteen" not in other.get("/coverage").text


def test_a_day_that_is_none_is_today(regulator: Person, site_id: int) -> None:
    for day in ("", "2026-02-30", "x", "9999-12-31", "0001-01-01"):
        answer = regulator.get("/coverage", params={"site": site_id, "day": day})
        assert answer.status_code == 200, day
