"""Another vendor's codes become our alerts, journalled and proven like a box's; an unknown code is kept and told."""

from __future__ import annotations

import contextlib
import io
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from server.cli import main
from server.i18n import catalogue
from server.vendors.mapping import load_mapping, mappings, read_event
from tests.server.centre import Centre, Person, is_problem

SOURCE = "kitchen-vision"
CODES = {
    "TRASHBIN": "open_bin", "MICE": "rodent", "CHEF_CLOTH": "no_uniform", "CHEF_HAT": "no_hat",
    "CHEF_RESPIRATOR": "no_mask", "RUBBER_GLOVE": "no_gloves", "FLAME_WITHOUT_HUMAN": "unattended_flame",
    "SMOKING": "smoking", "CALL": "phone_use", "LEAVE_POST": "absent_post", "SLEEP": "absent_post",
    "IMAGE_COVER_ALERT": "camera_blind",
}  # fmt: skip


def console(centre: Centre, *args: str) -> str:
    """What a command on the running centre's record prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*args, "--data", str(centre.data)]) == 0
    return out.getvalue().strip()


@pytest.fixture(scope="module")
def token(centre: Centre) -> str:
    return console(centre, "vendor", "add", SOURCE, "--site", "Canteen A")


def send(centre: Centre, token: str, body: Any, source: str = SOURCE) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with centre.client(authorization=f"Bearer {token}") as client:
        return client.post(f"/api/v1/vendor-events/{source}", content=raw)


def told(code: str, **fields: Any) -> dict[str, Any]:
    return {"eventId": uuid.uuid4().hex, "eventType": code, "cameraName": "备餐间 1", "place": "备餐间", **fields}


def test_every_code_of_the_domain_becomes_the_kind_that_it_means(centre: Centre, token: str, staff: Person) -> None:
    for code, kind in CODES.items():
        answer = send(centre, token, told(code, happenTime="2026-01-02T03:04:05+08:00"))
        assert (answer.status_code, answer.json()["kind"]) == (201, kind), answer.text
    alerts = {item["data"]["vendor_code"]: item for item in staff.get("/api/v1/alerts").json()["alerts"]}
    assert {code: alerts[code]["kind"] for code in CODES} == CODES
    rat = alerts["MICE"]
    assert (rat["tier"], rat["site"], rat["place"], rat["source_name"]) == (1, "Canteen A", "备餐间", "备餐间 1")
    assert rat["data"]["needs_confirmation"] is True
    assert "needs_confirmation" not in alerts["CALL"]["data"]
    assert datetime.fromisoformat(rat["opened_at"]) == datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)


def test_unknown_code_is_kept_and_told_and_the_record_is_proven(centre: Centre, token: str, staff: Person) -> None:
    answer = send(centre, token, told("DRONE_SEEN", detail={"height": 3}))
    assert (answer.status_code, answer.json()["known"]) == (201, False)
    (alert,) = [item for item in staff.get("/api/v1/alerts").json()["alerts"] if item["kind"] == "vendor_event"]
    assert alert["data"]["vendor_code"] == "DRONE_SEEN"
    row = next(row for row in centre.dump()["vendor_event"] if "DRONE_SEEN" in row)
    assert '"height": 3' in str(row)
    assert "外部系统的未知事件" in staff.get(f"/alerts/{alert['id']}").text
    assert console(centre, "verify").endswith(": 0 wrong")


def test_same_event_again_changes_nothing_also_at_the_same_moment(centre: Centre, token: str, staff: Person) -> None:
    body = told("SMOKING")
    with ThreadPoolExecutor(4) as pool:
        found = sorted(pool.map(lambda _: send(centre, token, body).status_code, range(4)))
    assert found == [200, 200, 200, 201]
    before = centre.dump()
    assert send(centre, token, {**body, "eventType": "MICE"}).status_code == 200
    assert centre.dump() == before


def test_token_speaks_for_its_source_until_it_is_revoked(centre: Centre, token: str) -> None:
    assert send(centre, token, told("MICE"), "other").status_code == 403
    assert send(centre, "blv_wrong", told("MICE")).status_code == 403
    with centre.client() as client:
        assert is_problem(client.post(f"/api/v1/vendor-events/{SOURCE}", json=told("MICE")))
        assert client.post(f"/api/v1/vendor-events/{SOURCE}", json=told("MICE")).status_code == 401
    other = console(centre, "vendor", "add", SOURCE, "--site", "Canteen Z")
    assert send(centre, other, told("MICE")).status_code == 201
    assert console(centre, "vendor", "revoke", SOURCE, "--site", "Canteen Z") == "1 tokens are void"
    assert send(centre, other, told("MICE")).status_code == 403
    assert other not in (centre.data / "record.sqlite").read_bytes().decode("latin-1")
    assert main(["vendor", "add", "nobody", "--site", "X", "--data", str(centre.data)]) == 2


NO_EVENTS = [
    b"", b"[]", b"{", b'{"eventId": 1}', b'{"eventType": "MICE"}', b'{"eventId": true, "eventType": "MICE"}',
    b'{"eventId": "1", "eventType": "MICE", "x": NaN}', b'{"eventId": "1", "eventType": "MICE", "x": "\\ud800"}',
    b'{"eventId": {}, "eventType": []}', b"[" * 50_000,
]  # fmt: skip


def test_what_is_no_event_is_a_problem_and_leaves_no_trace(centre: Centre, token: str) -> None:
    before = centre.dump()
    answers = [send(centre, token, body) for body in NO_EVENTS]
    assert [(answer.status_code, is_problem(answer)) for answer in answers] == [(422, True)] * len(NO_EVENTS)
    assert centre.dump() == before


def test_too_long_a_body_is_refused(centre: Centre, token: str) -> None:
    assert send(centre, token, b" " * 70_000).status_code == 413


@pytest.mark.parametrize(
    ("given", "at"),
    [
        (1767294245, datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)),
        (1767294245000, datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+08:00", datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)),
        ("1767294245", datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)),
        ("9" * 5000, None),
        ("yesterday", None),
        (True, None),
        (1e300, None),
        (-5, None),
        ([], None),
    ],
)
def test_time_is_read_or_left_out(given: object, at: datetime | None) -> None:
    assert read_event(mappings()[SOURCE], told("MICE", happenTime=given), ZoneInfo("Asia/Shanghai")).at == at


def test_code_is_known_in_any_case_and_fields_are_found_in_lists(tmp_path: Path) -> None:
    path = tmp_path / "listed.yaml"
    fields = "".join(f"  {name}: [params.events.0.{name}]\n" for name in ("id", "code", "at", "camera", "place"))
    path.write_text(f"fields:\n{fields}codes: {{MICE: rodent}}\n")
    body = {"params": {"events": [{"id": 7, "code": "mice", "camera": "East"}]}}
    told = read_event(load_mapping(path), body, UTC)
    assert (told.id, told.kind, told.camera, told.place) == ("7", "rodent", "East", "")


def test_events_are_taken_after_the_key_of_all_sources_was_lost(centre: Centre, token: str) -> None:
    assert send(centre, token, told("MICE")).status_code == 201
    (centre.data / "vendors.key").unlink()
    event = told("MICE")
    assert [send(centre, token, event).status_code for _ in range(2)] == [201, 200]
    again = console(centre, "vendor", "add", SOURCE, "--site", "Canteen A")
    assert send(centre, again, told("MICE")).status_code == 201
    assert console(centre, "verify").endswith(": 0 wrong")


def test_every_mapped_kind_has_a_name_in_both_languages(tmp_path: Any) -> None:
    for mapping in mappings().values():
        assert [kind for kind in mapping.codes.values() if f"kind_{kind}" not in catalogue()] == []
    path = tmp_path / "x.yaml"
    path.write_text("fields: {}\ncodes: {A: Bad Kind}\n")
    with pytest.raises(ValueError, match=r"x\.yaml: fields\.id"):
        load_mapping(path)
